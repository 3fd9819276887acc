"""What a batch leaves of its trials beside metrics, where it is asked to: curves of one, equity and sums of all."""

import math
from dataclasses import dataclass

import numpy as np

from alphapulse.backtesting.kernel.fills import FILL_COLUMNS
from alphapulse.backtesting.kernel.state import Lanes, Scratch
from alphapulse.backtesting.sums import OF_THE_ENGINE, Sums
from alphapulse.market.market import Market
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


@dataclass(frozen=True)
class Recording:
    """Room for the curves and fills of the first trial of a batch.

    Attributes
    ----------
    curves : (n_scored, 4) float64
        Equity [quote], units, cash and interest earned so far [quote] at each close.
    fills : (n, 8) float64
        By `FILL_COLUMNS`; rows after the last fill are 0, see `filled`.
    ends : (3,) float64
        Stop and take profit of the open position, times its direction [quote], infinite without one; bars that reached
        both of a position.
    """

    curves: Float64Array2D
    fills: Float64Array2D
    ends: Float64Array1D

    @classmethod
    def of(cls, market: Market) -> "Recording":
        """Return room for every fill that `market` allows: an order, an exit and a ruin in each bar.

        It takes no memory until it is written to.
        """
        n_fills = 2 * market.n_scored + 2
        return cls(np.zeros((market.n_scored, 4)), np.zeros((n_fills, len(FILL_COLUMNS))), np.full(3, math.nan))

    @classmethod
    def of_ends(cls) -> "Recording":
        """Return room for `ends` alone."""
        return cls(np.empty((0, 4)), np.empty((0, len(FILL_COLUMNS))), np.full(3, math.nan))

    @property
    def filled(self) -> Float64Array2D:
        """The fills that there were (n_fills, 8); every one has a price."""
        n_fills = int(np.count_nonzero(self.fills[:, FILL_COLUMNS.index("price")]))
        return self.fills[:n_fills]


@dataclass(frozen=True)
class Equities:
    """Room for the equity of every trial of a batch, and for the sums that only the engine knows.

    Attributes
    ----------
    equity : (n_scored, n_trials) float64
        At each close [quote], in the order in which the trials were run.
    trials : (n_trials,) int64
        The trial of each column of `equity`.
    sums : (n_sums, n_trials) float64
        In the order of `OF_THE_ENGINE`.
    """

    equity: Float64Array2D
    trials: Int64Array1D
    sums: Float64Array2D

    @classmethod
    def of(cls, market: Market, n_trials: int) -> "Equities":
        """Return room for some trials on `market`."""
        equity = np.empty((market.n_scored, n_trials))
        return cls(equity, np.empty(n_trials, dtype=np.int64), np.empty((len(OF_THE_ENGINE), n_trials)))

    def take_tile(self, column: int, row: int, lanes: Lanes, scratch: Scratch, n_bars: int) -> None:
        """Keep the equity of the one group of `lanes` over a tile of `n_bars`, which has run, from scored bar `row`.

        It goes to the columns from `column` on: what is written side by side costs a third of what is scattered.
        """
        columns = slice(column, column + int(lanes.n_lanes[0]))
        self.equity[row : row + n_bars, columns] = scratch.equity[1 : n_bars + 1, : columns.stop - column]
        self.trials[columns] = lanes.trials[0, : columns.stop - column]

    def take_sums(self, members: Int64Array1D, sums: Sums) -> None:
        """Keep the sums of the trials `members`."""
        self.sums[:, members] = [getattr(sums, name) for name in OF_THE_ENGINE]
