"""What the verdict keeps of all trials, in memory that does not grow with them: one pass over each source."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alphapulse.compiling import jit
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.blocks import merge_blocks
from alphapulse.validation.spa import Bootstrap
from alphapulse.validation.verdict.sources import BlockSource, TrialSource
from alphapulse.validation.windows import BestOnWindows

# More would take longer than all the rest, and move the value less than its null band.
MAX_PBO_TRIALS = 10_000
N_BEST = 1000
MAX_SAMPLE = 100_000


@dataclass(frozen=True)
class TrialSample:
    """All trials of a study, or of more than `MAX_SAMPLE` a spread of them, the best ones and the chosen one.

    Attributes
    ----------
    sharpe_variance : float
        Variance over all trials with a Sharpe ratio, ddof=1 [1]; NaN with fewer than two.
    trials : ndarray (n_sample,)
        Their numbers, ascending.
    parameters : ndarray (n_sample, n_parameters)
    sharpes : ndarray (n_sample,)
        Their Sharpe ratios per bar; NaN for a failed trial [1].
    may_be_chosen : ndarray (n_sample,)
        Whether they break no condition on results.
    """

    sharpe_variance: float
    trials: Int64Array1D
    parameters: Float64Array2D
    sharpes: Float64Array1D
    may_be_chosen: BoolArray1D


@dataclass(frozen=True)
class BlockSample:
    """What the methods that work on block moments need of the kept trials.

    Attributes
    ----------
    best_trials : ndarray (<= N_BEST,)
        Trials of the highest reality-check statistic, best first.
    best_sums : ndarray (n_best, n_blocks)
        Block sums of these trials [1].
    group_sums, group_squares : ndarray (<= MAX_PBO_TRIALS, n_groups)
        Moments of an even spread of the kept trials, in order, the blocks merged into even groups [1].
    group_counts : ndarray (n_groups,)
        Bars in each group [bars].
    """

    best_trials: Int64Array1D
    best_sums: Float64Array2D
    group_sums: Float64Array2D
    group_squares: Float64Array2D
    group_counts: Float64Array1D


def sample_trials(source: TrialSource, chosen: int) -> TrialSample:
    """Read the Sharpe ratios of all trials, and the parameters of those that `TrialSample` speaks of.

    Where a part of the trials can be read, the moments over all of them are known with it.
    """
    moments = np.zeros(3)
    best, best_values = np.empty(0, dtype=np.int64), np.empty(0)
    first, part = 0, source.part()
    for sharpes in source.sharpes():
        take_in(sharpes, moments)
        known = np.flatnonzero(~np.isnan(sharpes))
        best, best_values = np.append(best, first + known), np.append(best_values, sharpes[known])
        order = np.argsort(-best_values, kind="stable")[:N_BEST]
        best, best_values = best[order], best_values[order]
        first += len(sharpes)
    everyone = np.arange(source.n_trials)
    if part is not None:
        moments, best, everyone = part.sharpes, part.numbers[best], part.numbers[part.is_drawn]
    trials = everyone
    if len(everyone) > MAX_SAMPLE or len(everyone) < source.n_trials:
        # Evenly spaced: which ones are taken must not depend on how good they are.
        n_spread = min(len(everyone), MAX_SAMPLE - N_BEST - 1)
        spread = everyone[np.linspace(0, len(everyone) - 1, n_spread).astype(np.int64)]
        trials = np.unique(np.concatenate([spread, best, [chosen]]))
    n, _, deviation = moments.tolist()
    variance = deviation / (n - 1) if n > 1 else math.nan
    return TrialSample(variance, trials, *source.read(trials), source.may_be_chosen(trials))


def sample_blocks(
    source: BlockSource, bootstrap: Bootstrap, n_groups: int, windows: Sequence[BestOnWindows]
) -> BlockSample:
    """Read the kept block moments once, and let `windows` see all of them."""
    counts = bootstrap.block_sizes
    taken = np.unique(np.linspace(0, source.n_kept - 1, min(source.n_kept, MAX_PBO_TRIALS)).astype(np.int64))
    best, statistics = np.empty(0, dtype=np.int64), np.empty(0)
    best_sums = np.empty((0, len(counts)))
    groups = [(np.empty((0, n_groups)), np.empty((0, n_groups)))]
    first = 0
    for trials, sums, squares in source.read():
        for window in windows:
            window.take(trials, sums, squares)
        rows = taken[(taken >= first) & (taken < first + len(trials))] - first
        groups.append(merge_blocks(sums[rows], squares[rows], counts, n_groups)[:2])
        observed = bootstrap.statistics(sums)
        known = np.flatnonzero(~np.isnan(observed))
        if len(best) == N_BEST:
            known = known[observed[known] > statistics[-1]]
        best, statistics = np.append(best, trials[known]), np.append(statistics, observed[known])
        best_sums = np.concatenate([best_sums, sums[known]])
        order = np.argsort(-statistics, kind="stable")[:N_BEST]
        best, statistics, best_sums = best[order], statistics[order], best_sums[order]
        first += len(trials)
    return BlockSample(
        best,
        best_sums,
        np.concatenate([sums for sums, _ in groups]),
        np.concatenate([squares for _, squares in groups]),
        merge_blocks(best_sums[:0], best_sums[:0], counts, n_groups)[2],
    )


@jit
def take_in(values: Float64Array1D, moments: Float64Array1D) -> None:
    """Raise number, mean and sum of squared deviations by `values`, one by one, so that pieces leave no trace."""
    for value in values:
        if value == value:
            moments[0] += 1.0
            deviation = value - moments[1]
            moments[1] += deviation / moments[0]
            moments[2] += deviation * (value - moments[1])
