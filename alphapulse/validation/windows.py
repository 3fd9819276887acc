"""The best trial on each of some unions of blocks: what every way of choosing on a part of the data begins with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D, Int64Array3D
from alphapulse.validation.blocks import as_moments, sharpe_of

Range = tuple[int, int]


class BestOnWindows:
    """The trial of the highest Sharpe ratio on each of some unions of block ranges, found piece by piece.

    Parameters
    ----------
    counts : ndarray (n_blocks,)
        Bars in each block [bars].
    windows : sequence of sequence of (start, stop)
        Blocks of each union.

    Attributes
    ----------
    trials : ndarray (n_windows,)
        The first of the best ones, -1 where none has a Sharpe ratio.
    sharpe : ndarray (n_windows,)
        That ratio per bar [1]; NaN where none has one.
    sums, squares : ndarray (n_windows, n_blocks)
        All block moments of these trials [1]; 0 where there is none: then cash is held.
    """

    def __init__(self, counts: Float64Array1D, windows: Sequence[Sequence[Range]]) -> None:
        self.counts = counts
        self.trials = np.full(len(windows), -1, dtype=np.int64)
        self.sharpe = np.full(len(windows), np.nan)
        self.sums = np.zeros((len(windows), len(counts)))
        self.squares = np.zeros((len(windows), len(counts)))
        self._bounds = np.zeros((len(windows), max(len(window) for window in windows), 2), dtype=np.int64)
        for i, window in enumerate(windows):
            for j, part in enumerate(window):
                self._bounds[i, j] = part

    def take(self, trials: Int64Array1D, sums: Float64Array2D, squares: Float64Array2D) -> None:
        """Take in trials (n_trials,) and their moments (n_trials, n_blocks)."""
        row = np.full(len(self.trials), -1, dtype=np.int64)
        _best_on_ranges(sums, squares, self.counts, self._bounds, row, self.sharpe)
        better = np.flatnonzero(row >= 0)
        row = row[better]
        self.trials[better] = trials[row]
        self.sums[better], self.squares[better] = sums[row], squares[row]


def checked_moments(
    sums: ArrayLike, squares: ArrayLike, counts: ArrayLike
) -> tuple[Float64Array2D, Float64Array1D, Float64Array2D]:
    """Return sums (n_trials, n_blocks), counts (n_blocks,) and squares (n_trials, n_blocks) as float64, checked.

    Raises
    ------
    ValueError
        If shapes do not fit, there are fewer than two blocks, or a block has no bar.
    """
    totals, lengths = as_moments(sums, counts)
    powers = np.ascontiguousarray(squares, dtype=np.float64)
    if powers.shape != totals.shape:
        raise ValueError(f"`sums` and `squares` must have one shape, but got {totals.shape} and {powers.shape}.")
    return totals, lengths, powers


@jit
def _best_on_ranges(
    sums: Float64Array2D,
    squares: Float64Array2D,
    counts: Float64Array1D,
    bounds: Int64Array3D,
    chosen: Int64Array1D,
    sharpe: Float64Array1D,
) -> None:
    """Raise `sharpe` (n_windows,) to the best of these trials, whose row is `chosen`, from running sums over blocks."""
    n_trials, n_blocks = sums.shape
    total, square, bars = np.zeros(n_blocks + 1), np.zeros(n_blocks + 1), np.zeros(n_blocks + 1)
    for b in range(n_blocks):
        bars[b + 1] = bars[b] + counts[b]
    for k in range(n_trials):
        for b in range(n_blocks):
            total[b + 1] = total[b] + sums[k, b]
            square[b + 1] = square[b] + squares[k, b]
        for i in range(len(bounds)):
            s, q, n = 0.0, 0.0, 0.0
            for j in range(bounds.shape[1]):
                a, z = bounds[i, j, 0], bounds[i, j, 1]
                s += total[z] - total[a]
                q += square[z] - square[a]
                n += bars[z] - bars[a]
            # What the differences of running sums leave of a constant stretch.
            if q <= 1e-12 * square[n_blocks]:
                continue
            value = sharpe_of(s, q, n)
            if value == value and not value <= sharpe[i]:
                sharpe[i] = value
                chosen[i] = k
