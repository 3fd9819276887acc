"""What the calendar says of bars: the blocks of their moments, weeks, months, and how many make a year."""

import math

import numpy as np

from alphapulse.market.joining import bar_end
from alphapulse.market.timeframes import DAY, HOUR, parse_timeframe, timeframe_length
from alphapulse.typing import BoolArray1D, Int64Array1D

FEWEST_BLOCKS, MOST_BLOCKS = 120, 512
UNITS = ("day", "week", "month")
# The epoch was a Thursday; ISO weeks start on Mondays.
THURSDAY = 3
TRADING_DAYS, WORKDAYS = 252.0, 5
DAYS, MONTHS = 365.25, 12.0
WEEKS = DAYS / 7
FEWEST_DAYS = 14
LONGEST_PAUSE = 2 * HOUR
"""A market that is closed for longer has ended its session: a lunch break or a missing bar is shorter [ns]."""


def _period(timestamp: Int64Array1D, unit: str) -> Int64Array1D:
    """Return the number of the UTC day, ISO week or month that each bar starts in."""
    day: Int64Array1D = timestamp // DAY
    if unit == "day":
        return day
    if unit == "week":
        week: Int64Array1D = (day + THURSDAY) // 7
        return week
    return day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def starts_period(timestamp: Int64Array1D, unit: str, *, first: int = 0) -> BoolArray1D:
    """Return whether each bar is the first of a new day, ISO week or month (n_bars,).

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC].
    unit : {"day", "week", "month"}
    first : int
        The bar that an engine starts with; it begins a period, as bar 0 does.
    """
    period = _period(timestamp, unit)
    starts = np.ones(len(timestamp), dtype=np.bool_)
    starts[1:] = period[1:] != period[:-1]
    starts[first : first + 1] = True
    return starts


def opens_session(timestamp: Int64Array1D, timeframe: str) -> BoolArray1D:
    """Return whether each bar opens a session (n_bars,).

    A session opens after the market was closed for more than two hours and more than the length of a bar, so neither
    a lunch break nor a single missing bar ends one. Bars of a day or more open none, nor do those of a market that
    never closes; the first bar has nothing before it and opens none either.
    """
    opens = np.zeros(len(timestamp), dtype=np.bool_)
    length = timeframe_length(timeframe)
    if length < DAY:
        closed = timestamp[1:] - bar_end(timestamp, timeframe)[:-1]
        opens[1:] = closed > max(LONGEST_PAUSE, length)
    return opens


def calendar_blocks(timestamp: Int64Array1D, *, first: int = 0) -> tuple[Int64Array1D, str]:
    """Cut the bars from `first` on into calendar blocks.

    The unit is the shortest of day, week and month that gives 120 to 512 blocks; where none does, the
    one whose count is nearest to that range by ratio. A short history has fewer blocks, of a day each.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC].
    first : int
        Place of the first scored bar, less than n_bars.

    Returns
    -------
    block_end : (n_blocks,) int64
        Place one past the last bar of each block.
    unit : {"day", "week", "month"}
    """
    scored = timestamp[first:]
    ends = {
        unit: np.r_[np.flatnonzero(starts_period(scored, unit))[1:], len(scored)].astype(np.int64) + first
        for unit in UNITS
    }

    def distance(unit: str) -> float:
        n_blocks = len(ends[unit])
        return max(math.log(FEWEST_BLOCKS / n_blocks), math.log(n_blocks / MOST_BLOCKS), 0.0)

    unit = min(UNITS, key=distance)
    return ends[unit], unit


def count_periods_per_year(timestamp: Int64Array1D, timeframe: str) -> float:
    """Return the bars in a year [1], by the weekdays that have bars.

    The sum over the seven weekdays of the median number of bars on such a day, empty days included, times 252/5 if at
    most five of them have bars in most weeks, else 365.25/7: 252 for the days of an exchange, 313 for Sunday to Friday,
    365.25 around the clock, 1764 for the seven hourly bars of a session. Weeks without any bar do not count. Weeks and
    months are counted by the calendar: 52.18 over the number of weeks, 12 over the number of months; bars of several
    days by how many there are.

    Under two weeks of bars say little of weekdays: a day that has bars then has the median number of them, on 252 days
    of the year, or, intraday and with bars on a Saturday, on all.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], at least one.
    timeframe : str
    """
    n, unit = parse_timeframe(timeframe)
    if unit == "mo":
        return MONTHS / n
    if unit == "wk":
        return WEEKS / n
    days = timestamp // DAY
    n_days = int(days[-1] - days[0]) + 1
    if n_days < FEWEST_DAYS:
        return _count_from_few(days, timeframe)
    if unit == "d" and n > 1:
        return len(days) / (n_days + n - 1) * DAYS
    n_bars = np.bincount(days - days[0])
    day = np.arange(days[0], days[-1] + 1)
    week = _period(day * DAY, "week")
    has_bars = np.bincount(week - week[0], weights=n_bars)[week - week[0]] > 0
    weekday = (day + THURSDAY) % 7
    usual = [float(np.median(n_bars[has_bars & (weekday == one)])) for one in range(7)]
    is_exchange = sum(count >= 1 for count in usual) <= WORKDAYS
    per_week = sum(usual)
    if per_week < 1:
        return _count_from_few(days, timeframe)
    return per_week * (TRADING_DAYS / WORKDAYS if is_exchange else WEEKS)


def _count_from_few(days: Int64Array1D, timeframe: str) -> float:
    length = timeframe_length(timeframe)
    if length >= DAY:
        return TRADING_DAYS * DAY / length
    dates, n_bars = np.unique(days, return_counts=True)
    has_saturday = bool(np.any((dates + THURSDAY) % 7 == 5))
    return float(np.median(n_bars)) * (DAYS if has_saturday else TRADING_DAYS)
