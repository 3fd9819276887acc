"""The nineteen metrics of a trial, from sums that one pass over its bars leaves behind.

Returns are simple returns of each bar; the equity just before the first bar is the base. What is undefined
(no variance, no loss, no trade) is NaN, never 0 and never infinite. Where QuantStats 0.0.86 has the metric the
two agree on the same returns, apart from these differences:

- a return series whose largest and smallest value differ by at most 1e-12, or whose deviation is at most a millionth
  of its mean, has no variance: every ratio over its deviation is NaN (QuantStats divides by rounding noise), and so
  are skewness and kurtosis (pandas says 0); its volatility is 0;
- `kurtosis` is not excess: pandas' value plus 3;
- `win_rate` without a return other than 0 and `profit_factor` without a loss are NaN (QuantStats: 0 and inf);
- `exposure` counts bars with a position, unrounded (QuantStats: bars with a return, rounded up to a percent);
- `information_ratio`, `alpha` and `beta` without variance are NaN (QuantStats: 0);
- a drawdown of 0 leaves `calmar_ratio` NaN (QuantStats: inf).
"""

import math
from typing import Literal

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import power
from alphapulse.typing import Float64Array1D

METRICS = (
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "cagr",
    "total_return",
    "volatility",
    "max_drawdown",
    "skewness",
    "kurtosis",
    "value_at_risk_95",
    "n_trades",
    "win_rate",
    "profit_factor",
    "exposure",
    "turnover",
    "costs_paid",
    "alpha",
    "beta",
    "information_ratio",
)
"""Names of the metrics in the order of every metrics array and of the columns of `trial`."""

N_METRICS = len(METRICS)

_LESS_IS_BETTER = {"volatility", "kurtosis", "n_trades", "exposure", "turnover", "costs_paid", "beta"}

DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    name: "minimize" if name in _LESS_IS_BETTER else "maximize" for name in METRICS
}
"""Which way each metric is better. `max_drawdown` and `value_at_risk_95` are negative, so more is better."""

NO_VARIANCE = 1e-12
"""Returns that differ by no more than this have no variance, a drawdown or a loss within it is none [1]."""

NO_SPREAD = 1e-12
"""A variance that is no more than this part of the squared mean is what rounding leaves of none [1]."""

NORMAL_5_PERCENT = -1.6448536269514722
"""The 5 % quantile of the standard normal distribution."""

# Places in the vector of sums that `finalise` reads.
N, MEAN, M2, M3, M4, LOWEST, HIGHEST, DOWNSIDE, GAINS, LOSSES, N_GAINS, N_LOSSES = range(12)
DRAWDOWN, GROWTH, BENCHMARK_MEAN, BENCHMARK_M2, CROSS, ACTIVE_M2 = range(12, 18)
N_FILLS, N_EXPOSED, TRADED, COSTS = range(18, 22)
N_SUMS = 22


