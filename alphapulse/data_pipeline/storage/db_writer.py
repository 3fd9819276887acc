"""Bulk upsert of bars: COPY to a staging table, then INSERT ... ON CONFLICT, in one transaction.

Row-by-row upserts run at some thousand rows a second; COPY and one set-based statement at some hundred
thousand. Only rows that differ are updated, so that running a download again writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import numpy as np

from alphapulse.data_pipeline.binary_copy import copy_in
from alphapulse.data_pipeline.providers.base import Fetched

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

VALUES = ("open", "high", "low", "close", "volume")
# A writer of the same series waits here: its counts stay exact, and two writers cannot deadlock on rows.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
STAGING = """
    CREATE TEMP TABLE staging (
        timestamp timestamptz, open float8, high float8, low float8, close float8, volume float8
    ) ON COMMIT DROP"""
EXISTING = """
    SELECT count(*) FROM staging JOIN ohlcv_data AS stored
    ON stored.symbol = $1 AND stored.timeframe = $2 AND stored.timestamp = staging.timestamp"""
UPSERT = """
    INSERT INTO ohlcv_data AS stored (timestamp, symbol, timeframe, open, high, low, close, volume)
    SELECT timestamp, $1, $2, open, high, low, close, volume FROM staging ORDER BY timestamp
    ON CONFLICT (symbol, timeframe, timestamp) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
    WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume)
        IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)"""


@dataclass(frozen=True)
class Written:
    """What storing one series did.

    Attributes
    ----------
    symbol, timeframe : str
    n_new, n_changed, n_unchanged, n_rejected : int
        Rows that were not there, were there with other values, were there as they are, and cannot be bars.
    """

    symbol: str
    timeframe: str
    n_new: int
    n_changed: int
    n_unchanged: int
    n_rejected: int


def write_bars(database: "Database", series: Iterable[Fetched]) -> list[Written]:
    """Store every series, all in one transaction.

    Parameters
    ----------
    database : Database
    series : iterable of Fetched
        Bars without duplicates, as `providers.base.checked` gives them.

    Returns
    -------
    list of Written
        Each series has one, in the order in which they were stored: by symbol and timeframe.

    Raises
    ------
    DatabaseError
        If the database refuses; nothing is stored then.
    """
    return database.run(_write(database, sorted(series, key=lambda one: (one.symbol, one.timeframe))))


async def _write(database: "Database", series: Sequence[Fetched]) -> list[Written]:
    connection = await database.connect()
    try:
        async with connection.transaction():
            return [await _write_one(connection, one) for one in series]
    finally:
        await connection.close()


async def _write_one(connection: asyncpg.Connection, series: Fetched) -> Written:
    n_rows = len(series.bars)
    if n_rows == 0:
        return Written(series.symbol, series.timeframe, 0, 0, 0, len(series.rejected))
    key = (series.symbol, series.timeframe)
    await connection.execute(LOCK, f"ohlcv_data {series.symbol} {series.timeframe}")
    await connection.execute("DROP TABLE IF EXISTS pg_temp.staging")
    await connection.execute(STAGING)
    columns = {"timestamp": series.bars["timestamp"].dt.tz_localize(None).to_numpy()}
    columns |= {name: series.bars[name].to_numpy(dtype=np.float64) for name in VALUES}
    await copy_in(connection, "staging", columns, nan_is_null=("volume",))
    n_existing = await connection.fetchval(EXISTING, *key)
    status = await connection.execute(UPSERT, *key)
    n_new = n_rows - n_existing
    n_changed = int(status.rsplit(" ", 1)[1]) - n_new
    return Written(*key, n_new, n_changed, n_existing - n_changed, len(series.rejected))
