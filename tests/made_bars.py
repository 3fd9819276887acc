"""Made bars of New York's sessions, with the faults that published ones have.

The prices are seeded random walks and nobody's data. Each function returns a DataFrame with the columns of
`OHLCVRecord`: timestamp (start, UTC), symbol, timeframe, open, high, low, close [quote], volume [shares], NaN where
there is none. The constants say how many bars have a fault and when, so that a test can ask for the very number. The
frames are made once and shared: a test that changes one works on a copy.
"""

from functools import lru_cache

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.models import COLUMNS, PRICES

FIRST, LAST = "1990-01-02", "2022-12-30"
HOURLY_FIRST = "2017-01-03"


def _moment(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@lru_cache
def _calendar():
    from exchange_calendars import get_calendar

    return get_calendar("XNYS", start=FIRST, end=LAST)


def sessions(start: str = FIRST, end: str = LAST) -> pd.DatetimeIndex:
    """Return the dates in [start, end] on which New York trades, at 00:00Z."""
    dates = _calendar().sessions.tz_localize("UTC")
    return dates[(dates >= _moment(start)) & (dates <= _moment(end))]


def random_walk(rng: np.random.Generator, n_bars: int, volatility: float, first: float) -> np.ndarray:
    """Return closes [quote] whose log returns have about this volatility a bar [1]."""
    return first * np.exp(np.cumsum(volatility / np.sqrt(2.0) * rng.standard_t(4, n_bars)))


def reverting_walk(rng: np.random.Generator, n_bars: int, volatility: float, mean: float) -> np.ndarray:
    """Return closes [quote] that are drawn back to `mean`, by 2 % of the distance a bar."""
    logs = np.zeros(n_bars)
    for place, shock in enumerate(rng.normal(0.0, volatility, n_bars)):
        logs[place] = 0.98 * logs[place - 1] + shock
    return mean * np.exp(logs)


def bars_around(rng: np.random.Generator, stamps: pd.DatetimeIndex, close: np.ndarray, volatility: float):
    """Return sound bars with these closes, rounded to cents: timestamp, open, high, low, close, volume."""
    n_bars = len(stamps)
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0.0, volatility / 4, n_bars))
    high = np.maximum(open_, close) * (1 + rng.uniform(0.0, volatility, n_bars))
    low = np.minimum(open_, close) * (1 - rng.uniform(0.0, volatility, n_bars))
    prices = dict(zip(PRICES, (open_, high, low, close), strict=True))
    rounded = {name: np.round(values, 2) for name, values in prices.items()}
    volume = rng.integers(1_000_000, 9_000_000, n_bars).astype(float)
    return pd.DataFrame({"timestamp": stamps} | rounded | {"volume": volume})


def labelled(rows: pd.DataFrame, symbol: str, timeframe: str) -> pd.DataFrame:
    return rows.assign(symbol=symbol, timeframe=timeframe)[list(COLUMNS)].reset_index(drop=True)


STALE_OPENS = {1990: 0.77, 2000: 0.64, 2010: 0.06, 2020: 0.0}


