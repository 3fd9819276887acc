"""How long bars are: labels such as "1d" and "15m" read as lengths, and lengths written as labels."""

import re

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NANOSECONDS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}

_LABEL = re.compile(r"([1-9]\d{0,3})([mhdw])")


def read_length(text: str) -> int | None:
    """Return the length that `text` says ("1d", "15m", "36h", "1w") [ns]; None if it says none.

    A length is a whole number of minutes (m), hours (h), days (d) or weeks (w) from 1 to 9999.
    """
    match = _LABEL.fullmatch(text)
    return None if match is None else int(match[1]) * NANOSECONDS[match[2]]


def timeframe_length(timeframe: str) -> int:
    """Return the length of a bar labelled `timeframe` ("1d", "1h", "15m", "1w") [ns].

    Raises
    ------
    ValueError
        If the label says no length.
    """
    length = read_length(timeframe)
    if length is None:
        raise ValueError(
            f"`timeframe` must be a number and one of m, h, d, w such as '1d' or '1h', but got {timeframe!r}."
        )
    return length


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
    """Return the label of bars that are `spacing` [ns] apart: whole days, else whole minutes, at least one.

    A day of a changing clock may have 23 hours.
    """
    if 6 * spacing >= 5 * DAY:
        return f"{round(spacing / DAY)}d"
    return f"{max(spacing // MINUTE, 1)}m"
