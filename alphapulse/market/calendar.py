"""What the calendar says of bars: the blocks of their moments, weeks, months, and how many make a year."""

import math

import numpy as np

from alphapulse.market.timeframes import DAY, timeframe_length
from alphapulse.typing import BoolArray1D, Int64Array1D

FEWEST_BLOCKS, MOST_BLOCKS = 120, 512
UNITS = ("day", "week", "month")
# The epoch was a Thursday; ISO weeks start on Mondays.
THURSDAY = 3
TRADING_DAYS = 252.0
DAYS = 365.0


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
    """Return the bars in a year [1]: 252 for "1d", counted for intraday bars.

    Counted is the median number of bars on a day that has any, times 365 where most Saturdays have bars, else 252: 1764
    for the seven hourly bars of a US session, 8760 for hourly bars around the clock.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], at least one.
    timeframe : str
    """
    length = timeframe_length(timeframe)
    if length >= DAY:
        return TRADING_DAYS if length == DAY else DAYS * DAY / length
    days, n_bars = np.unique(timestamp // DAY, return_counts=True)
    weeks = max(1.0, (days[-1] - days[0] + 1) / 7.0)
    n_saturdays = np.count_nonzero((days + THURSDAY) % 7 == 5)
    return float(np.median(n_bars)) * (DAYS if n_saturdays > weeks / 2 else TRADING_DAYS)
