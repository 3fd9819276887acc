"""Which trials, not only whether the best one: step-down of the reality check over the best trials."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alphapulse.compiling import jit
from alphapulse.typing import BoolArray1D, Float64Array1D, Int64Array1D
from alphapulse.validation.blocks import as_moments
from alphapulse.validation.spa import Bootstrap


@dataclass(frozen=True)
class StepDown:
    """Outcome of `step_down`, best trial first.

    Attributes
    ----------
    trials : ndarray (n_best,)
        Rows of the block sums.
    statistics : ndarray (n_best,)
        Mean return over its standard error [1].
    p_values : ndarray (n_best,)
        They are adjusted for the search over all trials.
    survived : ndarray (n_best,) of bool
    alpha : float
        Chance that any survivor has no edge, at most.
    """

    trials: Int64Array1D
    statistics: Float64Array1D
    p_values: Float64Array1D
    survived: BoolArray1D
    alpha: float

    @property
    def survivors(self) -> Int64Array1D:
        """Rows of the surviving trials, best first."""
        return self.trials[self.survived]


def step_down(
    bootstrap: Bootstrap,
    sums: ArrayLike,
    *,
    n_best: int = 1000,
    alpha: float = 0.05,
    maxima: Float64Array1D | None = None,
) -> StepDown:
    """Find the trials with an edge among the best ones, with any false find below `alpha` [1]_ [2]_.

    The i-th best trial is compared with the draws' maxima over itself and all trials behind it, and is found only
    if every better one is. Trials behind the best stay in those maxima, so that picking the best is paid for.

    Parameters
    ----------
    bootstrap : Bootstrap
        The study's resampled blocks.
    sums : array_like (n_trials, n_blocks)
        Block sums of excess returns [1]. Trials with NaN or without variance take no part.
    n_best : int
        Number of trials tested.
    alpha : float
        Level of the test, in (0, 1).
    maxima : ndarray (n_bootstrap,), optional
        The draws' maxima over all trials of the study, which stand for the trials behind the best, given or not. The
        first step is exact; later ones are conservative, since the trials already found stay in the maxima.

    Returns
    -------
    StepDown
        It is empty if no trial counts.

    Raises
    ------
    ValueError
        If shapes do not fit or `0 < alpha < 1` or `n_best >= 1` does not hold.

    References
    ----------
    .. [1] Romano and Wolf, Stepwise Multiple Testing as Formalized Data Snooping, Econometrica 73(4), 2005.
    .. [2] Romano and Wolf, Efficient Computation of Adjusted p-Values for Resampling-Based Stepdown Multiple
       Testing, Statistics & Probability Letters 113, 2016.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"`0 < alpha < 1` must hold, but got alpha={alpha}.")
    if n_best < 1:
        raise ValueError(f"`n_best >= 1` must hold, but got n_best={n_best}.")
    table, _ = as_moments(sums, bootstrap.block_sizes)
    statistics = bootstrap.statistics(table)
    counted = np.flatnonzero(~np.isnan(statistics))
    order = counted[np.argsort(-statistics[counted], kind="stable")]
    best, rest = order[:n_best], order[n_best:]
    behind = bootstrap.batch_maximum(table[rest])[1] if maxima is None else np.asarray(maxima)
    exceeding = np.empty(len(best), dtype=np.int64)
    _count_exceeding(bootstrap.draws(table[best]), statistics[best], behind.astype(np.float32), exceeding)
    p_values = np.maximum.accumulate((1 + exceeding) / (1 + bootstrap.n_bootstrap))
    return StepDown(best, statistics[best], p_values, p_values <= alpha, alpha)


@jit
def _count_exceeding(draws: np.ndarray, statistics: Float64Array1D, behind: np.ndarray, out: Int64Array1D) -> None:
    """Fill `out` with the draws whose maximum over a trial and all behind it reaches its statistic."""
    n_best, n_draws = draws.shape
    running = behind.copy()
    for k in range(n_best - 1, -1, -1):
        exceeding = 0
        for j in range(n_draws):
            running[j] = max(running[j], draws[k, j])
            exceeding += running[j] >= statistics[k]
        out[k] = exceeding
