"""From signals to target allocations, one trial or a tile of many."""

from typing import TypeAlias

from alphapulse.compiling import jit
from alphapulse.strategies.long_short.risk_manager import volatility_scale
from alphapulse.strategies.long_short.signal_generator import signal
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

Rows: TypeAlias = tuple[Float64Array2D, Int64Array1D]
"""One indicator of many trials: a row (n_rows, n_all_bars) a distinct window, and the row of each trial (n_trials,)."""

# Columns of the settings array.
SETTINGS = (
    "rsi_overbought",
    "rsi_oversold",
    "volatility_threshold",
    "high_volatility_scale",
    "trend_weight",
    "reversion_weight",
    "long_threshold",
    "short_threshold",
)


def position_python(signal: float, long_threshold: float, short_threshold: float) -> float:
    """Return the target allocation [1]: the signal where it is beyond a threshold, else 0."""
    return signal if (signal > long_threshold) | (signal < short_threshold) else 0.0


position = jit(position_python)


def fill_targets_python(
    close: Float64Array1D,
    averages: Rows,
    strengths: Rows,
    volatilities: Rows,
    settings: Float64Array2D,
    trials: Int64Array1D,
    start: int,
    out: Float64Array2D,
) -> None:
    """Write the targets of bars [start, start + n_bars) to `out` [1].

    Parameters
    ----------
    close : (n_all_bars,) float64
        Closes [quote].
    averages, strengths, volatilities : Rows
        Moving averages [quote], RSI [0 to 100] and volatilities [percent]. A trial whose row of `averages` is negative
        has failed, and its targets are 0.
    settings : (n_trials, 8) float64
        They stand in the order of `SETTINGS`.
    trials : (k,) int64
        Trials to fill in; neighbours that share a row find it in the processor's cache.
    start : int
        First bar.
    out : (k, n_bars) float64
        It receives the targets [1].
    """
    n_bars = out.shape[1]
    now = close[start : start + n_bars]
    average_rows, average_row = averages
    strength_rows, strength_row = strengths
    volatility_rows, volatility_row = volatilities
    for place in range(trials.shape[0]):
        trial = trials[place]
        target = out[place]
        if average_row[trial] < 0:
            target[:] = 0.0
            continue
        average = average_rows[average_row[trial]][start : start + n_bars]
        strength = strength_rows[strength_row[trial]][start : start + n_bars]
        volatility = volatility_rows[volatility_row[trial]][start : start + n_bars]
        overbought = settings[trial, 0]
        oversold = settings[trial, 1]
        threshold = settings[trial, 2]
        high_scale = settings[trial, 3]
        trend_weight = settings[trial, 4]
        reversion_weight = settings[trial, 5]
        long_threshold = settings[trial, 6]
        short_threshold = settings[trial, 7]
        for t in range(n_bars):
            mixed = signal(now[t], average[t], strength[t], trend_weight, reversion_weight, overbought, oversold)
            scaled = mixed * volatility_scale(volatility[t], threshold, high_scale)
            target[t] = position(scaled, long_threshold, short_threshold)


fill_targets = jit(fill_targets_python)
