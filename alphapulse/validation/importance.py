"""Which parameters decide whether a trial is among the best, beside what pure noise would show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Int64Array1D
from alphapulse.validation.plateau import ParameterGrid

N_BINS = 50


@dataclass(frozen=True)
class Importance:
    """Outcome of `parameter_importance`, one entry a parameter.

    Attributes
    ----------
    divergence : ndarray (n_parameters,)
        Pearson divergence of the best trials' density from that of all [1].
    share : ndarray (n_parameters,)
        Its share of the sum over the parameters [1]; NaN if all are 0.
    null_share : ndarray (n_parameters,)
        95 % quantile of the share when the objective is dealt out at random [1].
    p_values : ndarray (n_parameters,)
        The p-value of the divergence, by permutation.
    n_top : int
        Trials that count as best.
    """

    divergence: Float64Array1D
    share: Float64Array1D
    null_share: Float64Array1D
    p_values: Float64Array1D
    n_top: int


def parameter_importance(
    parameters: ArrayLike,
    values: ArrayLike,
    grid: ParameterGrid,
    *,
    quantile: float = 0.1,
    n_permutations: int = 200,
    seed: int = 0,
) -> Importance:
    """PED-ANOVA: how far the best trials' marginal density in each parameter is from that of all trials [1]_.

    D_PE = sum over the bins of (p_top / p_all - 1)^2 p_all, for kernel densities of the best `quantile` of the trials
    and of all. It knows nothing of interactions. Noise alone can give one parameter a third of the sum: read a
    share beside its `null_share`.

    Parameters
    ----------
    parameters : array_like (n_trials, n_parameters)
        A categorical parameter is the place of its choice. Where one is inactive, NaN, the trial tells nothing of it.
    values : array_like (n_trials,)
        Objective, higher is better. NaN trials are left out.
    grid : ParameterGrid
    quantile : float
        Share of the trials that count as best, in (0, 1).
    n_permutations : int
        Number of random deals behind the null, at least 1.
    seed : int

    Returns
    -------
    Importance
        Its figures are NaN everywhere with fewer than 10 trials.

    Raises
    ------
    ValueError
        If shapes do not fit or `0 < quantile < 1` or `n_permutations >= 1` does not hold.

    References
    ----------
    .. [1] Watanabe, Bansal and Hutter, PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
       Subspaces, IJCAI 2023, eq. 14 and algorithm 1.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"`0 < quantile < 1` must hold, but got quantile={quantile}.")
    if n_permutations < 1:
        raise ValueError(f"`n_permutations >= 1` must hold, but got n_permutations={n_permutations}.")
    value = np.ascontiguousarray(values, dtype=np.float64)
    cells, kernels = _cells(grid, parameters)
    if value.shape != (len(cells),):
        raise ValueError(f"`values` must have the shape ({len(cells)},), but got {value.shape}.")
    known = np.flatnonzero(~np.isnan(value))
    n_parameters = cells.shape[1]
    if len(known) < 10 or n_parameters == 0:
        unknown = np.full(n_parameters, np.nan)
        return Importance(unknown, unknown, unknown, unknown, 0)
    cells, value = np.ascontiguousarray(cells[known]), value[known]
    n_top = max(2, int(np.ceil(quantile * len(value))))
    top = np.argsort(-value, kind="stable")[:n_top]
    every = _densities(cells, kernels)
    observed = _divergence(_densities(cells[top], kernels), every)
    rng = np.random.Generator(np.random.PCG64(seed))
    null = np.empty((n_permutations, n_parameters))
    for i in range(n_permutations):
        dealt = rng.choice(len(value), n_top, replace=False)
        null[i] = _divergence(_densities(cells[dealt], kernels), every)
    return Importance(
        divergence=observed,
        share=_share(observed),
        null_share=np.quantile(np.array([_share(row) for row in null]), 0.95, axis=0),
        p_values=(1 + (null >= observed).sum(axis=0)) / (1 + n_permutations),
        n_top=n_top,
    )


