"""Of which stretch of time the bars of a series are known, and what of a range is missing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from alphapulse.data_pipeline.storage.ingests import INSERT
from alphapulse.market.timeframes import timeframe_length

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

Span = tuple[pd.Timestamp | None, pd.Timestamp | None]
"""From the first moment up to the second, UTC; None is open."""

KNOWN = """
    SELECT nullif(start_at, '-infinity') AS first, nullif(end_at, 'infinity') AS stop, false AS unknown FROM ingest
    WHERE symbol = $1 AND timeframe = $2
    UNION ALL
    SELECT min(timestamp), max(timestamp), true FROM ohlcv_data
    WHERE symbol = $1 AND timeframe = $2 AND ingest_id IS NULL HAVING count(*) > 0"""
EARLIEST, LATEST = pd.Timestamp("1700-01-01", tz="UTC"), pd.Timestamp("2250-01-01", tz="UTC")


def missing_spans(
    database: "Database", symbol: str, timeframe: str, start: pd.Timestamp | None, stop: pd.Timestamp | None
) -> list[Span] | None:
    """Return what of [start, stop) no source was asked for yet, oldest first; None if nothing of the series is known.

    Where `stop` is None the range ends with what is known: a study without an end is not to change from day to day.
    Bars of an unknown source are taken for all there are from their first to their last, and before where `start` is
    None.
    """
    length = pd.Timedelta(timeframe_length(timeframe))
    known: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for row in database.fetch(KNOWN, symbol, timeframe):
        first, last = row["first"], row["stop"]
        opens = first is None or (row["unknown"] and start is None)
        end = LATEST if last is None else pd.Timestamp(last) + (length if row["unknown"] else pd.Timedelta(0))
        known.append((EARLIEST if opens else pd.Timestamp(first), end))
    if not known:
        return None
    low = EARLIEST if start is None else start
    high = max(end for _, end in known) if stop is None else stop
    return [
        (None if first == EARLIEST else first, last)
        for first, last in subtract(low, high, sorted(known))
        if first < last
    ]


def subtract(
    start: pd.Timestamp, stop: pd.Timestamp, known: Sequence[tuple[pd.Timestamp, pd.Timestamp]]
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Return the parts of [start, stop) that no span of `known`, by their starts, covers."""
    parts = []
    for first, last in known:
        if first > start:
            parts.append((start, min(first, stop)))
        start = max(start, last)
        if start >= stop:
            break
    if start < stop:
        parts.append((start, stop))
    return [(first, last) for first, last in parts if first < last]


def remember_nothing(database: "Database", provider: str, symbol: str, timeframe: str, span: Span) -> None:
    """Keep that a source has no bar in a span, so that it is not asked for it again."""
    database.fetch(INSERT, provider, None, symbol, timeframe, *span, 0)
