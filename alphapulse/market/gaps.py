"""Gaps in stored bars: where the next bar comes much later than after other bars of the same time of the week."""

from dataclasses import dataclass

import numpy as np

from alphapulse.market.calendar import THURSDAY
from alphapulse.market.timeframes import DAY, MINUTE, timeframe_length
from alphapulse.typing import Int64Array1D

# A gap is this many times as long as is usual there, and of at least so many bars.
TIMES_LONGER, FEWEST_BARS = 2.0, 3


@dataclass(frozen=True)
class Gaps:
    """Stretches without a bar.

    Attributes
    ----------
    before, after : (n_gaps,) int64
        Start of the bar before each and of the bar after it [ns since the epoch, UTC].
    n_missing : (n_gaps,) int64
        Bars that are missing by the label, beyond what is usual there.
    """

    before: Int64Array1D
    after: Int64Array1D
    n_missing: Int64Array1D

    def __len__(self) -> int:
        return len(self.before)


def find_gaps(timestamp: Int64Array1D, timeframe: str) -> Gaps:
    """Return where bars are missing.

    The usual distance to the next bar is the median over the bars of the same weekday and, intraday, the same minute of
    the day: nights, weekends and an exchange's closed Sunday are no gaps. Of daily bars two that are missing beyond the
    weekend are one, a single holiday is none.

    Parameters
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], increasing.
    """
    length = timeframe_length(timeframe)
    distance = np.diff(timestamp)
    if len(distance) == 0:
        return Gaps(timestamp[:0], timestamp[:0], timestamp[:0])
    usual = _usual(timestamp[:-1], distance, length)
    fewest = 2 if length >= DAY else FEWEST_BARS
    long = np.flatnonzero((distance - usual >= fewest * length) & (distance >= TIMES_LONGER * usual))
    n_missing = (distance[long] - usual[long]) // length
    return Gaps(timestamp[long], timestamp[long + 1], n_missing)


def _usual(timestamp: Int64Array1D, distance: Int64Array1D, length: int) -> Int64Array1D:
    if length > DAY:
        return np.full(len(distance), int(np.median(distance)), dtype=np.int64)
    weekday = (timestamp // DAY + THURSDAY) % 7
    slot = weekday if length >= DAY else weekday * 1440 + timestamp % DAY // MINUTE
    order = np.lexsort((distance, slot))
    ordered = slot[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    count = np.diff(np.r_[first, len(ordered)])
    middle = distance[order][first + (count - 1) // 2]
    # What happens too rarely to be usual is measured by the label.
    middle = np.where(count >= 3, middle, np.minimum(middle, length))
    usual: Int64Array1D = np.empty(len(distance), dtype=np.int64)
    usual[order] = np.repeat(middle, count)
    return usual
