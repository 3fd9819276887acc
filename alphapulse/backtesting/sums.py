"""What a pass over the bars of a trial leaves behind, from which `metrics` are made."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alphapulse.typing import BoolArray1D, Float64Array1D

NO_VARIANCE = 1e-12
"""Returns that differ by no more than this have no variance, a drawdown or a loss within it is none [1]."""

NO_SPREAD = 1e-12
"""A variance that is no more than this part of the squared mean is what rounding leaves of none [1]."""

OF_THE_ENGINE = (
    "n_exposed", "traded", "costs", "n_trades", "n_wins", "n_losses", "won", "lost", "net_profit", "bars_held",
    "longest",
)  # fmt: skip
"""The sums that returns alone do not have."""


@dataclass(frozen=True)
class Sums:
    """What a pass over the returns r and the benchmark's returns b of each trial leaves behind.

    Attributes
    ----------
    n : (n_trials,) float64
        Bars, at least 1.
    mean : (n_trials,) float64
        Of r [1].
    m2, m3, m4 : (n_trials,) float64
        Sums of the powers 2 to 4 of r - mean.
    lowest, highest : (n_trials,) float64
        Of r [1].
    downside : (n_trials,) float64
        Sum of min(r - risk_free, 0)^2.
    drawdown : (n_trials,) float64
        Deepest fall of the equity from its peak, the base included, at most 0 [1].
    growth : (n_trials,) float64
        Last equity over the base [1].
    benchmark_mean, benchmark_m2 : (n_trials,) float64
        Mean of b [1], and sum of (b - benchmark_mean)^2; NaN without a benchmark, as the next two.
    cross : (n_trials,) float64
        Sum of (r - mean) * (b - benchmark_mean).
    active_m2 : (n_trials,) float64
        Sum of the squares of r - b, less their mean.
    n_exposed : (n_trials,) float64
        Bars with a position; NaN where returns are all that is known, as all of the engine that follow.
    traded : (n_trials,) float64
        Sum over fills of their value over the equity before them [1].
    costs : (n_trials,) float64
        Sum of costs paid [quote].
    n_trades, n_wins, n_losses : (n_trials,) float64
        Closed trades, and those of them that won and lost.
    won, lost, net_profit : (n_trials,) float64
        Sums of the net profits of won, of lost (negative) and of all closed trades [quote].
    bars_held, longest : (n_trials,) float64
        Sum of the bars of closed trades, and the longest [bars].
    risk_free : (n_trials,) float64
        Rate of a bar [1].
    periods_per_year : (n_trials,) float64
        Bars in a year [1].
    """

    n: Float64Array1D
    mean: Float64Array1D
    m2: Float64Array1D
    m3: Float64Array1D
    m4: Float64Array1D
    lowest: Float64Array1D
    highest: Float64Array1D
    downside: Float64Array1D
    drawdown: Float64Array1D
    growth: Float64Array1D
    benchmark_mean: Float64Array1D
    benchmark_m2: Float64Array1D
    cross: Float64Array1D
    active_m2: Float64Array1D
    n_exposed: Float64Array1D
    traded: Float64Array1D
    costs: Float64Array1D
    n_trades: Float64Array1D
    n_wins: Float64Array1D
    n_losses: Float64Array1D
    won: Float64Array1D
    lost: Float64Array1D
    net_profit: Float64Array1D
    bars_held: Float64Array1D
    longest: Float64Array1D
    risk_free: Float64Array1D
    periods_per_year: Float64Array1D

    @cached_property
    def varies(self) -> BoolArray1D:
        """Whether r has a variance (n_trials,); never of a single bar."""
        spread = self.m2 > self.n * self.mean * self.mean * NO_SPREAD
        return (self.n > 1.0) & (self.highest - self.lowest > NO_VARIANCE) & spread

    @cached_property
    def deviation(self) -> Float64Array1D:
        """std(r, ddof=1) (n_trials,) [1], to be read where `varies` holds."""
        return np.sqrt(self.m2 / (self.n - 1.0))

    @cached_property
    def root(self) -> Float64Array1D:
        """sqrt(periods_per_year) (n_trials,), which annualises a ratio or a deviation."""
        return np.sqrt(self.periods_per_year)


@np.errstate(all="ignore")
def sums_of_returns(
    returns: Float64Array1D, benchmark: Float64Array1D, risk_free: Float64Array1D, periods_per_year: Float64Array1D
) -> Sums:
    """Return the sums of one trial (1,) from its returns and a benchmark's (n,) [1]; NaN what only the engine knows."""
    n = np.full(1, float(len(returns)))
    mean, benchmark_mean = _total(returns) / n, _total(benchmark) / n
    r, b = returns - mean, benchmark - benchmark_mean
    square = r * r
    equity = np.cumprod(1.0 + returns, dtype=np.float64)
    peak = np.maximum(np.maximum.accumulate(equity), 1.0)
    unknown = np.full(1, math.nan)
    return Sums(
        n=n,
        mean=mean,
        m2=_total(square),
        m3=_total(square * r),
        m4=_total(square * square),
        lowest=returns.min(keepdims=True),
        highest=returns.max(keepdims=True),
        downside=_total(np.square(np.minimum(returns - risk_free, 0.0))),
        drawdown=np.minimum((equity / peak - 1.0).min(keepdims=True), 0.0),
        growth=equity[-1:],
        benchmark_mean=benchmark_mean,
        benchmark_m2=_total(b * b),
        cross=_total(r * b),
        active_m2=_total((r - b) * (r - b)),
        **dict.fromkeys(OF_THE_ENGINE, unknown),
        risk_free=risk_free,
        periods_per_year=periods_per_year,
    )


def _total(values: np.ndarray) -> Float64Array1D:
    """Return the sum (1,) of `values` (n,), added up in their order, as the engine does."""
    return np.cumsum(values, dtype=np.float64)[-1:]
