"""Allocations out of targets before the kernel sees them: sizing by volatility, and directions for sizing by risk."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alphapulse.backtesting.kernel.state import EQUAL, TINY
from alphapulse.backtesting.params import SIZING_CODES
from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.market.volatility import realized_volatility
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D


def scale_targets_python(
    targets: Float64Array2D,
    scales: Float64Array2D,
    row: Int64Array1D,
    by_risk: BoolArray1D,
    factor: Float64Array1D,
    most: Float64Array1D,
) -> None:
    """Make allocations of `targets` (n, n_tile) in place, as `Sizing.apply` does; scales (n_windows, n_tile)."""
    for i in range(targets.shape[0]):
        if row[i] == -1:
            continue
        # Without a branch a bar, so that the loop becomes vector instructions.
        scale = scales[row[i]]
        for t in range(targets.shape[1]):
            a = targets[i, t]
            size = (1.0 if by_risk[i] else abs(a)) * (factor[i] * scale[t])
            size = most[i] if size > most[i] else size
            # Also where the scale is NaN.
            size = size if size >= TINY else TINY
            size = 0.0 if abs(a) <= EQUAL else size
            size = -size if a < 0.0 else size
            targets[i, t] = size if abs(a) < np.inf else np.nan


scale_targets = jit(scale_targets_python)


@dataclass(frozen=True)
class Sizing:
    """How the targets of a batch are scaled (4.3 Allocation).

    Attributes
    ----------
    scales : (n_windows + 1, n_bars) float64
        Of a target volatility of 1 over the realized one of a bar's year [1]; NaN where that is undefined or 0. The
        last row is 1.
    row : (n_trials,) int64
        Row of `scales`; -1 of trials whose targets stay as they are.
    by_risk : (n_trials,) bool
        Whether risk decides, and a target is a direction.
    factor, most : (n_trials,) float64
        Of `scales`, and the largest allocation [1].
    """

    scales: Float64Array2D
    row: Int64Array1D
    by_risk: BoolArray1D
    factor: Float64Array1D
    most: Float64Array1D

    @classmethod
    def of(cls, bars: Bars, values: Mapping[str, Float64Array1D], periods: Float64Array1D) -> "Sizing | None":
        """Return the sizing of trials with these engine fields and `periods` [bars a year]; None if none is needed."""
        kind = values["sizing.kind"]
        if not kind.any():
            return None
        by_volatility, by_risk = kind == SIZING_CODES["volatility"], kind == SIZING_CODES["risk"]
        windows, place = np.unique(values["sizing.window"][by_volatility].astype(np.int64), return_inverse=True)
        scales = np.full((len(windows) + 1, len(bars)), np.nan)
        scales[-1] = 1.0
        for i, window in enumerate(windows.tolist()):
            volatility = realized_volatility(bars.close, window, 1.0) / 100.0
            np.divide(1.0, volatility, out=scales[i], where=volatility > 0.0)
        row = np.full(len(kind), -1, dtype=np.int64)
        row[by_volatility] = place
        row[by_risk] = len(windows)
        most = values["max_leverage"]
        factor = np.where(by_volatility, values["sizing.target_volatility"] / np.sqrt(periods), most)
        return cls(scales, row, by_risk, factor, most)

    def apply(self, start: int, trials: Int64Array1D, targets: Float64Array2D) -> None:
        """Make allocations of the targets (n, n_tile) of `trials` from bar `start` on, in place, not above `most`.

        A target that is not finite stays so. One whose size is unknown becomes `TINY` in its direction, which trades
        nothing and lifts no block.
        """
        scales = self.scales[:, start : start + targets.shape[1]]
        columns = self.row[trials], self.by_risk[trials], self.factor[trials], self.most[trials]
        scale_targets(targets, scales, *columns)
