"""The metrics of a trial: one table, which names, columns, directions, formats and the mirror to Optuna follow.

A metric is one entry: a documented formula over the `Sums` that a pass over the bars of a trial leaves behind, under a
`@metric(...)` that says its unit, which way it is better and what QuantStats calls it. Formulas are numpy's IEEE
operations on one number a trial; a power is taken by `numerics`, so that no bit depends on the processor.

Returns are simple returns of each bar; the equity just before the first bar is the base. What is undefined (no
variance, no loss, no trade) is NaN, never 0 and never infinite. Returns have no variance if the largest and the
smallest differ by at most 1e-12, or their deviation is at most a millionth of their mean. Where QuantStats 0.0.86 has a
metric, the two agree on the same returns, apart from what the docstring of the metric says.

To add a metric:

1. Write its entry below the last one, with `since=DEFINITIONS`; the docstring of its formula is the definition. The
   first change of a release raises `DEFINITIONS` by one: studies made before are reported, and replayed but for the
   metrics they do not have, and never continued.
2. Write its test in `tests/backtesting/test_metrics.py`. The tests that walk the table check the entry, the column,
   and that the expression of QuantStats gives the same value.
3. Write the migration: `alphapulse.study.metric_columns.add_metric("name")`.

A metric of a sum that is not there yet takes a field of `Sums` as well, filled by `kernel.totals.sums_of_states` and,
if returns decide it, by `sums_of_returns`. A metric whose formula changes gets `since=DEFINITIONS` too.
"""

import inspect
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from alphapulse.backtesting.sums import NO_SPREAD, NO_VARIANCE, Sums, sums_of_returns
from alphapulse.numerics import power_array
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D

DEFINITIONS = 2
"""The number of the rules by which engine and metrics compute; a study keeps the one that it was made with."""

NORMAL_5_PERCENT = -1.6448536269514722
"""The 5 % quantile of the standard normal distribution."""

Unit = Literal["ratio", "fraction", "count", "bars", "quote"]
Direction = Literal["maximize", "minimize"]
Needs = Literal["returns", "benchmark", "engine"]
Formula = Callable[[Sums], Float64Array1D]


@dataclass(frozen=True)
class Metric:
    """One metric, and all that is asked of it.

    Attributes
    ----------
    name : str
        Of the metric, of its column in `trial`, and as an objective.
    formula : callable
        From `Sums` to the values (n_trials,) [unit], NaN or infinite where undefined; its docstring is the definition.
    unit : {"ratio", "fraction", "count", "bars", "quote"}
        A plain number [1]; a part of equity or of bars [1], shown in percent; a whole number; [bars]; money [quote].
    direction : {"maximize", "minimize"} or None
        Which way it is better; None where neither way is, and an objective is maximised unless `direction` is given.
    needs : {"returns", "benchmark", "engine"}
        What it takes: the returns of the trial, those of a benchmark as well, or what only the engine knows.
    quantstats : str or None
        The same as an expression of the functions of `quantstats.stats`, the returns r, the benchmark's b and the
        annual risk-free rate rf; None where QuantStats has no such metric.
    since : int
        The number of the definitions that it came with, or that last changed it.
    """

    name: str
    formula: Formula
    unit: Unit
    direction: Direction | None
    needs: Needs
    quantstats: str | None
    since: int


_entries: list[Metric] = []


def metric(
    unit: Unit,
    direction: Direction | None,
    *,
    needs: Needs = "returns",
    quantstats: str | None = None,
    since: int = 1,
) -> Callable[[Formula], Formula]:
    """Make a formula the next entry of the table, by its own name."""

    def enter(formula: Formula) -> Formula:
        _entries.append(Metric(formula.__name__, formula, unit, direction, needs, quantstats, since))
        return formula

    return enter


def _where(condition: BoolArray1D, values: Float64Array1D) -> Float64Array1D:
    """Return `values` where `condition` holds, else NaN."""
    return np.where(condition, values, math.nan)


@metric("ratio", "maximize", quantstats="sharpe(r, rf=rf)", since=2)
def sharpe_ratio(s: Sums) -> Float64Array1D:
    """mean(r - rf) / std(r, ddof=1) * sqrt(periods_per_year).

    NaN without variance, where QuantStats divides by what rounding leaves of it.
    """
    return _where(s.varies, (s.mean - s.risk_free) / s.deviation * s.root)


@metric("ratio", "maximize", quantstats="sortino(r, rf=rf)", since=2)
def sortino_ratio(s: Sums) -> Float64Array1D:
    """mean(r - rf) / sqrt(sum(min(r - rf, 0)^2) / n) * sqrt(periods_per_year); NaN if no return is below rf."""
    downside = np.sqrt(s.downside / s.n)
    return _where(downside > NO_VARIANCE, (s.mean - s.risk_free) / downside * s.root)


