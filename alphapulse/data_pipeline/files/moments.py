"""When the bars of a block start: times of a column, in the zone that they are in, or the reason why not."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from alphapulse.data_pipeline.files.layout import Layout
from alphapulse.data_pipeline.files.stamps import LIMITS, read_one, read_stamps, to_utc
from alphapulse.market.timeframes import timeframe_length
from alphapulse.typing import BoolArray1D, Int64Array1D

DAY_US = 86_400 * 10**6
# Beyond these years nanoseconds do not reach.
YEARS = "1678 to 2261"


@dataclass(frozen=True)
class Filling:
    """What is taken where the rows do not say it.

    Attributes
    ----------
    symbol, timeframe : str, optional
    zone : str, optional
        Zone of times that have none.
    """

    symbol: str | None
    timeframe: str | None
    zone: str | None


class Reasons:
    """Why rows are refused: the first reason counts."""

    def __init__(self, n_rows: int) -> None:
        self.codes = np.zeros(n_rows, dtype=np.int16)
        self.texts: list[str] = [""]
        self.own: dict[int, str] = {}

    def refuse(self, rows: BoolArray1D, text: str) -> None:
        """Refuse some rows for a reason."""
        rows = rows & (self.codes == 0)
        if rows.any():
            self.texts.append(text)
            self.codes[rows] = len(self.texts) - 1

    def refuse_one(self, row: int, text: str) -> None:
        """Refuse a row for a reason of its own."""
        if self.codes[row] == 0:
            self.codes[row] = -1
            self.own[row] = text

    @property
    def good(self) -> BoolArray1D:
        """Which rows are not refused."""
        good: BoolArray1D = self.codes == 0
        return good

    def text(self, row: int) -> str:
        """Return why a row is refused."""
        return self.own[row] if self.codes[row] < 0 else self.texts[self.codes[row]]


def read_moments(
    frame: pl.DataFrame, layout: Layout, filling: Filling, labels: "pl.Series | str | None", reasons: Reasons
) -> Int64Array1D:
    """Return the moments of rows [ns], UTC."""
    stamp = layout.stamp
    places = layout.places
    if "timestamp" in places:
        texts = frame[f"f{places['timestamp']}"]
    elif "time" in places:
        both = (frame[f"f{places[role]}"].str.strip_chars() for role in ("date", "time"))
        texts = pl.select(pl.concat_str([*both], separator=" ")).to_series()
    else:
        texts = frame[f"f{places['date']}"]
    moments, known = read_stamps(texts, stamp)
    aware = np.full(len(texts), stamp.is_aware and stamp.zone is None)
    timed = np.full(len(texts), stamp.has_time)
    in_named_zone = np.full(len(texts), stamp.zone is not None)
    if not known.all():
        moments = moments.copy()
    for row in np.flatnonzero(~known).tolist():
        try:
            moments[row], aware[row], timed[row] = read_one(texts[row], stamp)
        except ValueError as error:
            reasons.refuse_one(row, str(error))
        except OverflowError:
            reasons.refuse_one(row, f"timestamp {texts[row]!r} is no date or time")
        in_named_zone[row] = False
    is_daily = _is_daily(labels, len(texts))
    # A date alone, or its midnight, is that date.
    dated = ~aware & is_daily & (~timed | (moments % DAY_US == 0))
    naive = ~aware & ~dated
    if naive.any():
        moments = _localise(texts, moments, naive, timed, in_named_zone, layout, filling, reasons)
    outside = (moments <= LIMITS[0]) | (moments >= LIMITS[1])
    if outside.any():
        for row in np.flatnonzero(outside).tolist():
            reasons.refuse_one(row, f"timestamp {texts[row]!r} lies outside the years {YEARS}")
        moments = np.where(outside, 0, moments)
    return moments * 1000


def _is_daily(labels: "pl.Series | str | None", n_rows: int) -> BoolArray1D:
    day = timeframe_length("1d")
    if isinstance(labels, str):
        return np.full(n_rows, timeframe_length(labels) >= day)
    if labels is None:
        return np.ones(n_rows, dtype=np.bool_)
    long = {label: timeframe_length(label) >= day for label in labels.drop_nulls().unique().to_list()}
    daily: BoolArray1D = labels.replace_strict(long, default=False, return_dtype=pl.Boolean).to_numpy()
    return daily


def _localise(
    texts: pl.Series,
    moments: Int64Array1D,
    naive: BoolArray1D,
    timed: BoolArray1D,
    in_named_zone: BoolArray1D,
    layout: Layout,
    filling: Filling,
    reasons: Reasons,
) -> Int64Array1D:
    """Return the moments with those by a clock on the wall in UTC; those of no known clock are refused."""
    moments = moments.copy()
    for row in np.flatnonzero(naive & ~timed).tolist():
        reasons.refuse_one(row, f"timestamp {texts[row]!r} has a date but no time of day")
    for rows, zone in ((in_named_zone, layout.stamp.zone), (~in_named_zone, filling.zone or layout.zone)):
        chosen = naive & timed & rows
        if not chosen.any():
            continue
        if zone is None:
            for row in np.flatnonzero(chosen).tolist():
                reason = "has no time zone; add Z or an offset, or set provider.timezone, such as America/New_York"
                reasons.refuse_one(row, f"timestamp {texts[row]!r} {reason}")
        elif zone != "UTC":
            moments[chosen], there = to_utc(moments[chosen], zone)
            for row in np.flatnonzero(chosen)[~there].tolist():
                reasons.refuse_one(row, f"timestamp {texts[row]!r} is in the hour that the clock of {zone} skips")
    return moments