@jit
def finalise(sums: Float64Array1D, risk_free: float, periods_per_year: float, metrics: Float64Array1D) -> None:
    """Fill `metrics` (19,) from `sums` (22,).

    Parameters
    ----------
    sums : (22,) float64
        By place: bars, mean return, sums of its central powers 2 to 4, lowest and highest return, sum of squares of
        negative excess returns, sums of positive and of negative returns and their counts, maximum drawdown, last
        equity over the base, mean of the benchmark, its central square, the central cross product and the central
        square of return less benchmark, then fills, bars with a position, traded value over equity, costs [quote].
    risk_free : float
        Per-bar rate [1].
    periods_per_year : float
        Bars in a year [1].
    metrics : (19,) float64
        Output, in the order of `METRICS`; NaN where undefined.
    """
    nan = math.nan
    n = sums[N]
    mean = sums[MEAN]
    m2 = sums[M2]
    root = math.sqrt(periods_per_year)
    varies = n > 1.0 and sums[HIGHEST] - sums[LOWEST] > NO_VARIANCE and m2 > n * mean * mean * NO_SPREAD
    deviation = math.sqrt(max(m2, 0.0) / (n - 1.0)) if n > 1.0 else nan
    downside = math.sqrt(sums[DOWNSIDE] / n) if n > 0.0 else nan
    drawdown = sums[DRAWDOWN] if n > 0.0 else nan
    growth = power(sums[GROWTH], periods_per_year / n) - 1.0 if n > 0.0 else nan

    metrics[0] = (mean - risk_free) / deviation * root if varies else nan
    metrics[1] = (mean - risk_free) / downside * root if downside > NO_VARIANCE else nan
    metrics[2] = growth / abs(drawdown) if drawdown < -NO_VARIANCE else nan
    metrics[3] = growth
    metrics[4] = sums[GROWTH] - 1.0 if n > 0.0 else nan
    metrics[5] = (deviation * root if varies else 0.0) if n > 1.0 else nan
    metrics[6] = drawdown
    if varies and n > 2.0:
        metrics[7] = n * math.sqrt(n - 1.0) / (n - 2.0) * sums[M3] / (m2 * math.sqrt(m2))
    else:
        metrics[7] = nan
    if varies and n > 3.0:
        scale = (n - 1.0) / ((n - 2.0) * (n - 3.0))
        metrics[8] = scale * (n * (n + 1.0) * sums[M4] / (m2 * m2) - 3.0 * (n - 1.0)) + 3.0
    else:
        metrics[8] = nan
    metrics[9] = mean + NORMAL_5_PERCENT * deviation if varies else nan
    metrics[10] = sums[N_FILLS]
    n_moves = sums[N_GAINS] + sums[N_LOSSES]
    metrics[11] = sums[N_GAINS] / n_moves if n_moves > 0.0 else nan
    metrics[12] = sums[GAINS] / -sums[LOSSES] if sums[LOSSES] < -NO_VARIANCE else nan
    metrics[13] = sums[N_EXPOSED] / n if n > 0.0 else nan
    metrics[14] = sums[TRADED] * periods_per_year / n if n > 0.0 else nan
    metrics[15] = sums[COSTS]
    benchmark_square = sums[BENCHMARK_MEAN] * sums[BENCHMARK_MEAN]
    moves = n > 1.0 and sums[BENCHMARK_M2] > n * max(NO_VARIANCE * NO_VARIANCE, benchmark_square * NO_SPREAD)
    beta = sums[CROSS] / sums[BENCHMARK_M2] if moves else nan
    metrics[16] = (mean - beta * sums[BENCHMARK_MEAN]) * periods_per_year
    metrics[17] = beta
    active = math.sqrt(max(sums[ACTIVE_M2], 0.0) / (n - 1.0)) if n > 1.0 else nan
    ahead = mean - sums[BENCHMARK_MEAN]
    parts = active > NO_VARIANCE and active * active > ahead * ahead * NO_SPREAD
    metrics[18] = ahead / active if parts else nan
    for i in range(metrics.shape[0]):
        if math.isinf(metrics[i]):
            metrics[i] = nan


@jit
def per_bar_rate(annual: float, periods_per_year: float) -> float:
    """Return the per-bar rate [1] that compounds to `annual`, as QuantStats takes the risk-free rate apart."""
    return power(1.0 + annual, 1.0 / periods_per_year) - 1.0 if annual != 0.0 else 0.0


@jit
def sums_of_returns(returns: Float64Array1D, benchmark: Float64Array1D, risk_free: float, sums: Float64Array1D) -> None:
    """Fill `sums` (22,) from per-bar returns and benchmark returns (n,) in two passes; the engine's places stay NaN."""
    n = returns.shape[0]
    sums[:] = math.nan
    total = 0.0
    benchmark_total = 0.0
    for t in range(n):
        total += returns[t]
        benchmark_total += benchmark[t]
    mean = total / n if n > 0 else math.nan
    benchmark_mean = benchmark_total / n if n > 0 else math.nan
    m2 = m3 = m4 = benchmark_m2 = cross = active_m2 = downside = gains = losses = n_gains = n_losses = worst = 0.0
    lowest, highest, equity, peak = math.inf, -math.inf, 1.0, 1.0
    for t in range(n):
        r = returns[t]
        centred = r - mean
        other = benchmark[t] - benchmark_mean
        square = centred * centred
        m2 += square
        m3 += square * centred
        m4 += square * square
        benchmark_m2 += other * other
        cross += centred * other
        active_m2 += (centred - other) * (centred - other)
        excess = min(r - risk_free, 0.0)
        downside += excess * excess
        gains += max(r, 0.0)
        losses += min(r, 0.0)
        n_gains += 1.0 if r > 0.0 else 0.0
        n_losses += 1.0 if r < 0.0 else 0.0
        lowest = min(lowest, r)
        highest = max(highest, r)
        equity *= 1.0 + r
        peak = max(peak, equity)
        worst = min(worst, equity / peak - 1.0)
    sums[N], sums[MEAN], sums[M2], sums[M3], sums[M4] = n, mean, m2, m3, m4
    sums[LOWEST], sums[HIGHEST], sums[DOWNSIDE] = lowest, highest, downside
    sums[GAINS], sums[LOSSES], sums[N_GAINS], sums[N_LOSSES] = gains, losses, n_gains, n_losses
    sums[DRAWDOWN], sums[GROWTH] = worst, equity
    sums[BENCHMARK_MEAN], sums[BENCHMARK_M2] = benchmark_mean, benchmark_m2
    sums[CROSS], sums[ACTIVE_M2] = cross, active_m2


