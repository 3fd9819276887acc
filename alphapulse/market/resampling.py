"""Longer bars out of shorter ones: first open, highest high, lowest low, last close, sum of volume.

Where a bucket begins depends on the calendar and on how the market opens, never on the range that is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alphapulse.market.calendar import THURSDAY, opens_session
from alphapulse.market.joining import bar_end
from alphapulse.market.timeframes import DAY, Timeframe, parse_timeframe
from alphapulse.typing import Float64Array1D, Int64Array1D

# An opening counts as usual where this share of the sessions open like it: both sides of a changing clock do.
USUAL_SHARE = 0.1


class Resampled(NamedTuple):
    """Bars put together from shorter ones.

    Attributes
    ----------
    timestamp : (n_bars,) int64
        Start of each bucket that has a bar [ns].
    end : (n_bars,) int64
        When each is known: the end of its last bar [ns].
    values : mapping of str to (n_bars,) float64
        open, high, low, close [quote] and volume, NaN where no bar of the bucket has one.
    """

    timestamp: Int64Array1D
    end: Int64Array1D
    values: Mapping[str, Float64Array1D]


def can_resample(source: str, target: str) -> bool:
    """Return whether bars of `target` can be put together from bars of `source`, a shorter timeframe."""
    have, want = parse_timeframe(source), parse_timeframe(target)
    if have == want or have.length >= want.length:
        return False
    if have.unit == want.unit:
        return want.n % have.n == 0
    if want.length < DAY:
        return want.length % have.length == 0
    if have.length < DAY:
        return DAY % have.length == 0
    return have == Timeframe(1, "d")


def best_source(stored: Sequence[str], target: str) -> str | None:
    """Return the longest of the stored timeframes that `target` can be put together from, None if there is none."""
    able = [label for label in stored if can_resample(label, target)]
    return max(able, key=lambda label: parse_timeframe(label).length, default=None)


def resample(timestamp: Int64Array1D, values: Mapping[str, Float64Array1D], source: str, target: str) -> Resampled:
    """Put bars together.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], strictly increasing.
    values : mapping of str to (n_bars,) float64
        open, high, low, close and volume.
    source, target : str
        Timeframes, see `can_resample`.
    """
    if len(timestamp) == 0:
        return Resampled(timestamp, timestamp, values)
    bucket = bucket_start(timestamp, source, target)
    first = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    last = np.r_[first[1:], len(bucket)] - 1
    return Resampled(
        timestamp=bucket[first],
        end=bar_end(timestamp, source)[last],
        values={
            "open": values["open"][first],
            "high": np.maximum.reduceat(values["high"], first),
            "low": np.minimum.reduceat(values["low"], first),
            "close": values["close"][last],
            "volume": _sum(values["volume"], first),
        },
    )


def _sum(volume: Float64Array1D, first: Int64Array1D) -> Float64Array1D:
    known = ~np.isnan(volume)
    # Wider than the result, so that the order of additions does not show.
    total: Float64Array1D = np.add.reduceat(np.where(known, volume, 0.0).astype(np.longdouble), first).astype(float)
    total[~np.logical_or.reduceat(known, first)] = np.nan
    return total


def bucket_start(timestamp: Int64Array1D, source: str, target: str) -> Int64Array1D:
    """Return the start of the bucket that each bar falls into (n_bars,) [ns].

    Intraday, buckets are counted from the start of each session; in a market that does not close every day, from
    midnight UTC. Days begin at midnight UTC, several of them are counted from 1970-01-01, weeks begin on Monday,
    several from the one before 1970. A daily bar that begins in the evening, as a broker's may, belongs to the date
    that most of it lies in, and a bucket of such bars begins with the first of them.
    """
    want = parse_timeframe(target)
    if want.length < DAY:
        return _intraday_start(timestamp, source, want.length)
    length = parse_timeframe(source).length
    # The date that a bar is of: a day's is that of its middle.
    date = (timestamp + (DAY // 2 if length >= DAY else 0)) // DAY
    if want.unit == "d":
        begin = date - date % want.n
    elif want.unit == "wk":
        begin = date - (date + THURSDAY) % (7 * want.n)
    else:
        month = date.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        begin = (month - month % want.n).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    start: Int64Array1D = begin * DAY
    if length >= DAY:
        first = np.r_[True, begin[1:] != begin[:-1]]
        shift = (timestamp - date * DAY)[first]
        start += shift[np.cumsum(first) - 1]
    return start


def _intraday_start(timestamp: Int64Array1D, source: str, length: int) -> Int64Array1D:
    day = timestamp - timestamp % DAY
    opens = opens_session(timestamp, source)
    opens[0] = True
    first = np.flatnonzero(opens)
    n_dates = 1 + np.count_nonzero(np.diff(day))
    if 2 * len(first) < n_dates:
        of_day: Int64Array1D = day + (timestamp - day) // length * length
        return of_day
    begin = timestamp[first]
    phase = begin % DAY % length
    phases, n_sessions = np.unique(phase, return_counts=True)
    usual = phases[n_sessions >= USUAL_SHARE * len(first)]
    if len(usual):
        # Where the first bars of a session are missing, it began before them.
        late = ((phase[:, None] - usual[None, :]) % length).min(axis=1)
        ended = np.r_[np.iinfo(np.int64).min, timestamp[first[1:] - 1] + parse_timeframe(source).length]
        begin = np.maximum(begin - late, ended)
    anchor = begin[np.cumsum(opens) - 1]
    of_session: Int64Array1D = anchor + (timestamp - anchor) // length * length
    return of_session