def _share(divergence: Float64Array1D) -> Float64Array1D:
    total = divergence.sum()
    return divergence / total if total > 0 else np.full(len(divergence), np.nan)


def _cells(grid: ParameterGrid, parameters: ArrayLike) -> tuple[np.ndarray, Int64Array1D]:
    """Return each trial's bin in each parameter, -1 where it has none, and the number of bins (negative: categories,
    not smoothed).
    """
    table = np.asarray(parameters, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(grid.low):
        raise ValueError(f"`parameters` must have the shape (n_trials, {len(grid.low)}), but got {table.shape}.")
    cells, n_bins = np.zeros(table.shape, dtype=np.int64), np.zeros(table.shape[1], dtype=np.int64)
    for i in range(table.shape[1]):
        missing, low, high = np.isnan(table[:, i]), grid.low[i], grid.high[i]
        column = np.where(missing, low, table[:, i])
        if grid.categorical[i]:
            cells[:, i] = np.where(missing, -1, column.astype(np.int64))
            n_bins[i] = -(int(cells[:, i].max(initial=0)) + 1)
            continue
        if grid.log[i]:
            column, low, high = numerics.log_array(column), numerics.log(low), numerics.log(high)
        step = grid.step[i] if not np.isnan(grid.step[i]) else (1.0 if grid.integer[i] else np.nan)
        points = N_BINS if np.isnan(step) or grid.log[i] else int(np.floor((high - low) / step + 1e-9)) + 1
        n_bins[i] = min(points, N_BINS)
        width = high - low
        place = (column - low) / width * (n_bins[i] - 1) + 0.5 if width > 0 else np.zeros(len(column))
        cells[:, i] = np.where(missing, -1, np.clip(place, 0, n_bins[i] - 1).astype(np.int64))
    return cells, n_bins


def _densities(cells: np.ndarray, n_bins: Int64Array1D) -> list[Float64Array1D]:
    """Return the density over the bins of each parameter of the trials that have one; 0 where none has."""
    out = []
    for i, bins in enumerate(n_bins):
        known = cells[:, i][cells[:, i] >= 0]
        histogram = np.bincount(known, minlength=abs(int(bins))).astype(np.float64)
        if not len(known):
            out.append(histogram)
            continue
        density = _smooth(histogram) if bins > 0 else histogram
        out.append(density / density.sum())
    return out


def _divergence(best: list[Float64Array1D], every: list[Float64Array1D]) -> Float64Array1D:
    out = np.empty(len(every))
    for i, (top, whole) in enumerate(zip(best, every, strict=True)):
        inside = whole > 0
        # Where it is active in none of the best, it tells nothing.
        out[i] = 0.0 if not top.any() else np.sum((top[inside] / whole[inside] - 1) ** 2 * whole[inside])
    return out


@jit
def _smooth(histogram: Float64Array1D) -> Float64Array1D:
    """Return the kernel density over the bins: Gaussian, bandwidth by Scott's rule, half a bin at least."""
    n_bins = len(histogram)
    n, mean, square = 0.0, 0.0, 0.0
    for b in range(n_bins):
        n += histogram[b]
        mean += b * histogram[b]
    mean /= n
    for b in range(n_bins):
        square += (b - mean) * (b - mean) * histogram[b]
    bandwidth = max(1.059 * np.sqrt(square / max(n - 1.0, 1.0)) * numerics.power(n, -0.2), 0.5)
    weight = np.empty(n_bins)
    for b in range(n_bins):
        weight[b] = numerics.exp(-0.5 * (b / bandwidth) * (b / bandwidth))
    density = np.zeros(n_bins)
    for a in range(n_bins):
        if histogram[a] > 0.0:
            mass = 0.0
            for b in range(n_bins):
                mass += weight[abs(a - b)]
            for b in range(n_bins):
                density[b] += histogram[a] * weight[abs(a - b)] / mass
    return density
