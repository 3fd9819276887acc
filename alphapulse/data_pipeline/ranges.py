"""Ranges of time as people write them: both ends belong to the range, and a date is its whole day."""

import datetime

import pandas as pd

Moment = str | datetime.date | datetime.datetime | pd.Timestamp | None
# PostgreSQL keeps microseconds: the first moment after an inclusive end.
TICK = pd.Timedelta(microseconds=1)


def _parse(name: str, moment: str | datetime.date) -> tuple[pd.Timestamp, bool]:
    """Return the moment in UTC and whether it is a whole day."""
    if isinstance(moment, str):
        moment = _parse_text(name, moment)
    if not isinstance(moment, datetime.datetime):
        return pd.Timestamp(moment, tz="UTC"), True
    if moment.utcoffset() is None:
        raise ValueError(f"`{name}` must carry a time zone, but got {moment.isoformat()}; use UTC, or a plain date.")
    return pd.Timestamp(moment).tz_convert("UTC"), False


def _parse_text(name: str, text: str) -> datetime.date:
    """Return the date, or the moment where a time is written, in any of the forms of ISO 8601."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{name}` must be an ISO date such as 2010-01-31, but got {text!r}.") from None


def range_start(name: str, moment: Moment) -> pd.Timestamp | None:
    """Return the first moment of a range that starts at `moment`, UTC; None where it is open.

    Raises
    ------
    ValueError
        If `moment` is not ISO 8601, or a time without a zone; the message names `name`.
    """
    return None if moment is None else _parse(name, moment)[0]


def range_stop(name: str, moment: Moment) -> pd.Timestamp | None:
    """Return the first moment after a range that ends with `moment`, UTC; a plain date belongs to the range.

    Raises
    ------
    ValueError
        As `range_start`.
    """
    if moment is None:
        return None
    parsed, is_date = _parse(name, moment)
    return parsed + (pd.Timedelta(days=1) if is_date else TICK)