@metric("ratio", "maximize", quantstats="calmar(r)")
def calmar_ratio(s: Sums) -> Float64Array1D:
    """Quotient cagr / abs(max_drawdown); NaN without a drawdown (QuantStats: infinite)."""
    return _where(s.drawdown < -NO_VARIANCE, cagr(s) / np.abs(s.drawdown))


@metric("fraction", "maximize", quantstats="cagr(r)")
def cagr(s: Sums) -> Float64Array1D:
    """(last equity / base)^(periods_per_year / n) - 1, the compound growth of a year."""
    return power_array(s.growth, s.periods_per_year / s.n) - 1.0


@metric("fraction", "maximize", quantstats="comp(r)")
def total_return(s: Sums) -> Float64Array1D:
    """Last equity / base - 1."""
    return s.growth - 1.0


@metric("fraction", "minimize", quantstats="volatility(r)")
def volatility(s: Sums) -> Float64Array1D:
    """std(r, ddof=1) * sqrt(periods_per_year); 0 without variance, NaN of a single bar."""
    return _where(s.n > 1.0, np.where(s.varies, s.deviation * s.root, 0.0))


@metric("fraction", "maximize", quantstats="max_drawdown(r)")
def max_drawdown(s: Sums) -> Float64Array1D:
    """min(equity / highest equity so far - 1) over closes, the base included; at most 0."""
    return s.drawdown


@metric("ratio", "maximize", quantstats="skew(r)")
def skewness(s: Sums) -> Float64Array1D:
    """sqrt(n - 1) * n / (n - 2) * m3 / m2^1.5, where mk is sum((r - mean(r))^k).

    NaN without variance (QuantStats: 0) or below three bars.
    """
    values = s.n * np.sqrt(s.n - 1.0) / (s.n - 2.0) * s.m3 / (s.m2 * np.sqrt(s.m2))
    return _where(s.varies & (s.n > 2.0), values)


@metric("ratio", "minimize", quantstats="kurtosis(r) + 3")
def kurtosis(s: Sums) -> Float64Array1D:
    """(n - 1) / ((n - 2) * (n - 3)) * (n * (n + 1) * m4 / m2^2 - 3 * (n - 1)) + 3, where mk is sum((r - mean(r))^k).

    Not in excess of the normal's 3, as QuantStats has it. NaN without variance (QuantStats: 0) or below four bars.
    """
    scale = (s.n - 1.0) / ((s.n - 2.0) * (s.n - 3.0))
    values = scale * (s.n * (s.n + 1.0) * s.m4 / (s.m2 * s.m2) - 3.0 * (s.n - 1.0)) + 3.0
    return _where(s.varies & (s.n > 3.0), values)


@metric("fraction", "maximize", quantstats="value_at_risk(r)")
def value_at_risk_95(s: Sums) -> Float64Array1D:
    """mean(r) - 1.6449 * std(r, ddof=1), the 5 % quantile of a normal distribution; NaN without variance."""
    return _where(s.varies, s.mean + NORMAL_5_PERCENT * s.deviation)


@metric("count", None, needs="engine", since=2)
def n_trades(s: Sums) -> Float64Array1D:
    """Number of closed trades, round trips from flat or a flip to flat or a flip. QuantStats sees no trades."""
    return s.n_trades


@metric("fraction", "maximize", needs="engine", since=2)
def win_rate(s: Sums) -> Float64Array1D:
    """Closed trades with a profit net of all costs over closed trades; NaN without one (QuantStats: of returns)."""
    return _where(s.n_trades > 0.0, s.n_wins / s.n_trades)


@metric("ratio", "maximize", needs="engine", since=2)
def profit_factor(s: Sums) -> Float64Array1D:
    """Sum of the profits of closed trades over the sum of their losses; NaN without a loss (QuantStats: of returns)."""
    return _where(s.n_losses > 0.0, s.won / -s.lost)


@metric("fraction", None, needs="engine")
def exposure(s: Sums) -> Float64Array1D:
    """Bars in which a position stood at any moment, over n. QuantStats counts bars with a return, up to a percent."""
    return s.n_exposed / s.n


@metric("ratio", "minimize", needs="engine")
def turnover(s: Sums) -> Float64Array1D:
    """Sum over orders and stops of abs(value) / equity before them, * periods_per_year / n.

    QuantStats sees no fills.
    """
    return s.traded * s.periods_per_year / s.n


@metric("quote", "minimize", needs="engine")
def costs_paid(s: Sums) -> Float64Array1D:
    """Sum of the costs of all fills [quote]. QuantStats sees no fills."""
    return s.costs


