"""Sums over the returns of many curves of equity, from which metrics and block moments are made (4.4)."""

import numpy as np

from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

OF_RETURNS = (
    "mean", "m2", "m3", "m4", "lowest", "highest", "downside", "drawdown", "growth",
    "benchmark_mean", "benchmark_m2", "cross", "active_m2",
)  # fmt: skip
"""The sums that returns decide, in the order of the rows of `sum_worth`."""

_MEAN, _M2, _M3, _M4, _LOWEST, _HIGHEST, _DOWNSIDE, _DRAWDOWN, _GROWTH = range(9)
_BENCHMARK, _BENCHMARK_M2, _CROSS, _ACTIVE_M2, _N_SUMS = range(9, 14)


def sum_worth_python(
    worth: Float64Array2D, benchmark: Float64Array1D, risk_free: Float64Array1D, block_end: Int64Array1D
) -> tuple[Float64Array2D, Float64Array2D, Float64Array2D]:
    """Return sums (13, n_trials) over the returns of portfolios, and block moments (n_trials, n_blocks).

    Each column of `worth` (n_scored, n_trials) is 1 before its first row; nothing of a column depends on another one.
    """
    n, k = worth.shape
    sums = np.zeros((_N_SUMS, k))
    block_sums, block_squares = np.zeros((k, block_end.size)), np.zeros((k, block_end.size))
    mean, active = np.zeros(k), np.zeros(k)
    before = np.ones(k)
    benchmark_mean = 0.0
    for t in range(n):
        benchmark_mean += benchmark[t]
    benchmark_mean /= n
    for j in range(k):
        sums[_LOWEST, j], sums[_HIGHEST, j] = np.inf, -np.inf
    start = 0
    for block in range(block_end.size):
        for t in range(start, block_end[block]):
            for j in range(k):
                r = worth[t, j] / before[j] - 1.0 if before[j] > 0.0 else 0.0
                block_sums[j, block] += r
                block_squares[j, block] += r * r
                before[j] = worth[t, j]
        start = block_end[block]
    for j in range(k):
        for block in range(block_end.size):
            mean[j] += block_sums[j, block]
        mean[j] /= n
        active[j] = mean[j] - benchmark_mean
        before[j] = 1.0
    peak = np.ones(k)
    for t in range(n):
        b = benchmark[t] - benchmark_mean
        for j in range(k):
            r = worth[t, j] / before[j] - 1.0 if before[j] > 0.0 else 0.0
            d = r - mean[j]
            ahead = r - benchmark[t] - active[j]
            below = min(r - risk_free[j], 0.0)
            sums[_M2, j] += d * d
            sums[_M3, j] += d * d * d
            sums[_M4, j] += d * d * (d * d)
            sums[_LOWEST, j] = min(sums[_LOWEST, j], r)
            sums[_HIGHEST, j] = max(sums[_HIGHEST, j], r)
            sums[_DOWNSIDE, j] += below * below
            sums[_BENCHMARK_M2, j] += b * b
            sums[_CROSS, j] += d * b
            sums[_ACTIVE_M2, j] += ahead * ahead
            peak[j] = max(peak[j], worth[t, j])
            sums[_DRAWDOWN, j] = min(sums[_DRAWDOWN, j], worth[t, j] / peak[j] - 1.0)
            before[j] = worth[t, j]
    for j in range(k):
        sums[_MEAN, j] = mean[j]
        sums[_BENCHMARK, j] = benchmark_mean
        sums[_GROWTH, j] = worth[n - 1, j]
    return sums, block_sums, block_squares


sum_worth = jit(sum_worth_python)
