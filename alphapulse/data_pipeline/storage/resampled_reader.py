"""Bars out of the database in any timeframe: as stored, or put together from the longest stored one that fits."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.storage.adjusted_reader import Adjust, read_adjusted
from alphapulse.data_pipeline.storage.bar_reader import BarColumns, find_warm_up
from alphapulse.data_pipeline.storage.comparing import VALUES
from alphapulse.market.resampling import best_source, resample

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

EXISTS = "SELECT EXISTS (SELECT FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2)"
# From label to label along the key: a plain DISTINCT would look at every bar.
LABELS = """
    WITH RECURSIVE labels AS (
        (SELECT timeframe FROM ohlcv_data WHERE symbol = $1 ORDER BY timeframe LIMIT 1)
        UNION ALL
        SELECT (
            SELECT timeframe FROM ohlcv_data WHERE symbol = $1 AND timeframe > labels.timeframe
            ORDER BY timeframe LIMIT 1
        ) FROM labels WHERE timeframe IS NOT NULL
    )
    SELECT timeframe FROM labels WHERE timeframe IS NOT NULL"""


def stored_timeframe(database: "Database", symbol: str, timeframe: str) -> str | None:
    """Return the stored timeframe that bars of `timeframe` are read from, itself if there is one; None if none fits."""

    async def ask() -> str | None:
        connection = await database.connect()
        try:
            if await connection.fetchval(EXISTS, symbol, timeframe):
                return timeframe
            labels = [row["timeframe"] for row in await connection.fetch(LABELS, symbol)]
        finally:
            await connection.close()
        return best_source(labels, timeframe)

    return database.run(ask())


def read_any(
    database: "Database",
    symbol: str,
    timeframe: str,
    start: pd.Timestamp | None,
    stop: pd.Timestamp | None,
    n_before: int = 0,
    *,
    adjust: Adjust = "total",
) -> BarColumns:
    """Return the bars of a timeframe that start in [start, stop), and up to `n_before` before them.

    Parameters
    ----------
    n_before : int
        Counted only where there is a start.
    adjust : {"total", "split"}
        Whether prices count dividends as earned, or are adjusted for splits alone.
    """
    stored = stored_timeframe(database, symbol, timeframe)
    if stored is None or stored == timeframe:
        if start is not None and n_before > 0:
            # With fewer bars before the start, all of them.
            start = find_warm_up(database, symbol, timeframe, start, n_before)
        return read_adjusted(database, symbol, timeframe, start, stop, adjust)
    # From the first bar on: a bucket is the same whatever range is asked for.
    shorter = read_adjusted(database, symbol, stored, None, stop, adjust)
    bars = resample(shorter.timestamp, {name: getattr(shorter, name) for name in VALUES}, stored, timeframe)
    columns = BarColumns(bars.timestamp, **bars.values, end=bars.end)
    if start is None:
        return columns
    place = int(np.searchsorted(bars.timestamp, start.as_unit("ns").value))
    return columns[max(place - n_before, 0) :]
