"""Strategies that look at the past only; each must pass."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from alphapulse.strategies.base import Bars, Strategy
from alphapulse.strategies.indicators import rsi, sma


def rolling_mean(close, window=20):
    return np.where(close > pd.Series(close).rolling(window).mean().to_numpy(), 1.0, -1.0)


def exponential(close, fast=12, slow=26):
    series = pd.Series(close)
    return np.where(series.ewm(span=fast).mean() > series.ewm(span=slow).mean(), 1.0, 0.0)


def expanding_z_score(close):
    series = pd.Series(close)
    return ((series.expanding().mean() - series) / series.expanding().std()).clip(-1, 1).fillna(0.0).to_numpy()


def cumulative(close, volume):
    flow = np.cumsum(np.sign(np.diff(close, prepend=close[:1])) * volume)
    return np.where(flow > 0, 1.0, -1.0)


def windows(close, n=30):
    """Refuses short data, and says nowhere how much it needs."""
    views = np.lib.stride_tricks.sliding_window_view(close, n)
    return np.concatenate([np.zeros(n - 1), np.where(close[n - 1 :] > views.mean(axis=1), 1.0, 0.0)])


def first_bar_of_month(bars):
    month = bars.timestamp.view("datetime64[ns]").astype("datetime64[M]")
    return np.append(False, month[1:] != month[:-1]).astype(float)


def mondays(timestamp):
    return ((timestamp // 86_400_000_000_000 + 3) % 7 == 0).astype(float)


def nervous(volatility, threshold=25.0):
    return np.where(volatility > threshold, 0.5, 1.0)


def seeded(close, seed: int = 1):
    return np.random.default_rng(seed).uniform(-1, 1, 20_000)[: len(close)]


def last_month(bars):
    close = pd.Series(bars.close, index=pd.to_datetime(bars.timestamp, utc=True).tz_localize(None))
    monthly = close.resample("MS").last().shift(1).reindex(close.index, method="ffill")
    return np.where(bars.close > monthly.to_numpy(), 1.0, 0.0)


@njit
def compiled(close, window=10, size=0.5):
    target = np.zeros(len(close))
    for t in range(window, len(close)):
        target[t] = size if close[t] > close[t - window] else -size
    return target


@dataclass(frozen=True)
class Mixed(Strategy):
    window: int = 20
    rsi_window: int = 14

    def target(self, bars: Bars):
        return np.where(bars.close > self.indicators(bars)["average"], 1.0, 0.0)

    def indicators(self, bars: Bars):
        return {
            "average": bars.indicator(sma, "close", self.window),
            "strength": bars.indicator(rsi, "close", self.rsi_window),
        }


class Plain:
    def __init__(self, window: int = 10):
        self.window = window

    def target(self, bars):
        return np.where(bars.close > pd.Series(bars.close).shift(self.window).to_numpy(), 1.0, 0.0)
