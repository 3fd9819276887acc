"""TimescaleDB where the server has it: the table of bars becomes a hypertable, early or late, old chunks columns."""

import logging
from collections.abc import Iterable
from datetime import timedelta

import asyncpg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from alphapulse.errors import DatabaseError
from alphapulse.market.timeframes import read_length

LOGGER = logging.getLogger(__name__)

# A chunk holds this much time, by the shortest bars that are stored: a million or two of a hundred symbols' bars.
CHUNKS = (
    (timedelta(minutes=15), timedelta(days=28)),
    (timedelta(hours=4), timedelta(days=364)),
    (timedelta.max, timedelta(days=3640)),
)
# Chunks that are older than this become columns; what is revised or asked for again is younger as a rule.
COMPRESS_AFTER = timedelta(days=90)
# Of these, TimescaleDB has columns under its own licence alone.
COMMUNITY = "timescale"
# From label to label of each symbol along the key, rather than over every bar.
LABELS = """
    WITH RECURSIVE series AS (
        (SELECT symbol, timeframe FROM ohlcv_data ORDER BY symbol, timeframe LIMIT 1)
        UNION ALL
        SELECT following.* FROM series CROSS JOIN LATERAL (
            SELECT symbol, timeframe FROM ohlcv_data
            WHERE (ohlcv_data.symbol, ohlcv_data.timeframe) > (series.symbol, series.timeframe)
            ORDER BY symbol, timeframe LIMIT 1
        ) AS following
    )
    SELECT DISTINCT timeframe FROM series"""
DIMENSIONS = "SELECT to_regclass('timescaledb_information.dimensions')"
LONGER_CHUNKS = """
    SELECT n.nspname AS schema FROM timescaledb_information.dimensions
    JOIN pg_extension e ON e.extname = 'timescaledb' JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE hypertable_name = 'ohlcv_data' AND hypertable_schema = current_schema() AND time_interval > $1::interval"""


def install_extension(engine: Engine) -> bool:
    """Create the extension if the server offers it and this role may; return whether it is there.

    On a connection of its own: a server that offers the extension without preloading it ends the session.
    """
    offered = text("SELECT installed_version FROM pg_available_extensions WHERE name = 'timescaledb'")
    with engine.connect() as connection:
        row = connection.execute(offered).one_or_none()
    if row is None or row.installed_version is not None:
        return row is not None
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
    except DBAPIError as error:
        LOGGER.info("The server offers TimescaleDB but not to us, so that tables stay plain: %s", error.orig)
        return False
    return True


def make_hypertable(connection: Connection) -> bool:
    """Turn `ohlcv_data` into a hypertable, its rows included; return whether it is one.

    Does nothing where the extension or the table is missing, or the work is already done.
    """
    schema = _schema(connection)
    if schema is None:
        return False
    connection.execute(
        text(
            f"SELECT {schema}.create_hypertable('ohlcv_data', 'timestamp', "
            "chunk_time_interval => CAST(:chunk AS interval), create_default_indexes => false, "
            "if_not_exists => true, migrate_data => true)"
        ),
        {"chunk": chunk_interval(connection)},
    )
    fit_chunks(connection)
    return True


def _schema(connection: Connection) -> str | None:
    """Return the schema of the extension's functions, quoted; None without the extension or the table."""
    schema = connection.scalar(
        text(
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'timescaledb' AND to_regclass('ohlcv_data') IS NOT NULL"
        )
    )
    return None if schema is None else connection.dialect.identifier_preparer.quote(schema)


def chunk_interval(connection: Connection) -> timedelta:
    """Return how much time a chunk should hold, by the shortest bars that are stored."""
    lengths = [read_length(label) for label in connection.scalars(text(LABELS))]
    shortest = min((timedelta(microseconds=length // 1000) for length in lengths if length), default=timedelta(days=1))
    return next(chunk for longest, chunk in CHUNKS if shortest <= longest)


def fit_chunks(connection: Connection) -> None:
    """Let chunks that are made from now on hold what `chunk_interval` says; those that are there stay."""
    schema = _schema(connection)
    if schema is not None:
        connection.execute(
            text(f"SELECT {schema}.set_chunk_time_interval('ohlcv_data', CAST(:chunk AS interval))"),
            {"chunk": chunk_interval(connection)},
        )


async def fit_chunks_for(connection: asyncpg.Connection, timeframes: Iterable[str]) -> None:
    """Let chunks that are made from now on be short enough for bars of `timeframes`, which are about to be stored."""
    lengths = [length for label in timeframes if (length := read_length(label))]
    if not lengths or await connection.fetchval(DIMENSIONS) is None:
        return
    shortest = timedelta(microseconds=min(lengths) // 1000)
    wanted = next(chunk for longest, chunk in CHUNKS if shortest <= longest)
    is_longer = await connection.fetchrow(LONGER_CHUNKS, wanted)
    if is_longer is not None:
        schema = await connection.fetchval("SELECT quote_ident($1)", is_longer["schema"])
        await connection.execute(f"SELECT {schema}.set_chunk_time_interval('ohlcv_data', $1::interval)", wanted)


def compress(connection: Connection) -> tuple[int, int]:
    """Turn old chunks into columns, now and by a policy from now on; return how many are columns, of how many.

    Bars of a symbol and timeframe lie together, by time. What is downloaded again into such a chunk is written all the
    same (see `storage.db_writer`), and the policy makes it columns again.

    Raises
    ------
    DatabaseError
        If the server has no TimescaleDB, or not the licence that has columns.
    """
    schema = _schema(connection)
    if schema is None:
        raise DatabaseError(
            "The server has no TimescaleDB, so bars are a plain table and stay as they are; install it there "
            "and run `python -m alphapulse.db upgrade` first."
        )
    licence = connection.scalar(text("SELECT current_setting('timescaledb.license', true)"))
    if licence != COMMUNITY:
        raise DatabaseError(
            f"TimescaleDB has columns under the licence {COMMUNITY!r} alone, but the server says "
            f"timescaledb.license={licence!r}; set it there, with the build that has it."
        )
    fit_chunks(connection)
    enabled = connection.scalar(
        text(
            "SELECT compression_enabled FROM timescaledb_information.hypertables WHERE hypertable_name = 'ohlcv_data' "
            "AND hypertable_schema = current_schema()"
        )
    )
    if not enabled:
        connection.execute(
            text(
                "ALTER TABLE ohlcv_data SET (timescaledb.compress, "
                "timescaledb.compress_segmentby = 'symbol, timeframe', timescaledb.compress_orderby = 'timestamp')"
            )
        )
    after = {"after": COMPRESS_AFTER}
    connection.execute(
        text(f"SELECT {schema}.add_compression_policy('ohlcv_data', CAST(:after AS interval), if_not_exists => true)"),
        after,
    )
    # By where a chunk begins: one of ten years, made when there were daily bars alone, would wait for its end.
    connection.execute(
        text(
            f"SELECT {schema}.compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass, "
            "if_not_compressed => true) FROM timescaledb_information.chunks "
            "WHERE hypertable_name = 'ohlcv_data' AND hypertable_schema = current_schema() "
            "AND range_start < now() - CAST(:after AS interval)"
        ),
        after,
    )
    counts = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE is_compressed), count(*) FROM timescaledb_information.chunks "
            "WHERE hypertable_name = 'ohlcv_data' AND hypertable_schema = current_schema()"
        )
    ).one()
    return counts[0], counts[1]
