"""Indicators: each a plain Python function that is the specification, the compiled name one line below it.

All take and return float64 arrays (n_bars,), and bar t is computed from bars up to t only. NaN in the result is
"undefined": before the first full window, and where the input is NaN. Recursive averages start anew after a NaN.
A `window` [bars] is at least 1.
"""

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.volatility import realized_volatility as realized_volatility
from alphapulse.market.volatility import realized_volatility_python as realized_volatility_python
from alphapulse.typing import Float64Array1D

# Veltkamp's constant: splits a double into two halves whose products are exact.
SPLITTER = 134217729.0


def _mean_python(total: float, rest: float, window: int) -> float:
    """Return (total + rest) / window, rounded once, for a whole `window` below 2**26."""
    quotient = total / window
    high = SPLITTER * quotient
    high = high - (high - quotient)
    # high * window and its counterpart are exact, so the remainder of the division is.
    remainder = (total - high * window) - (quotient - high) * window
    return quotient + (remainder + rest) / window


_mean = jit(_mean_python)


def sma_python(values: Float64Array1D, window: int) -> Float64Array1D:
    """Return the simple moving average of `values`, in their unit.

    The running sum carries its rounding error along (Knuth's two-sum), so it does not drift, and in a
    flat stretch the average equals the price exactly. A value that is NaN or infinite undoes the window.
    """
    n_bars = len(values)
    average = np.full(n_bars, np.nan)
    total = 0.0
    rest = 0.0
    n_valid = 0
    for t in range(n_bars):
        value = values[t]
        if not np.isfinite(value):
            total, rest, n_valid = 0.0, 0.0, 0
            continue
        added = total + value
        part = added - total
        rest += (total - (added - part)) + (value - part)
        total = added
        n_valid += 1
        if n_valid > window:
            value = -values[t - window]
            added = total + value
            part = added - total
            rest += (total - (added - part)) + (value - part)
            total = added
        added = total + rest
        rest -= added - total
        total = added
        if n_valid >= window:
            average[t] = _mean(total, rest, window)
    return average


sma = jit(sma_python)


def rsi_python(close: Float64Array1D, window: int) -> Float64Array1D:
    """Return Wilder's relative strength index [0 to 100] of `close` [quote].

    The averages of gains and losses are seeded with the simple mean of the first `window` changes, so the first
    value is at bar `window`. 100 where the average loss is 0, 50 where both averages are.
    """
    n_bars = len(close)
    index = np.full(n_bars, np.nan)
    gain = 0.0
    loss = 0.0
    n_changes = 0
    for t in range(1, n_bars):
        change = close[t] - close[t - 1]
        if np.isnan(change):
            gain, loss, n_changes = 0.0, 0.0, 0
            continue
        rise = change if change > 0.0 else 0.0
        fall = -change if change < 0.0 else 0.0
        n_changes += 1
        if n_changes <= window:
            gain += rise
            loss += fall
            if n_changes < window:
                continue
            gain /= window
            loss /= window
        else:
            gain = (gain * (window - 1) + rise) / window
            loss = (loss * (window - 1) + fall) / window
        if loss == 0.0:
            index[t] = 50.0 if gain == 0.0 else 100.0
        else:
            index[t] = 100.0 * (gain / (gain + loss))
    return index


rsi = jit(rsi_python)


def true_range_python(high: Float64Array1D, low: Float64Array1D, close: Float64Array1D) -> Float64Array1D:
    """Return the true range [quote]: the bar's range, or its distance to the previous close where that is wider.

    The first one, and one after a NaN close, is high - low. NaN where high or low is.
    """
    n_bars = len(close)
    width = np.full(n_bars, np.nan)
    for t in range(n_bars):
        widest = high[t] - low[t]
        if t > 0 and not np.isnan(widest):
            above = abs(high[t] - close[t - 1])
            below = abs(low[t] - close[t - 1])
            if above > widest:
                widest = above
            if below > widest:
                widest = below
        width[t] = widest
    return width


true_range = jit(true_range_python)


def atr_python(high: Float64Array1D, low: Float64Array1D, close: Float64Array1D, window: int) -> Float64Array1D:
    """Return Wilder's average true range [quote], seeded with the simple mean of the first `window` true ranges."""
    width = true_range(high, low, close)
    n_bars = len(close)
    average = np.full(n_bars, np.nan)
    mean = 0.0
    n_valid = 0
    for t in range(n_bars):
        if np.isnan(width[t]):
            mean, n_valid = 0.0, 0
            continue
        n_valid += 1
        if n_valid < window:
            mean += width[t]
        else:
            mean = (mean + width[t]) / window if n_valid == window else (mean * (window - 1) + width[t]) / window
            average[t] = mean
    return average


atr = jit(atr_python)


def rolling_highest_python(values: Float64Array1D, window: int) -> Float64Array1D:
    """Return the highest of the last `window` values, the bar's own included; NaN where one of them is NaN."""
    n_bars = len(values)
    highest = np.full(n_bars, np.nan)
    # Places whose value nothing later in the window exceeds, oldest first.
    candidates = np.empty(n_bars, dtype=np.int64)
    first = 0
    last = -1
    n_valid = 0
    for t in range(n_bars):
        if np.isnan(values[t]):
            first, last, n_valid = 0, -1, 0
            continue
        n_valid += 1
        while last >= first and values[candidates[last]] <= values[t]:
            last -= 1
        last += 1
        candidates[last] = t
        if candidates[first] <= t - window:
            first += 1
        if n_valid >= window:
            highest[t] = values[candidates[first]]
    return highest


rolling_highest = jit(rolling_highest_python)


def rolling_lowest_python(values: Float64Array1D, window: int) -> Float64Array1D:
    """Return the lowest of the last `window` values, the bar's own included; NaN where one of them is NaN."""
    return -rolling_highest(-values, window)


rolling_lowest = jit(rolling_lowest_python)
