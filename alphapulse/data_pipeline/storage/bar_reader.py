"""Bars out of the database: binary COPY, decoded straight into arrays.

Rows of one width are decoded by a view of the bytes, part by part as they come, into arrays of their final
size, so that hardly more than the arrays is ever held. A long series is read over several connections that share
one snapshot.
"""

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.storage.db_writer import COPY_HEADER, POSTGRES_EPOCH, ROW, VALUES
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

# Below this a second connection costs more than it carries.
PARALLEL_ROWS = 400_000
N_CONNECTIONS = 4
DECODE_BYTES = 1 << 20

WHERE = "symbol = $1 AND timeframe = $2 AND timestamp >= $3 AND timestamp < $4"
EXTENT = f"SELECT count(*), min(timestamp), max(timestamp) FROM ohlcv_data WHERE {WHERE}"
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
        NaN where unknown.
    """

    timestamp: Int64Array1D
    open: Float64Array1D
    high: Float64Array1D
    low: Float64Array1D
    close: Float64Array1D
    volume: Float64Array1D

    def __len__(self) -> int:
        return len(self.timestamp)

    @classmethod
    def empty(cls, n_bars: int) -> "BarColumns":
        """Return columns to be filled."""
        return cls(np.empty(n_bars, dtype=np.int64), *(np.empty(n_bars) for _ in VALUES))

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
        UTC; None is open.
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
            n_bars, first, last = await connection.fetchrow(EXTENT, symbol, timeframe, start, stop)
            columns = BarColumns.empty(n_bars)
            if n_bars == 0:
                return columns
            if n_bars < PARALLEL_ROWS or n_connections < 2:
                await _copy(connection, columns, 0, n_bars, symbol, timeframe, start, stop)
                return columns
            snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
            edges = [start, *(first + (last - first) * part / n_connections for part in range(1, n_connections)), stop]
            await _read_parts(database, snapshot, columns, symbol, timeframe, edges)
            return columns
    finally:
        await connection.close()


async def _read_parts(
    database: "Database", snapshot: str, columns: BarColumns, symbol: str, timeframe: str, edges: list[pd.Timestamp]
) -> None:
    """Fill `columns` over one connection for each pair of `edges`, all of them in one snapshot."""
    parts = list(itertools.pairwise(edges))
    connections = await asyncio.gather(*(database.connect() for _ in parts))
    try:
        transactions = [one.transaction(isolation="repeatable_read", readonly=True) for one in connections]
        await asyncio.gather(*(one.start() for one in transactions))
        # A snapshot's name is made by the server: hexadecimal digits and dashes.
        await asyncio.gather(*(one.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'") for one in connections))
        counts = await asyncio.gather(
            *(one.fetchrow(EXTENT, symbol, timeframe, *part) for one, part in zip(connections, parts, strict=True))
        )
        ends = np.cumsum([count[0] for count in counts]).tolist()
        await asyncio.gather(
            *(
                _copy(one, columns, place, end, symbol, timeframe, *part)
                for one, place, end, part in zip(connections, [0, *ends[:-1]], ends, parts, strict=True)
            )
        )
    finally:
        for one in connections:
            one.terminate()


async def _copy(
    connection: asyncpg.Connection,
    columns: BarColumns,
    place: int,
    end: int,
    symbol: str,
    timeframe: str,
    start: pd.Timestamp,
    stop: pd.Timestamp,
) -> None:
    """Fill `columns[place:end]` with the bars of [start, stop)."""
    held = bytearray()
    n_skipped = len(COPY_HEADER)

    def decode() -> None:
        nonlocal place, n_skipped
        n_rows = min((len(held) - n_skipped) // ROW.itemsize, end - place)
        if n_rows <= 0:
            return
        rows = np.frombuffer(held, dtype=ROW, count=n_rows, offset=n_skipped)
        part = slice(place, place + n_rows)
        np.multiply(rows["timestamp"] + POSTGRES_EPOCH, 1000, out=columns.timestamp[part])
        for name in VALUES:
            getattr(columns, name)[part] = rows[name]
        place += n_rows
        n_bytes = n_skipped + n_rows * ROW.itemsize
        del rows
        del held[:n_bytes]
        n_skipped = 0

    async def receive(data: bytes) -> None:
        held.extend(data)
        if len(held) >= DECODE_BYTES:
            decode()

    await connection.copy_from_query(SELECT, symbol, timeframe, start, stop, output=receive, format="binary")
    decode()
    assert place == end, (place, end)
