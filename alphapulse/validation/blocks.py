"""Block moments: count, sum and sum of squares of each trial's returns per block of bars.

They are all that the reality check, cross-validation and walk-forward need, so that no curve is ever stored.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


def even_edges(n: int, n_parts: int) -> Int64Array1D:
    """Return the `n_parts + 1` edges of contiguous parts of `n` items, whose lengths differ by at most one."""
    return np.arange(n_parts + 1, dtype=np.int64) * n // n_parts


def as_returns(returns: ArrayLike) -> Float64Array2D:
    """Return `returns` as a C-ordered float64 array (n_bars, n_trials); a single series becomes one trial.

    Raises
    ------
    ValueError
        If there are more than two axes or no trial.
    """
    array = np.ascontiguousarray(returns, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"`returns` must have the shape (n_bars, n_trials), but got {array.shape}.")
    return array


def as_moments(sums: ArrayLike, counts: ArrayLike) -> tuple[Float64Array2D, Float64Array1D]:
    """Return block sums (n_trials, n_blocks) and block lengths (n_blocks,) as C-ordered float64, checked.

    Raises
    ------
    ValueError
        If the shapes do not fit, there are fewer than two blocks, or a block has no bar.
    """
    table = np.ascontiguousarray(sums, dtype=np.float64)
    lengths = np.ascontiguousarray(counts, dtype=np.float64)
    if table.ndim != 2 or lengths.ndim != 1 or table.shape[1] != len(lengths):
        raise ValueError(
            f"block sums (n_trials, n_blocks) and counts (n_blocks,) must fit, but got {table.shape} and "
            f"{lengths.shape}."
        )
    if len(lengths) < 2 or not np.all(lengths > 0):
        raise ValueError(f"`n_blocks >= 2` blocks of at least one bar must be given, but got {len(lengths)} blocks.")
    return table, lengths


def excess_moments(
    sums: Float64Array2D, squares: Float64Array2D, counts: ArrayLike, rate: float
) -> tuple[Float64Array2D, Float64Array2D]:
    """Return the block moments of returns over a rate a bar, from those of the returns themselves.

    Parameters
    ----------
    sums, squares : (n_trials, n_blocks) float64
        Sums of returns and of their squares [1].
    counts : (n_blocks,) array_like
        Bars of each block.
    rate : float
        Rate of a bar [1]; at 0 the arrays come back as they are.
    """
    if rate == 0.0:
        return sums, squares
    paid = rate * np.asarray(counts, dtype=np.float64)
    return sums - paid, squares - 2.0 * rate * sums + rate * paid


def block_moments(returns: ArrayLike, edges: ArrayLike) -> tuple[Float64Array2D, Float64Array2D, Float64Array1D]:
    """Return sums, squares (n_trials, n_blocks) and counts (n_blocks,) of `returns` between bar `edges`.

    Parameters
    ----------
    returns : array_like (n_bars, n_trials)
        Simple returns per bar [1]. NaN makes its block NaN.
    edges : array_like (n_blocks + 1,)
        First bar of each block, then the end of the last [bars].
    """
    array = as_returns(returns)
    bounds = np.ascontiguousarray(edges, dtype=np.int64)
    shape = (array.shape[1], len(bounds) - 1)
    sums, squares = np.empty(shape), np.empty(shape)
    _block_moments(array, bounds, sums, squares)
    return sums, squares, np.diff(bounds).astype(np.float64)


def merge_blocks(
    sums: Float64Array2D, squares: Float64Array2D, counts: Float64Array1D, n_groups: int
) -> tuple[Float64Array2D, Float64Array2D, Float64Array1D]:
    """Merge calendar blocks into `n_groups` contiguous groups of nearly as many blocks each.

    Raises
    ------
    ValueError
        If there are fewer blocks than groups.
    """
    if len(counts) < n_groups:
        raise ValueError(
            f"`n_blocks <= {len(counts)}` must hold, as many as the calendar blocks given, but got {n_groups}."
        )
    edges = even_edges(len(counts), n_groups)
    merged = np.empty((len(sums), n_groups)), np.empty((len(sums), n_groups))
    _merge(np.ascontiguousarray(sums), edges, merged[0])
    _merge(np.ascontiguousarray(squares), edges, merged[1])
    lengths = np.array([counts[a:b].sum() for a, b in pairwise(edges)])
    return merged[0], merged[1], lengths


@jit
def sharpe_of(total: float, squares: float, n: float) -> float:
    """Return the per-bar Sharpe ratio of a sum and a sum of squares over n bars, NaN if undefined."""
    deviation = squares - total * total / n
    # Rounding leaves a constant series about n*1e-16 of its squares; 1e-24 is a range of 1e-12, squared.
    if n < 2.0 or not (deviation > 1e-12 * squares and deviation > 1e-24 * n):
        return np.nan
    sharpe: float = total / n / np.sqrt(deviation / (n - 1.0))
    return sharpe


@jit
def _block_moments(returns: Float64Array2D, edges: Int64Array1D, sums: Float64Array2D, squares: Float64Array2D) -> None:
    n_trials = returns.shape[1]
    total, square = np.empty(n_trials), np.empty(n_trials)
    for b in range(len(edges) - 1):
        total[:] = 0.0
        square[:] = 0.0
        for t in range(edges[b], edges[b + 1]):
            row = returns[t]
            for k in range(n_trials):
                total[k] += row[k]
                square[k] += row[k] * row[k]
        sums[:, b] = total
        squares[:, b] = square


@jit
def _merge(values: Float64Array2D, edges: Int64Array1D, out: Float64Array2D) -> None:
    for k in range(len(values)):
        for g in range(len(edges) - 1):
            total = 0.0
            for b in range(edges[g], edges[g + 1]):
                total += values[k, b]
            out[k, g] = total
