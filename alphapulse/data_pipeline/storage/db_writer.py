"""Bulk upsert of bars: new ones by COPY, those that differ by way of a staging table, in one transaction.

Row-by-row upserts run at some thousand rows a second; COPY at half a million. What is stored in the range is compared
first, so that running a download again reads and writes nothing. Every bar says where it
comes from, and what one source gave is not written over with what another one says unless it is asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.binary_copy import copy_in
from alphapulse.data_pipeline.providers.base import Fetched, count_rows
from alphapulse.data_pipeline.storage.accepting import as_fetched
from alphapulse.data_pipeline.storage.actions import write_actions
from alphapulse.data_pipeline.storage.comparing import append, columns_of, compare
from alphapulse.data_pipeline.storage.ingests import Source, insert_ingest, refuse_second_source
from alphapulse.data_pipeline.storage.quarantine import forget_all, forget_mended, hold_rows
from alphapulse.data_pipeline.timescale import fit_chunks_for
from alphapulse.market.timeframes import timeframe_length

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database
    from alphapulse.data_pipeline.models import OHLCVRecord

# A writer of the same series waits here: its counts stay exact, and two writers cannot deadlock on rows.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
# TimescaleDB writes into chunks of columns too, and would stop after 100,000 rows of them. Elsewhere there is no row.
ANY_CHUNK = """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'"""
STAGING = """
    CREATE TEMP TABLE staging (
        timestamp timestamptz, open float8, high float8, low float8, close float8, volume float8
    ) ON COMMIT DROP"""
DIFFERS = """(stored.open, stored.high, stored.low, stored.close, stored.volume)
        IS DISTINCT FROM ({0}.open, {0}.high, {0}.low, {0}.close, {0}.volume)"""
COMPARE = f"""
    SELECT count(*) AS n_existing,
        count(*) FILTER (WHERE differs) AS n_changed,
        count(*) FILTER (WHERE differs AND other IS NOT NULL) AS n_foreign,
        max(other) FILTER (WHERE differs) AS other
    FROM (
        SELECT {DIFFERS.format("staging")} AS differs,
            CASE WHEN (ingest.provider, ingest.path) IS DISTINCT FROM ($3::text, $4::text) THEN ingest.id END AS other
        FROM staging JOIN ohlcv_data AS stored
        ON stored.symbol = $1 AND stored.timeframe = $2 AND stored.timestamp = staging.timestamp
        LEFT JOIN ingest ON ingest.id = stored.ingest_id
    ) AS pairs"""
UPSERT = f"""
    INSERT INTO ohlcv_data AS stored (timestamp, symbol, timeframe, open, high, low, close, volume, ingest_id)
    SELECT timestamp, $1, $2, open, high, low, close, volume, $3::bigint FROM staging ORDER BY timestamp
    ON CONFLICT (symbol, timeframe, timestamp) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, ingest_id = excluded.ingest_id
    WHERE {DIFFERS.format("excluded")} OR (stored.ingest_id IS NULL AND excluded.ingest_id IS NOT NULL)"""
OWN = """(ingest_id IS NULL OR ingest_id IN (
        SELECT id FROM ingest
        WHERE symbol = $1 AND timeframe = $2 AND (provider, path) IS NOT DISTINCT FROM ($3::text, $4::text)))"""
PRUNE = f"""
    DELETE FROM ohlcv_data AS stored WHERE symbol = $1 AND timeframe = $2 AND {OWN}
    AND timestamp >= (SELECT min(timestamp) FROM staging) AND timestamp <= (SELECT max(timestamp) FROM staging)
    AND NOT EXISTS (SELECT FROM staging WHERE staging.timestamp = stored.timestamp)"""
RESCALE = f"""
    UPDATE ohlcv_data SET open = open / $5, high = high / $5, low = low / $5, close = close / $5, volume = volume * $5
    WHERE symbol = $1 AND timeframe = $2 AND ingest_id IS NOT NULL AND {OWN}
    AND (timestamp < (SELECT min(timestamp) FROM staging) OR timestamp > (SELECT max(timestamp) FROM staging))"""
EXTENT = "SELECT min(timestamp), max(timestamp) FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2"


@dataclass(frozen=True)
class Reread:
    """A series is read again whole, since its source counts shares otherwise now.

    Attributes
    ----------
    factor : float, optional
        By which prices that the source no longer gives are divided [1]; None leaves them.
    """

    factor: float | None = None


@dataclass(frozen=True)
class Written:
    """What storing one series did.

    Attributes
    ----------
    symbol, timeframe : str
    n_new, n_changed, n_unchanged, n_rejected : int
        Rows that were not there, were there with other values, were there as they are, and cannot be bars.
    n_removed, n_rescaled : int
        Stored bars that a source no longer has, of a series that was read again whole: between those that it has, and
        before or after them.
    first, last : str, optional
        Start of the first and the last bar of the series as it is stored now, ISO 8601, UTC.
    ingest_id : int, optional
        Number of the source in `ingest`; None where it is unknown, or nothing was stored.
    """

    symbol: str
    timeframe: str
    n_new: int
    n_changed: int
    n_unchanged: int
    n_rejected: int
    n_removed: int = 0
    n_rescaled: int = 0
    first: str | None = None
    last: str | None = None
    ingest_id: int | None = None


