"""When a bar is known, and the join of one series to another by that moment."""

import numpy as np

from alphapulse.market.timeframes import DAY, labelled_end, timeframe_length
from alphapulse.typing import Float64Array1D, Int64Array1D


def bar_spacing(timestamp: Int64Array1D, length: int) -> Int64Array1D:
    """Return the length that each bar really has (n_bars,) [ns], never less than its label `length` [ns].

    Hourly files hold stretches of two-hourly bars. Trusting their label would let a bar be known an
    hour before it ended, so an intraday bar is as long as the smallest distance between two bars
    of its UTC date, where that is more than the label. A date with a single bar takes the
    length of the date before it. The label is kept for bars of a day or more.
    """
    spacing = np.full(len(timestamp), length, dtype=np.int64)
    if length >= DAY or len(timestamp) < 2:
        return spacing
    unknown = np.iinfo(np.int64).max
    date = timestamp // DAY
    opens_date = np.r_[True, date[1:] != date[:-1]]
    distance = np.r_[unknown, np.diff(timestamp)]
    smallest = np.minimum.reduceat(np.where(opens_date, unknown, distance), np.flatnonzero(opens_date))
    last_known = np.maximum.accumulate(np.where(smallest < unknown, np.arange(len(smallest)), -1))
    of_date = np.where(last_known >= 0, smallest[np.maximum(last_known, 0)], length)
    real: Int64Array1D = np.maximum(spacing, of_date[np.cumsum(opens_date) - 1])
    return real


def bar_end(timestamp: Int64Array1D, timeframe: str) -> Int64Array1D:
    """Return the moment at which each bar is known (n_bars,) [ns]: its start plus the length of its timeframe.

    A daily bar, stamped with its date at 00:00Z, ends with that date. A bar that is longer than its label
    (`bar_spacing`) ends with its length, or where the next one starts. Ends do not decrease.
    """
    labelled = labelled_end(timestamp, timeframe)
    length = timeframe_length(timeframe)
    if length >= DAY:
        return labelled
    ends: Int64Array1D = timestamp + bar_spacing(timestamp, length)
    ends[:-1] = np.minimum(ends[:-1], np.maximum(timestamp[1:], labelled[:-1]))
    return ends


def join_by_end(
    end: Int64Array1D, other_end: Int64Array1D, other_value: Float64Array1D, *, max_staleness: int
) -> Float64Array1D:
    """Return for each bar the last value of another series that was known at the bar's end.

    Parameters
    ----------
    end : (n_bars,) int64
        End of each bar of the leading series [ns].
    other_end : (n_other,) int64
        End of each bar of the joined series [ns], not decreasing; see `bar_end`.
    other_value : (n_other,) float64
        The values that are joined.
    max_staleness : int
        A value whose bar ended more than this before the leading bar's end is not used [ns].

    Returns
    -------
    (n_bars,) float64
        The joined values; NaN where nothing was known, where it was too old, or where the value itself is NaN.
    """
    joined = np.full(len(end), np.nan)
    if len(other_end) == 0:
        return joined
    place = np.searchsorted(other_end, end, side="right") - 1
    usable = place >= 0
    usable[usable] = end[usable] - other_end[place[usable]] <= max_staleness
    joined[usable] = other_value[place[usable]]
    return joined


def sum_by_end(end: Int64Array1D, stamp: Int64Array1D, value: Float64Array1D) -> Float64Array1D:
    """Return for each bar the sum of what falls into it: the first bar whose end is not before a stamp has its value.

    Parameters
    ----------
    end : (n_bars,) int64
        End of each bar [ns], not decreasing.
    stamp : (n,) int64
        Moments [ns], in any order; those after the last end are left out, those before the first bar are in it.
    value : (n,) float64

    Returns
    -------
    (n_bars,) float64
        0 where nothing falls.
    """
    place = np.searchsorted(end, stamp, side="left")
    inside = place < len(end)
    return np.bincount(place[inside], weights=value[inside], minlength=len(end)).astype(np.float64)