def metrics_of_returns(
    returns: Float64Array1D,
    benchmark: Float64Array1D | None = None,
    *,
    risk_free_rate: float = 0.0,
    periods_per_year: float = 252.0,
) -> dict[str, float]:
    """Return the metrics that returns alone decide, by name.

    Parameters
    ----------
    returns : (n,) float64
        Simple returns of each bar [1].
    benchmark : (n,) float64, optional
        Returns of the benchmark on the same bars [1]; without it alpha, beta and information_ratio are NaN.
    risk_free_rate : float
        Annual [1]; taken apart to bars by compounding, and subtracted by the Sharpe and Sortino ratios.
    periods_per_year : float
        Bars in a year [1].

    Returns
    -------
    dict of str to float
        Every name of `METRICS` but n_trades, exposure, turnover and costs_paid, which returns do not tell. NaN where
        undefined, and everywhere if a return is NaN.

    Raises
    ------
    ValueError
        If the arrays are not one-dimensional and of one length, or `periods_per_year > 0` does not hold.
    """
    r = np.array(returns, dtype=np.float64)
    b = np.full(r.shape, math.nan) if benchmark is None else np.array(benchmark, dtype=np.float64)
    if r.ndim != 1 or b.shape != r.shape:
        raise ValueError(
            f"`returns` and `benchmark` must be one-dimensional and of one length, but got {r.shape} and {b.shape}."
        )
    if not periods_per_year > 0:
        raise ValueError(f"`periods_per_year > 0` must hold, but got {periods_per_year!r}.")
    periods_per_year = float(periods_per_year)
    risk_free = per_bar_rate(float(risk_free_rate), periods_per_year)
    sums = np.empty(N_SUMS)
    values = np.full(N_METRICS, math.nan)
    if not np.isnan(r).any():
        sums_of_returns(r, b, risk_free, sums)
        finalise(sums, risk_free, periods_per_year, values)
    needs_engine = {"n_trades", "exposure", "turnover", "costs_paid"}
    return {name: float(v) for name, v in zip(METRICS, values, strict=True) if name not in needs_engine}


def sharpe_ratio(returns: Float64Array1D, *, risk_free_rate: float = 0.0, periods_per_year: float = 252.0) -> float:
    """Return mean(r - rf) / std(r, ddof=1) * sqrt(periods_per_year) of returns (n,) [1]; NaN without variance."""
    values = metrics_of_returns(returns, risk_free_rate=risk_free_rate, periods_per_year=periods_per_year)
    return values["sharpe_ratio"]


def sortino_ratio(returns: Float64Array1D, *, risk_free_rate: float = 0.0, periods_per_year: float = 252.0) -> float:
    """Return mean(r - rf) / sqrt(sum(min(r - rf, 0)^2) / n) * sqrt(periods_per_year); NaN without a loss."""
    values = metrics_of_returns(returns, risk_free_rate=risk_free_rate, periods_per_year=periods_per_year)
    return values["sortino_ratio"]


def max_drawdown(returns: Float64Array1D) -> float:
    """Return the deepest fall of compounded returns (n,) from their peak, the start included [1], at most 0."""
    return metrics_of_returns(returns)["max_drawdown"]


def cagr(returns: Float64Array1D, *, periods_per_year: float = 252.0) -> float:
    """Return the compound annual growth of per-bar returns (n,) over n / periods_per_year years [1]."""
    return metrics_of_returns(returns, periods_per_year=periods_per_year)["cagr"]


def calmar_ratio(returns: Float64Array1D, *, periods_per_year: float = 252.0) -> float:
    """Return cagr over the absolute maximum drawdown [1]; NaN without a drawdown."""
    return metrics_of_returns(returns, periods_per_year=periods_per_year)["calmar_ratio"]


def volatility(returns: Float64Array1D, *, periods_per_year: float = 252.0) -> float:
    """Return the annualised standard deviation (ddof=1) of per-bar returns (n,) [1]; 0 without variance."""
    return metrics_of_returns(returns, periods_per_year=periods_per_year)["volatility"]


def value_at_risk_95(returns: Float64Array1D) -> float:
    """Return the 5 % quantile of the normal with the mean and deviation of per-bar returns (n,) [1]."""
    return metrics_of_returns(returns)["value_at_risk_95"]
