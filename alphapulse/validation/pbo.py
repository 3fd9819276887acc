"""Probability of backtest overfitting: whether the best trial on one half of the data is good on the other.

It says whether choosing generalises, not whether there is an edge: it is about .5 for pure noise, and also when
all trials are equally good. Read it beside its null band and never gate on .5.
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.blocks import as_moments, as_returns, block_moments, even_edges, merge_blocks, sharpe_of

# Two standard deviations or so of the value on simulated noise.
NULL_BAND = (0.35, 0.65)


@dataclass(frozen=True)
class BacktestOverfitting:
    """Outcome of combinatorially symmetric cross-validation.

    Attributes
    ----------
    pbo : float
        Share of the splits in which the best trial in sample is in the lower half out of sample; NaN with fewer
        than two distinct trials that count.
    null_band : tuple of float
        Where `pbo` lies for trials that are all noise, or all equally good.
    probability_of_loss : float
        Share of the splits in which the chosen trial's Sharpe ratio out of sample is negative.
    degradation_slope, degradation_intercept : float
        Line of the regression of the chosen trial's Sharpe ratio out of sample on the one in sample, per bar.
    logits : ndarray (n_splits,)
        ln(w / (1 - w)), w the relative rank of the chosen trial out of sample.
    in_sample_sharpe, out_of_sample_sharpe : ndarray (n_splits,)
        Sharpe ratios of the chosen trial per bar [1]; NaN where its variance is zero.
    chosen : ndarray (n_splits,)
        Column of the chosen trial.
    n_trials, n_distinct : int
        Trials given, and those left without repetitions and without NaN.
    n_blocks : int
    """

    pbo: float
    null_band: tuple[float, float]
    probability_of_loss: float
    degradation_slope: float
    degradation_intercept: float
    logits: Float64Array1D = field(repr=False)
    in_sample_sharpe: Float64Array1D = field(repr=False)
    out_of_sample_sharpe: Float64Array1D = field(repr=False)
    chosen: Int64Array1D = field(repr=False)
    n_trials: int
    n_distinct: int
    n_blocks: int


def probability_of_backtest_overfitting(returns: ArrayLike, n_blocks: int = 16) -> BacktestOverfitting:
    """Cross-validate the choice of the best trial, combinatorially and symmetrically [1]_.

    The bars are cut into S even contiguous blocks. For each of the C(S, S/2) halves, n* is the trial with the best
    Sharpe ratio in it (of equals the one that is worst in the other half), and w = rank of n* in the other half
    / (N + 1), rank 1 the worst, ties averaged. PBO is the share of the splits with ln(w / (1 - w)) <= 0.

    Parameters
    ----------
    returns : array_like (n_bars, n_trials)
        Simple returns per bar [1]. Give every trial that was run. A trial with a NaN or an infinity is left out;
        one without variance ranks last; of identical trials one is kept.
    n_blocks : int
        It is S, even, from 2 to 24: 16 make 12,870 splits.

    Returns
    -------
    BacktestOverfitting

    Raises
    ------
    ValueError
        If `returns` has another shape, `n_blocks` is odd or out of range, or a block would have fewer than two bars.

    References
    ----------
    .. [1] Bailey, Borwein, Lopez de Prado and Zhu, The Probability of Backtest Overfitting, Journal of
       Computational Finance 20(4), 2017, section 3.
    """
    _check_blocks(n_blocks)
    array = as_returns(returns)
    if len(array) < 2 * n_blocks:
        raise ValueError(f"`n_bars >= 2 * n_blocks` must hold, but got n_bars={len(array)} and n_blocks={n_blocks}.")
    sums, squares, counts = block_moments(array, even_edges(len(array), n_blocks))
    return overfitting_from_moments(sums, squares, counts, n_blocks=n_blocks)


def overfitting_from_moments(
    sums: ArrayLike, squares: ArrayLike, counts: ArrayLike, *, n_blocks: int = 16
) -> BacktestOverfitting:
    """Compute `probability_of_backtest_overfitting` from block moments, merged into `n_blocks` even groups.

    Parameters
    ----------
    sums, squares : array_like (n_trials, n_calendar_blocks)
        Sum of the returns, and of their squares, of each trial in each block [1].
    counts : array_like (n_calendar_blocks,)
        Bars in each block [bars].
    n_blocks : int
        It is S, even, from 2 to 24, at most as many as there are calendar blocks.

    Raises
    ------
    ValueError
        If the shapes do not fit or `n_blocks` is odd or out of range.
    """
    _check_blocks(n_blocks)
    totals, lengths = as_moments(sums, counts)
    totals, powers, lengths = merge_blocks(totals, np.ascontiguousarray(squares, np.float64), lengths, n_blocks)
    kept = _distinct(totals, powers)
    halves = np.array(list(combinations(range(n_blocks), n_blocks // 2)), dtype=np.int64)
    n_splits = len(halves)
    in_sample, out_of_sample, rank = np.full(n_splits, np.nan), np.full(n_splits, np.nan), np.full(n_splits, np.nan)
    chosen = np.full(n_splits, -1, dtype=np.int64)
    if len(kept) >= 2:
        by_block = np.ascontiguousarray(totals[kept].T), np.ascontiguousarray(powers[kept].T)
        # In lexicographic order the complement of split i is split n-1-i: each pass scores both.
        cross_validate(*by_block, lengths, halves[: n_splits // 2], n_splits, in_sample, out_of_sample, rank, chosen)
    valid = ~np.isnan(rank)
    relative = rank[valid] / (len(kept) + 1)
    logits = numerics.log_array(relative / (1 - relative))
    losses = out_of_sample[valid]
    slope, intercept = _regression(in_sample[valid], losses)
    return BacktestOverfitting(
        pbo=float(np.mean(logits <= 0)) if len(logits) else float("nan"),
        null_band=NULL_BAND,
        probability_of_loss=float(np.mean(losses < 0)) if len(logits) else float("nan"),
        degradation_slope=slope,
        degradation_intercept=intercept,
        logits=logits,
        in_sample_sharpe=in_sample[valid],
        out_of_sample_sharpe=losses,
        chosen=kept[chosen[valid]],
        n_trials=len(totals),
        n_distinct=len(kept),
        n_blocks=n_blocks,
    )


def _check_blocks(n_blocks: int) -> None:
    if n_blocks % 2 or not 2 <= n_blocks <= 24:
        raise ValueError(f"`n_blocks` must be even and in [2, 24], but got n_blocks={n_blocks}.")


def _distinct(sums: Float64Array2D, squares: Float64Array2D) -> Int64Array1D:
    """Return the trials whose moments are finite, the first of each set of identical ones, in order."""
    moments = np.hstack([sums, squares])
    known = np.flatnonzero(np.isfinite(moments).all(axis=1))
    # +0.0 makes one zero of two, so that equal rows have equal bytes.
    rows = np.ascontiguousarray(moments[known] + 0.0)
    _, first = np.unique(rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel(), return_index=True)
    return np.sort(known[first])


def _regression(x: Float64Array1D, y: Float64Array1D) -> tuple[float, float]:
    """Return slope and intercept of least squares over the pairs without NaN; NaN without spread in x."""
    both = ~np.isnan(x) & ~np.isnan(y)
    if both.sum() < 2:
        return float("nan"), float("nan")
    x, y = x[both], y[both]
    deviation = x - x.mean()
    spread = float((deviation * deviation).sum())
    if spread <= 0:
        return float("nan"), float("nan")
    slope = float((deviation * (y - y.mean())).sum()) / spread
    return slope, float(y.mean()) - slope * float(x.mean())


@jit
def cross_validate(
    sums: Float64Array2D,
    squares: Float64Array2D,
    counts: Float64Array1D,
    halves: Int64Array1D,
    n_splits: int,
    in_sample: Float64Array1D,
    out_of_sample: Float64Array1D,
    rank: Float64Array1D,
    chosen: Int64Array1D,
) -> None:
    """Score `halves` (n, S/2) and their complements on block moments (S, n_trials); any slice of them on its own.

    Split i of the slice fills place i of the outputs, its complement place n_splits - 1 - i. A split in which no
    trial has a Sharpe ratio keeps NaN.
    """
    n_blocks, n_trials = sums.shape
    moments = np.empty((4, n_trials))
    sharpes = np.empty((2, n_trials))
    inside = np.empty(n_blocks, dtype=np.bool_)
    for i in range(len(halves)):
        inside[:] = False
        for b in halves[i]:
            inside[b] = True
        moments[:] = 0.0
        n_in, n_out = 0.0, 0.0
        for b in range(n_blocks):
            if inside[b]:
                total, square = moments[0], moments[1]
                n_in += counts[b]
            else:
                total, square = moments[2], moments[3]
                n_out += counts[b]
            for k in range(n_trials):
                total[k] += sums[b, k]
                square[k] += squares[b, k]
        for k in range(n_trials):
            sharpes[0, k] = _rankable(sharpe_of(moments[0, k], moments[1, k], n_in))
            sharpes[1, k] = _rankable(sharpe_of(moments[2, k], moments[3, k], n_out))
        for side in range(2):
            own, other = sharpes[side], sharpes[1 - side]
            best = -1
            largest = -np.inf
            for k in range(n_trials):
                # Of equally good choices the one that does worst elsewhere: their order must not matter.
                if own[k] > largest or (best >= 0 and own[k] == largest and other[k] < other[best]):
                    largest = own[k]
                    best = k
            if best < 0:
                continue
            value = other[best]
            below, equal = 0, 0
            for k in range(n_trials):
                below += other[k] < value
                equal += other[k] == value
            place = i if side == 0 else n_splits - 1 - i
            in_sample[place] = largest
            out_of_sample[place] = value if value > -np.inf else np.nan
            rank[place] = below + (equal + 1) / 2
            chosen[place] = best


@jit
def _rankable(sharpe: float) -> float:
    """Return a Sharpe ratio, or -inf where it is undefined, so that it ranks last."""
    return sharpe if sharpe == sharpe else -np.inf
