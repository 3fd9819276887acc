"""How long bars are: the one parser of labels such as "1d" and "15m", and when a bar of a label ends."""

import re
from typing import NamedTuple

import numpy as np

from alphapulse.typing import Int64Array1D

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_NAMES = {
    "m": ("m", "min", "minute"),
    "h": ("h", "hour"),
    "d": ("d", "day"),
    "wk": ("w", "wk", "week"),
    "mo": ("mo", "month"),
}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names}
_LENGTHS = {"m": MINUTE, "h": HOUR, "d": DAY, "wk": WEEK, "mo": 28 * DAY}
_LABEL = re.compile(r"([1-9]\d{0,3})([A-Za-z]+)")


class Timeframe(NamedTuple):
    """A number of minutes (m), hours (h), days (d), weeks (wk) or months (mo), in the largest of m, h and d that fits.

    `str` of it is the label that bars are stored under: 60m and 1h are both "1h", 1w and 1wk both "1wk".
    """

    n: int
    unit: str

    @classmethod
    def of(cls, n: int, unit: str) -> "Timeframe":
        """Return `n` of `unit` in the largest unit that fits."""
        if unit == "m" and n % 60 == 0:
            n, unit = n // 60, "h"
        if unit == "h" and n % 24 == 0:
            n, unit = n // 24, "d"
        return cls(n, unit)

    def __str__(self) -> str:
        return f"{self.n}{self.unit}"

    @property
    def length(self) -> int:
        """The length of a bar [ns]; of months the shortest there is, see `labelled_end`."""
        return self.n * _LENGTHS[self.unit]


def read_timeframe(text: str) -> Timeframe | None:
    """Return the timeframe that `text` says; None if it says none.

    It is a whole number from 1 to 9999 and one of m, h, d, w or wk, mo, in letters of either size, or min, minute,
    hour, day, week, month. "1M" is a month, as Yahoo, Binance and TradingView write it.
    """
    match = _LABEL.fullmatch(text)
    if match is None:
        return None
    unit = "mo" if match[2] == "M" else _UNITS.get(match[2].lower())
    if unit is None:
        return None
    return Timeframe.of(int(match[1]), unit)


def parse_timeframe(text: str) -> Timeframe:
    """Return the timeframe that `text` says, see `read_timeframe`.

    Raises
    ------
    ValueError
        If it says none.
    """
    timeframe = read_timeframe(text)
    if timeframe is None:
        raise ValueError(
            f"`timeframe` must be a number and one of m, h, d, wk, mo such as '1d' or '1h', but got {text!r}."
        )
    return timeframe


def timeframe_length(timeframe: str) -> int:
    """Return the length of a bar labelled `timeframe` ("1d", "1h", "15m", "1wk") [ns]; of months the shortest.

    Raises
    ------
    ValueError
        If the label says no length.
    """
    return parse_timeframe(timeframe).length


def labelled_end(timestamp: Int64Array1D, timeframe: str) -> Int64Array1D:
    """Return where bars of a label end (n_bars,) [ns]: start plus length, for months the calendar's.

    A bar of a month that starts some hours before its first day, as a broker's may, ends as long before the first day
    after it.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC].
    """
    n, unit = parse_timeframe(timeframe)
    if unit != "mo":
        return timestamp + n * _LENGTHS[unit]
    month = (timestamp + DAY).view("datetime64[ns]").astype("datetime64[M]")
    begin, end = (moment.astype("datetime64[ns]").astype(np.int64) for moment in (month, month + n))
    return timestamp + (end - begin)


def read_length(text: str) -> int | None:
    """Return the length that `text` says ("1d", "15m", "36h", "1w") [ns]; None if it says none, or one of months."""
    timeframe = read_timeframe(text)
    return None if timeframe is None or timeframe.unit == "mo" else timeframe.length


def duration_length(duration: str) -> int:
    """Return the length of `duration`, written as a timeframe is ("7d", "36h") [ns].

    Raises
    ------
    ValueError
        If it says no length.
    """
    length = read_length(duration)
    if length is None:
        raise ValueError(f"`max_staleness` must look like '7d' or '36h', but got {duration!r}.")
    return length


def timeframe_of(spacing: int) -> str:
    """Return the label of bars that are `spacing` [ns] apart: months, weeks, days, else whole minutes, at least one.

    A day of a changing clock may have 23 hours, and a month 28 to 31 days.
    """
    if 6 * spacing < 5 * DAY:
        return str(Timeframe.of(max(spacing // MINUTE, 1), "m"))
    n_days = round(spacing / DAY)
    n_months = -(-n_days // 31)
    if n_days >= 28 * n_months:
        return f"{n_months}mo"
    return f"{n_days // 7}wk" if n_days % 7 == 0 else f"{n_days}d"
