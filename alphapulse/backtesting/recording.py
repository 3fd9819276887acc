"""What a batch leaves of its trials beside metrics, where it is asked to: curves of one, equity and sums of all."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alphapulse.backtesting.kernel.fills import FILL_COLUMNS
from alphapulse.backtesting.sums import OF_THE_ENGINE
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


class Follower(Protocol):
    """Sees the equity of every trial of a batch while it runs, and the sums that only the engine knows."""

    def take(self, row: int, trials: Int64Array1D, equity: Float64Array2D) -> None:
        """Take in some trials over some bars; those of a trial come in order.

        Parameters
        ----------
        row : int
            The scored bar that `equity` begins with.
        trials : (k,) int64
        equity : (n_bars, k) float64
            At each close [quote]; overwritten later.
        """

    def take_sums(self, trials: Int64Array1D, sums: Float64Array2D) -> None:
        """Take in what is left of `trials` (k,): `sums` (n_sums, k) in the order of `OF_THE_ENGINE`."""


@dataclass(frozen=True)
class Equities:
    """Keeps what a follower sees.

    Attributes
    ----------
    equity : (n_scored, n_trials) float64
        At each close [quote].
    sums : (n_sums, n_trials) float64
        In the order of `OF_THE_ENGINE`.
    """

    equity: Float64Array2D
    sums: Float64Array2D

    @classmethod
    def of(cls, market: Market, n_trials: int) -> "Equities":
        """Return room for some trials on `market`."""
        return cls(np.empty((market.n_scored, n_trials)), np.empty((len(OF_THE_ENGINE), n_trials)))

    def take(self, row: int, trials: Int64Array1D, equity: Float64Array2D) -> None:
        """See `Follower`."""
        self.equity[row : row + len(equity), trials] = equity

    def take_sums(self, trials: Int64Array1D, sums: Float64Array2D) -> None:
        """See `Follower`."""
        self.sums[:, trials] = sums

    def tell(self, follower: Follower) -> None:
        """Show a follower what was kept."""
        trials = np.arange(self.equity.shape[1])
        follower.take(0, trials, self.equity)
        follower.take_sums(trials, self.sums)