def write_bars(
    database: "Database",
    series: "Iterable[Fetched] | Iterable[OHLCVRecord] | pd.DataFrame",
    source: Source | None = None,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    replace: bool = False,
    reread: Reread | None = None,
) -> list[Written]:
    """Store every series, all in one transaction.

    Parameters
    ----------
    database : Database
    series : iterable of Fetched, iterable of OHLCVRecord, or DataFrame
        Bars as `providers.base.checked` gives them, or as `accepting.as_fetched` takes them.
    symbol, timeframe : str, optional
        What a DataFrame does not say.
    source : Source, optional
        Where they come from; None is an unknown source.
    replace : bool
        Whether bars that another source gave are written over where they differ. Those of an unknown source always are.
    reread : Reread, optional
        Says that the series is all that its source has now. Stored bars of the same or an unknown source are removed
        where they lie between its bars.

    Returns
    -------
    list of Written
        Each series has one, in the order in which they were stored: by symbol and timeframe.

    Raises
    ------
    TypeError, ValueError
        If `series` is none of these, or lacks something.
    SecondSourceError
        If bars differ from those of another source; nothing is stored then.
    DatabaseError
        If the database refuses; nothing is stored then.
    """
    ordered = sorted(as_fetched(series, symbol, timeframe), key=lambda one: (one.symbol, one.timeframe))
    return database.run(_write(database, ordered, source, replace, reread))


async def _write(
    database: "Database", series: Sequence[Fetched], source: Source | None, replace: bool, reread: Reread | None
) -> list[Written]:
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute(ANY_CHUNK)
            await fit_chunks_for(connection, {one.timeframe for one in series if len(one.bars)})
            return [await _write_one(connection, one, source, replace, reread) for one in series]
    finally:
        await connection.close()


async def _write_one(
    connection: asyncpg.Connection, series: Fetched, source: Source | None, replace: bool, reread: Reread | None
) -> Written:
    key = (series.symbol, series.timeframe)
    n_rows = len(series.bars)
    number = None
    n_rejected = count_rows(series.rejected)
    if n_rows == 0:
        if source is not None and series.covers is not None:
            number = await insert_ingest(connection, source, series, timeframe_length(series.timeframe))
        await hold_rows(connection, *key, series.rejected, number)
        return Written(*key, 0, 0, 0, n_rejected, 0, 0, *await _extent(connection, *key), number)
    await connection.execute(LOCK, f"ohlcv_data {series.symbol} {series.timeframe}")
    if reread is None:
        return await _write_missing(connection, series, source, replace)
    await _stage(connection, series.bars)
    known = (None, None) if source is None else (source.provider, source.path)
    found = await connection.fetchrow(COMPARE, *key, *known)
    if source is not None and found["n_foreign"] and not replace:
        await refuse_second_source(connection, source, series, found["other"], found["n_foreign"])
    if source is not None:
        number = await insert_ingest(connection, source, series, timeframe_length(series.timeframe))
    await connection.execute(UPSERT, *key, number)
    await write_actions(connection, series.symbol, series.actions, series.actions_of)
    n_rescaled = 0
    await forget_all(connection, *key)
    n_removed = _n_rows(await connection.execute(PRUNE, *key, *known))
    if reread.factor is not None:
        n_rescaled = _n_rows(await connection.execute(RESCALE, *key, *known, reread.factor))
    await hold_rows(connection, *key, series.rejected, number)
    n_existing, n_changed = found["n_existing"], found["n_changed"]
    counts = (n_rows - n_existing, n_changed, n_existing - n_changed, n_rejected, n_removed, n_rescaled)
    return Written(*key, *counts, *await _extent(connection, *key), number)


async def _write_missing(
    connection: asyncpg.Connection, series: Fetched, source: Source | None, replace: bool
) -> Written:
    """Store what is not stored yet: new bars by COPY, those that differ by way of `staging`."""
    key, bars, number = (series.symbol, series.timeframe), series.bars, None
    is_new, differs = await compare(connection, *key, bars, known_source=source is not None)
    n_new, n_changed = int(np.count_nonzero(is_new)), 0
    if differs.any():
        await _stage(connection, bars[differs])
        known = (None, None) if source is None else (source.provider, source.path)
        found = await connection.fetchrow(COMPARE, *key, *known)
        n_changed = found["n_changed"]
        if source is not None and found["n_foreign"] and not replace:
            await refuse_second_source(connection, source, series, found["other"], found["n_foreign"])
    if source is not None and (n_new or differs.any() or series.covers is not None):
        number = await insert_ingest(connection, source, series, timeframe_length(series.timeframe))
    if differs.any():
        await connection.execute(UPSERT, *key, number)
    if n_new:
        await append(connection, *key, bars if n_new == len(bars) else bars[is_new], number)
    await write_actions(connection, series.symbol, series.actions, series.actions_of)
    await forget_mended(connection, *key, bars["timestamp"])
    await hold_rows(connection, *key, series.rejected, number)
    counts = (n_new, n_changed, len(bars) - n_new - n_changed, count_rows(series.rejected), 0, 0)
    return Written(*key, *counts, *await _extent(connection, *key), number)


async def _stage(connection: asyncpg.Connection, bars: pd.DataFrame) -> None:
    await connection.execute("DROP TABLE IF EXISTS pg_temp.staging")
    await connection.execute(STAGING)
    await copy_in(connection, "staging", columns_of(bars), nan_is_null=("volume",))


async def _extent(connection: asyncpg.Connection, symbol: str, timeframe: str) -> tuple[str | None, str | None]:
    first, last = await connection.fetchrow(EXTENT, symbol, timeframe)
    return _stamp(first), _stamp(last)


def _n_rows(status: str) -> int:
    return int(status.rsplit(" ", 1)[1])


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
