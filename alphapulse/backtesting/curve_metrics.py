"""Metrics that need the whole curve or the trades: of the chosen trial, of a backtest, and of what is asked for.

A sweep computes none of them for every trial, see `metrics` for those. What is undefined is NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from alphapulse.backtesting.metrics import Unit
from alphapulse.backtesting.trades import Trade
from alphapulse.typing import Float64Array1D, Int64Array1D

TAIL = 0.05
"""Part of the returns that are a tail [1]."""


def _drawdowns(returns: Float64Array1D) -> Float64Array1D:
    """Return equity over its highest so far, less 1 (n,); the base is included."""
    equity = np.cumprod(1.0 + returns)
    drawdowns: Float64Array1D = equity / np.maximum(np.maximum.accumulate(equity), 1.0) - 1.0
    return drawdowns


def ulcer_index(returns: Float64Array1D) -> float:
    """sqrt(mean(drawdown^2)) over closes, the base of the drawdowns included [1]."""
    return float(np.sqrt(np.mean(np.square(_drawdowns(returns)))))


def longest_drawdown(returns: Float64Array1D) -> float:
    """Most bars in a row at whose closes equity was below its highest so far [bars]."""
    under = _drawdowns(returns) < -1e-12
    ends = np.flatnonzero(np.r_[~under, True])
    return float(np.max(np.diff(ends, prepend=-1) - 1))


def tail_ratio(returns: Float64Array1D) -> float:
    """abs(95 % quantile / 5 % quantile) of the returns, quantiles interpolated; NaN where the second is 0."""
    high, low = np.quantile(returns, [1.0 - TAIL, TAIL])
    return float(abs(high / low)) if abs(low) > 1e-12 else math.nan


def cvar_95(returns: Float64Array1D) -> float:
    """Mean of the returns at or below their empirical 5 % quantile [1]."""
    return float(returns[returns <= np.quantile(returns, TAIL)].mean())


CURVE_METRICS: Mapping[str, Callable[[Float64Array1D], float]] = {
    function.__name__: function for function in (ulcer_index, longest_drawdown, tail_ratio, cvar_95)
}


UNITS: Mapping[str, Unit] = {
    "ulcer_index": "fraction",
    "longest_drawdown": "bars",
    "tail_ratio": "ratio",
    "cvar_95": "fraction",
    "monthly_win_rate": "fraction",
    "worst_excursion": "fraction",
    "best_excursion": "fraction",
}
"""The unit of each, in the words of `metrics`."""


def monthly_win_rate(returns: Float64Array1D, timestamp: Int64Array1D) -> float:
    """Months with a gain over months with a gain or a loss, by the start of each bar; NaN without one [1]."""
    month = timestamp.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    starts = np.flatnonzero(np.r_[True, np.diff(month) != 0])
    gains = np.multiply.reduceat(1.0 + returns, starts) - 1.0
    n_moves = np.count_nonzero(np.abs(gains) > 1e-12)
    return float(np.count_nonzero(gains > 1e-12) / n_moves) if n_moves else math.nan


def curve_metrics(returns: Float64Array1D, timestamp: Int64Array1D, trades: Sequence[Trade]) -> dict[str, float]:
    """Return the metrics of one trial that need its curve, by name.

    Parameters
    ----------
    returns : (n,) float64
        Simple returns of each bar [1].
    timestamp : (n,) int64
        Start of each bar [ns since the epoch, UTC].
    trades : sequence of Trade
        Its round trips; of the closed ones the mean worst and best excursions are given.
    """
    values = {name: function(returns) for name, function in CURVE_METRICS.items()}
    values["monthly_win_rate"] = monthly_win_rate(returns, timestamp)
    closed = [trade for trade in trades if trade.cause >= 0.0]
    for name in ("worst", "best"):
        moves = [getattr(trade, name) for trade in closed]
        values[f"{name}_excursion"] = float(np.mean(moves)) if moves else math.nan
    return values