@lru_cache
def daily_index() -> pd.DataFrame:
    """Return ^GSPC 1d; by decade, `STALE_OPENS` of the opens are the previous close."""
    rng = np.random.default_rng(1)
    days = sessions()
    rows = bars_around(rng, days, random_walk(rng, len(days), 0.01, 350.0), 0.01)
    share = (rows["timestamp"].dt.year // 10 * 10).map(STALE_OPENS)
    stale = (rng.random(len(rows)) < share) & (np.arange(len(rows)) > 0)
    rows["open"] = rows["close"].shift().where(stale, rows["open"])
    rows["high"] = rows[["open", "high"]].max(axis=1)
    rows["low"] = rows[["open", "low"]].min(axis=1)
    return labelled(rows, "^GSPC", "1d")


CLOSES_ONLY_UNTIL = _moment("1992-01-01")
N_OPENS_OUTSIDE, N_WILD_LOWS, N_MISSING_SESSIONS, N_HOLIDAYS = 37, 5, 4, 6


@lru_cache
def daily_volatility() -> pd.DataFrame:
    """Return ^VIX 1d [annual percent], without a volume.

    At first only closes are published. `N_OPENS_OUTSIDE` opens lie outside [low, high], `N_WILD_LOWS` lows were never
    traded, `N_MISSING_SESSIONS` sessions have no bar and `N_HOLIDAYS` days without a session have one.
    """
    rng = np.random.default_rng(2)
    days = sessions()
    holidays = pd.bdate_range(FIRST, LAST, tz="UTC").difference(days)
    missing = rng.choice(np.arange(1_000, len(days) - 1), N_MISSING_SESSIONS, replace=False)
    days = days.delete(missing).union(holidays[-N_HOLIDAYS:])
    rows = bars_around(rng, days, reverting_walk(rng, len(days), 0.05, 19.0), 0.04)
    early = rows["timestamp"] < CLOSES_ONLY_UNTIL
    for name in ("open", "high", "low"):
        rows[name] = rows["close"].where(early, rows[name])
    outside = rng.choice(np.arange(600, 3_000), N_OPENS_OUTSIDE, replace=False)
    below, above = outside[::2], outside[1::2]
    rows.loc[below, "open"] = np.round(rows.loc[below, "low"] * 0.8, 2)
    rows.loc[above, "open"] = np.round(rows.loc[above, "high"] * 1.2, 2)
    wild = rng.choice(np.arange(4_000, len(rows)), N_WILD_LOWS, replace=False)
    rows.loc[wild, "low"] = np.round(rows.loc[wild, "low"] * 0.5, 2)
    return labelled(rows.assign(volume=np.nan), "^VIX", "1d")


def _times(zone: str, start: str, minutes: list[int]) -> pd.DatetimeIndex:
    """Return the moments of every session that are `minutes` after midnight of the zone."""
    midnights = sessions(start).tz_localize(None)
    local = (midnights.to_numpy()[:, None] + np.array(minutes, dtype="timedelta64[m]")).ravel()
    return pd.DatetimeIndex(local).tz_localize(zone).tz_convert("UTC")


CONSTANT_VOLUME, CONSTANT_UNTIL, ZERO_UNTIL = 3600.0, _moment("2020-12-01"), _moment("2021-09-01")


@lru_cache
def hourly_index() -> pd.DataFrame:
    """Return SPX 1h from 09:30 in New York, seven bars a session and four where it closes early.

    The volume is `CONSTANT_VOLUME` until `CONSTANT_UNTIL`, 0 until `ZERO_UNTIL`, a measurement after that.
    """
    rng = np.random.default_rng(3)
    stamps = _times("America/New_York", HOURLY_FIRST, [570 + 60 * hour for hour in range(7)])
    early = _calendar().early_closes.tz_localize("UTC")
    local = stamps.tz_convert("America/New_York")
    stamps = stamps[~(stamps.normalize().isin(early) & (local.hour >= 13))]
    rows = bars_around(rng, stamps, random_walk(rng, len(stamps), 0.004, 2250.0), 0.004)
    rows.loc[rows["timestamp"] < ZERO_UNTIL, "volume"] = 0.0
    rows.loc[rows["timestamp"] < CONSTANT_UNTIL, "volume"] = CONSTANT_VOLUME
    return labelled(rows, "SPX", "1h")


TWO_HOURLY_UNTIL, HOLE, N_REPEATED = _moment("2019-01-01"), ("2020-03-09", "2020-03-13"), 3


@lru_cache
def hourly_volatility() -> pd.DataFrame:
    """Return VIX 1h from 02:10 in Chicago, so that most of its bars are before New York opens, without a volume.

    Bars before `TWO_HOURLY_UNTIL` are two hours long though labelled 1h; the dates of `HOLE` have none. `N_REPEATED`
    bars come twice, the second one corrected.
    """
    rng = np.random.default_rng(4)
    stamps = _times("America/Chicago", HOURLY_FIRST, [130 + 60 * hour for hour in range(14)])
    odd = (stamps.tz_convert("America/Chicago").hour - 2) % 2 == 1
    hole = (stamps.normalize() >= _moment(HOLE[0])) & (stamps.normalize() <= _moment(HOLE[1]))
    stamps = stamps[~hole & ~(odd & (stamps < TWO_HOURLY_UNTIL))]
    rows = bars_around(rng, stamps, reverting_walk(rng, len(stamps), 0.02, 19.0), 0.02).assign(volume=np.nan)
    places = rng.choice(np.arange(1_000, len(rows)), N_REPEATED, replace=False)
    wrong = rows.loc[places].assign(high=rows.loc[places, "high"] + 1.0)
    rows = pd.concat([wrong, rows]).sort_values("timestamp", kind="stable")
    return labelled(rows, "VIX", "1h")


SPLIT, DIVIDEND = (_moment("2020-06-01"), 4), 0.5
"""The fund's split, four new shares for one, and its dividend of each quarter [quote]."""


@lru_cache
def fund() -> pd.DataFrame:
    """Return SPY 1d of 2015 to 2022, adjusted for its split, not for dividends."""
    rng = np.random.default_rng(5)
    days = sessions("2015-01-02")
    return labelled(bars_around(rng, days, random_walk(rng, len(days), 0.01, 200.0), 0.01), "SPY", "1d")


@lru_cache
def fund_dividends() -> pd.Series:
    """Return the dividends of `fund` [quote] by ex-date, the first session of March, June, September and December."""
    days = fund()["timestamp"]
    first = days.groupby([days.dt.year, days.dt.month]).min()
    return pd.Series(DIVIDEND, index=pd.DatetimeIndex(first[first.dt.month % 3 == 0]))
