"""Strategies that see the future, remember, or cheat; each must be stopped."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numba import njit

from alphapulse.strategies.base import Strategy


def frame(bars):
    index = pd.DatetimeIndex(pd.to_datetime(bars.timestamp, utc=True))
    return pd.DataFrame({"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}, index=index)


def mean(close, window):
    return pd.Series(close).rolling(window).mean().to_numpy()


def shift(close):
    return np.sign(pd.Series(close).pct_change().shift(-1).fillna(0.0).to_numpy())


def shift_five(close):
    return np.sign(pd.Series(close).shift(-5).ffill().to_numpy() - close)


def roll(close, window=20):
    return np.where(np.roll(close, -1) > mean(close, window), 1.0, -1.0)


def full_sample_z_score(close):
    return np.clip(-(close - close.mean()) / close.std(), -1, 1)


def full_sample_quantile(close, volatility):
    return np.where(volatility > np.nanquantile(volatility, 0.8), 0.0, 1.0)


def maximum_of_all(close):
    return close / close.max()


def minimum_of_all(close):
    return np.where(close > 1.5 * close.min(), 1.0, 0.0)


def centred_window(close, window=21):
    return np.where(close > pd.Series(close).rolling(window, center=True).mean().ffill().to_numpy(), 1.0, -1.0)


def symmetric_filter(close):
    smooth = np.convolve(close, np.ones(5) / 5, mode="same")
    return np.where(close > smooth, 1.0, -1.0)


def backfilled_warm_up(close, window=50):
    return np.where(close > pd.Series(close).rolling(window).mean().bfill().to_numpy(), 1.0, -1.0)


def filled_with_mean(close, window=50):
    average = mean(close, window)
    return np.where(close > np.where(np.isnan(average), np.nanmean(average), average), 1.0, -1.0)


def interpolated(close):
    sparse = pd.Series(close).where(np.arange(len(close)) % 10 == 0)
    return np.where(close > sparse.interpolate().to_numpy(), 1.0, 0.0)


def group_last(bars):
    close = frame(bars)["close"]
    last = close.groupby([close.index.year, close.index.month]).transform("last")
    return np.where(last.to_numpy() > bars.close, 1.0, -1.0)


def weekly_resample(bars):
    close = frame(bars)["close"]
    weekly = close.resample("W-FRI", label="left").last().reindex(close.index, method="ffill")
    return np.where(weekly.to_numpy() > bars.close, 1.0, -1.0)


def known_extrema(high, low):
    n = len(high)
    target = np.zeros(n)
    for t in range(2, n - 2):
        if low[t] == low[t - 2 : t + 3].min():
            target[t] = 1.0
    return target


def avoids_crashes(close, window=20):
    target = np.where(close > mean(close, window), 1.0, 0.0)
    ahead = np.append(close[1:] / close[:-1] - 1, 0.0)
    target[ahead < -0.04] = 0.0
    return target


def one_date(bars, window=40):
    target = np.where(bars.close > mean(bars.close, window), 1.0, 0.0)
    moves = np.abs(np.diff(bars.close)) / bars.close[:-1]
    day = int(np.flatnonzero(bars.timestamp == np.datetime64("2005-03-14", "ns").astype(np.int64))[0:1].sum())
    if 0 < day < len(target) - 1:
        target[day] = -1.0 if bars.close[day + 1] < bars.close[day] else 0.5
    return np.where(moves.size >= 0, target, target)


def last_bar_of_month(bars):
    month = bars.timestamp.view("datetime64[ns]").astype("datetime64[M]")
    return np.append(month[1:] != month[:-1], False).astype(float)


def before_a_gap_in_time(bars):
    return np.append(np.diff(bars.timestamp) > 2 * 86_400 * 10**9, False).astype(float)


def length(close):
    return np.arange(len(close)) / len(close)


def last_tenth(close):
    return np.where(np.arange(len(close)) > 0.9 * len(close), 0.0, 1.0)


def tomorrows_volatility(bars):
    return np.where(np.append(bars.volatility[1:], np.nan) > 25, 0.0, 1.0)


def tomorrows_open(open, close):
    return np.append(np.sign(open[1:] - close[:-1]), 0.0)


def tomorrows_volume(volume):
    return np.append(volume[1:] > volume[:-1], False).astype(float)


def another_symbol(bars):
    other = bars.others["OTHER"]
    return np.append(np.sign(other[1:] - other[:-1]), 0.0)


def another_symbols_high(bars):
    high = bars.of("OTHER").high
    return np.append(np.sign(high[1:] - high[:-1]), 0.0)


def detrended(close):
    t = np.arange(len(close), dtype=float)
    slope, level = np.polyfit(t, np.log(close), 1)
    return np.where(np.log(close) < level + slope * t, 1.0, -1.0)


def low_bits(close):
    """The future hides below the rounding of the past."""
    return np.where(close > 0, 0.5, 0.0) * (1.0 + 1e-14 * np.sign(close[-1] - close[0]))


def spectrum(close):
    waves = np.fft.rfft(np.log(close))
    waves[20:] = 0
    return np.where(np.log(close) < np.fft.irfft(waves, len(close)), 1.0, -1.0)


def only_for_long_windows(close, window=20):
    target = np.where(close > mean(close, window), 1.0, -1.0)
    return np.where(np.append(close[1:], close[-1]) > close, 1.0, target) if window > 100 else target


@njit
def compiled(close, window=10):
    target = np.zeros(len(close))
    for t in range(window, len(close) - 1):
        target[t] = 1.0 if close[t + 1] > close[t - window] else -1.0
    return target


@dataclass(frozen=True)
class IndicatorOnly(Strategy):
    """The target hides what the indicator sees."""

    window: int = 20

    def target(self, bars):
        return np.where(self.indicators(bars)["rank"] >= 0, 1.0, 1.0)

    def indicators(self, bars):
        return {"average": mean(bars.close, self.window), "rank": pd.Series(bars.close).rank(pct=True).to_numpy()}


@dataclass(frozen=True)
class PeekingStop(Strategy):
    def target(self, bars):
        return np.ones(len(bars))

    def atr(self, bars):
        return np.full(len(bars), np.mean(bars.high - bars.low))


@dataclass(frozen=True)
class PeekingBatch(Strategy):
    """Honest in `target`; the batch path of a sweep is not."""

    window: int = 20

    def target(self, bars):
        return np.where(bars.close > mean(bars.close, self.window), 1.0, 0.0)

    @classmethod
    def block(cls, bars, columns, cache):
        return _Block(bars, len(columns["window"]))


class _Block:
    def __init__(self, bars, n_trials):
        self.failures = {}
        self.atr = np.full((1, len(bars)), np.nan)
        self.atr_row = np.zeros(n_trials, dtype=np.int64)
        self.order = np.arange(n_trials)
        self.ahead = np.append(np.sign(np.diff(bars.close)), 0.0)

    def fill(self, start, stop, trials, out):
        out[:] = self.ahead[start:stop]


_highest = {}


def remembers_the_first_bars(close):
    top = _highest.setdefault("top", close.max())
    return close / top


_by_length = {}


def remembers_by_length(close):
    top = _by_length.setdefault(len(close), close.max())
    return close / top


_last = [0.0]


def remembers_the_last_bars(close):
    before, _last[0] = _last[0], close[-1]
    return np.full(len(close), np.sign(before - close[0]))


@lru_cache
def _counter(_):
    return []


def counts_its_calls(close):
    calls = _counter(0)
    calls.append(1)
    return np.full(len(close), 1.0 / len(calls))


def random(close):
    return np.random.default_rng().uniform(-1, 1, len(close))


class Remembers:
    """Memory on the class."""

    seen = None

    def target(self, bars):
        if Remembers.seen is None:
            Remembers.seen = float(bars.close.mean())
        return np.where(bars.close > Remembers.seen, 1.0, -1.0)


def writes(close):
    close[:-1] = close[1:]
    return np.sign(np.diff(close, prepend=close[:1]))


def forces_writes(bars):
    close = bars.close
    base = close
    while base.base is not None:
        base = base.base
    base.flags.writeable = True
    close.flags.writeable = True
    close[-1] = 1.0
    return np.ones(len(close))


def fills_backwards(bars):
    """Sees the future of a hole in the data only."""
    known = pd.Series(bars.volatility).bfill().to_numpy()
    return np.where(known > 25, 0.0, 1.0)


def once_a_month(bars):
    """Knows tomorrow on every twentieth bar."""
    target = np.where(bars.close > mean(bars.close, 100), 1.0, 0.0)
    ahead = np.append(bars.close[1:] < bars.close[:-1], False)
    rare = np.arange(len(bars)) % 20 == 7
    target[rare & ahead] = 0.0
    return target


def in_long_histories(close):
    return close / close.max() if len(close) > 1_200 else np.ones(len(close))


def in_the_middle(bars):
    """Knows tomorrow for some days of a long history."""
    target = np.where(bars.close > mean(bars.close, 100), 1.0, 0.0)
    hour = bars.timestamp // 3_600_000_000_000
    ahead = np.append(bars.close[1:] > bars.close[:-1], False)
    return np.where((hour > 14_000) & (hour < 14_200), ahead, target)