@metric("fraction", "maximize", needs="benchmark", quantstats="greeks(r - rate, b - rate)['alpha']", since=2)
def alpha(s: Sums) -> Float64Array1D:
    """(mean(r - rf) - beta * mean(b - rf)) * periods_per_year; NaN where beta is (QuantStats: 0, and without rf)."""
    return (s.mean - s.risk_free - beta(s) * (s.benchmark_mean - s.risk_free)) * s.periods_per_year


@metric("ratio", None, needs="benchmark", quantstats="greeks(r, b)['beta']")
def beta(s: Sums) -> Float64Array1D:
    """cov(r, b) / var(b); NaN without a variance of b (QuantStats: 0)."""
    square = s.benchmark_mean * s.benchmark_mean
    moves = (s.n > 1.0) & (s.benchmark_m2 > s.n * np.maximum(NO_VARIANCE * NO_VARIANCE, square * NO_SPREAD))
    return _where(moves, s.cross / s.benchmark_m2)


@metric("ratio", "maximize", needs="benchmark", quantstats="information_ratio(r, b)")
def information_ratio(s: Sums) -> Float64Array1D:
    """mean(r - b) / std(r - b, ddof=1), of a bar; NaN without a variance of r - b (QuantStats: 0)."""
    ahead = s.mean - s.benchmark_mean
    active = np.sqrt(s.active_m2 / (s.n - 1.0))
    parts = (s.n > 1.0) & (active > NO_VARIANCE) & (active * active > ahead * ahead * NO_SPREAD)
    return _where(parts, ahead / active)


@metric("ratio", "maximize", needs="engine", since=2)
def payoff(s: Sums) -> Float64Array1D:
    """Mean profit of winning trades over mean loss of losing ones; NaN without both (QuantStats: of returns)."""
    return _where((s.n_wins > 0.0) & (s.n_losses > 0.0), s.won / s.n_wins / (-s.lost / s.n_losses))


@metric("quote", "maximize", needs="engine", since=2)
def expectancy(s: Sums) -> Float64Array1D:
    """Mean net profit of closed trades [quote]; NaN without one. QuantStats sees no trades."""
    return _where(s.n_trades > 0.0, s.net_profit / s.n_trades)


@metric("bars", None, needs="engine", since=2)
def average_trade(s: Sums) -> Float64Array1D:
    """Mean of exit bar minus entry bar of closed trades [bars]; NaN without one. QuantStats sees no trades."""
    return _where(s.n_trades > 0.0, s.bars_held / s.n_trades)


@metric("bars", None, needs="engine", since=2)
def longest_trade(s: Sums) -> Float64Array1D:
    """Largest exit bar minus entry bar of closed trades [bars]; NaN without one. QuantStats sees no trades."""
    return _where(s.n_trades > 0.0, s.longest)


TABLE: Mapping[str, Metric] = MappingProxyType({entry.name: entry for entry in _entries})
"""Every metric by its name, in the order of all arrays of metrics and of the columns of `trial`."""

METRICS = tuple(TABLE)
"""The names of the metrics, in that order."""

N_METRICS = len(METRICS)


# What is undefined divides by 0 on its way to NaN.
@np.errstate(all="ignore")
def metrics_of_sums(sums: Sums) -> Float64Array2D:
    """Return the metrics (n_trials, n_metrics) of a batch, in the order of `METRICS`; NaN where undefined."""
    values = np.array([entry.formula(sums) for entry in TABLE.values()])
    values[np.isinf(values)] = math.nan
    return values.T


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
        Returns of the benchmark on the same bars [1]; without it the metrics that need one are NaN.
    risk_free_rate : float
        Annual [1]; a bar has 1/periods_per_year of it, as cash is paid, where QuantStats compounds.
    periods_per_year : float
        Bars in a year [1].

    Returns
    -------
    dict of str to float
        Every metric but those that need the engine. NaN where undefined, and everywhere if a return is NaN.

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
    periods = np.full(1, float(periods_per_year))
    values = np.full(N_METRICS, math.nan)
    if len(r) > 0 and not np.isnan(r).any():
        values = metrics_of_sums(sums_of_returns(r, b, float(risk_free_rate) / periods, periods))[0]
    return {name: value for name, value in zip(METRICS, values.tolist(), strict=True) if TABLE[name].needs != "engine"}


def describe_metrics() -> str:
    """Return the definitions of all metrics as text: name, unit, the better side, and the formula in words."""
    return "\n\n".join(
        f"{entry.name} [{entry.unit}, {entry.direction or 'no better side'}]\n"
        + textwrap.indent(inspect.cleandoc(entry.formula.__doc__ or ""), "    ")
        for entry in TABLE.values()
    )


if __name__ == "__main__":
    print(describe_metrics())
