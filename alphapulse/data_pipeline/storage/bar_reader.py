"""Bars out of the database: binary COPY, decoded straight into arrays.

Rows are decoded as they come, so that hardly more than the arrays is ever held. A long series is read over several
connections that share one snapshot.
"""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.binary_copy import Kind, copy_out
from alphapulse.data_pipeline.storage.comparing import VALUES
from alphapulse.market.timeframes import timeframe_length
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

# Below this a second connection costs more than it carries.
PARALLEL_ROWS = 400_000
N_CONNECTIONS = 4
KINDS: Mapping[str, Kind] = {"timestamp": np.dtype("datetime64[us]")} | {name: np.dtype(np.float64) for name in VALUES}

WHERE = "symbol = $1 AND timeframe = $2 AND timestamp >= $3 AND timestamp < $4"
COUNT = f"SELECT count(*) FROM ohlcv_data WHERE {WHERE}"
COUNT_SHORT = f"SELECT count(*) FROM (SELECT FROM ohlcv_data WHERE {WHERE} LIMIT {PARALLEL_ROWS}) AS bars"
EXTENT = f"SELECT min(timestamp), max(timestamp) FROM ohlcv_data WHERE {WHERE}"
SELECT = f"""
    SELECT timestamp, open, high, low, close, coalesce(volume, 'NaN') FROM ohlcv_data
    WHERE {WHERE} ORDER BY timestamp"""
BEFORE = """
    SELECT timestamp FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2 AND timestamp < $3
    ORDER BY timestamp DESC OFFSET $4 LIMIT 1"""
EARLIEST = pd.Timestamp("1700-01-01", tz="UTC")
LATEST = pd.Timestamp("2250-01-01", tz="UTC")


@dataclass(frozen=True)
class BarColumns:
    """Bars of one symbol and timeframe as stored, sorted.

    Attributes
    ----------
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC].
    open, high, low, close : (n_bars,) float64
        Prices [quote].
    volume : (n_bars,) float64
        Traded volume; NaN where unknown.
    end : (n_bars,) int64, optional
        When each bar is known [ns since the epoch, UTC], of bars that were put together from shorter ones; None is what
        `bar_end` says.
    """

    timestamp: Int64Array1D
    open: Float64Array1D
    high: Float64Array1D
    low: Float64Array1D
    close: Float64Array1D
    volume: Float64Array1D
    end: Int64Array1D | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    def __getitem__(self, part: slice) -> "BarColumns":
        """Return the bars of `part` as views of the same memory."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {name: None if array is None else array[part] for name, array in arrays.items()}
        return BarColumns(**parts)

    def frame(self) -> pd.DataFrame:
        """Return the bars as a DataFrame over the same memory, timestamp (UTC) first."""
        stamps = pd.DatetimeIndex(self.timestamp.view("datetime64[ns]")).tz_localize("UTC")
        return pd.DataFrame({"timestamp": stamps} | {name: getattr(self, name) for name in VALUES}, copy=False)


def read_bars(
    database: "Database",
    symbol: str,
    timeframe: str,
    start: pd.Timestamp | None = None,
    stop: pd.Timestamp | None = None,
    *,
    n_connections: int = N_CONNECTIONS,
) -> BarColumns:
    """Return the stored bars that start in [start, stop); none is no error.

    Parameters
    ----------
    start, stop : Timestamp, optional
        Moments in UTC; None is open.
    n_connections : int
        Most connections to read over.
    """
    bounds = (start if start is not None else EARLIEST, stop if stop is not None else LATEST)
    return database.run(_read(database, symbol, timeframe, *bounds, n_connections))


def find_warm_up(
    database: "Database", symbol: str, timeframe: str, start: pd.Timestamp, n_bars: int
) -> pd.Timestamp | None:
    """Return the start of the bar `n_bars` before `start`, or None if there are fewer bars."""

    async def find() -> pd.Timestamp | None:
        connection = await database.connect()
        try:
            moment = await connection.fetchval(BEFORE, symbol, timeframe, start, n_bars - 1)
        finally:
            await connection.close()
        return None if moment is None else pd.Timestamp(moment)

    return database.run(find())


async def _read(
    database: "Database", symbol: str, timeframe: str, start: pd.Timestamp, stop: pd.Timestamp, n_connections: int
) -> BarColumns:
    connection = await database.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            count = COUNT if n_connections < 2 else COUNT_SHORT
            n_bars = await connection.fetchval(count, symbol, timeframe, start, stop)
            if n_bars < PARALLEL_ROWS or n_connections < 2:
                return columns_of([await _copy(connection, n_bars, symbol, timeframe, start, stop)])
            first, last = await connection.fetchrow(EXTENT, symbol, timeframe, start, stop)
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            edges = [start, *(first + (last - first) * part / n_connections for part in range(1, n_connections)), stop]
            # Memory that no bar is written to is never taken from the system, which makes this cheaper than a count.
            most = (last - first) // n_connections // pd.Timedelta(timeframe_length(timeframe)) + 1
            parts = (
                _read_part(database, snapshot, most, symbol, timeframe, *bounds) for bounds in itertools.pairwise(edges)
            )
            return columns_of(list(await asyncio.gather(*parts)))
    finally:
        await connection.close()


async def _read_part(
    database: "Database",
    snapshot: str,
    n_bars: int,
    symbol: str,
    timeframe: str,
    start: pd.Timestamp,
    stop: pd.Timestamp,
) -> dict[str, np.ndarray]:
    """Read over a connection of its own what another connection's snapshot holds, about `n_bars` at most."""
    connection = await database.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # A snapshot's name is the server's own: hexadecimal digits and dashes.
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            return await _copy(connection, n_bars, symbol, timeframe, start, stop)
    finally:
        await connection.close()


async def _copy(
    connection: asyncpg.Connection, n_bars: int, symbol: str, timeframe: str, start: pd.Timestamp, stop: pd.Timestamp
) -> dict[str, np.ndarray]:
    return await copy_out(connection, SELECT, symbol, timeframe, start, stop, kinds=KINDS, n_rows=n_bars)


def columns_of(parts: list[dict[str, np.ndarray]]) -> BarColumns:
    """Put the parts of a COPY, by `KINDS`, together column by column, letting go of each as it is copied."""
    columns = {}
    for name in KINDS:
        pieces = [part.pop(name) for part in parts]
        columns[name] = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    timestamp = columns.pop("timestamp").view(np.int64)
    # Microseconds to nanoseconds.
    timestamp *= 1000
    return BarColumns(timestamp, **columns)
