"""TimescaleDB where the server has it: the table of bars becomes a hypertable, early or late."""

import logging

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

LOGGER = logging.getLogger(__name__)

# Twenty years of daily bars in as many chunks, and a year of hourly bars of a thousand symbols in one.
CHUNK_INTERVAL = "1 year"


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
    schema = connection.scalar(
        text(
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'timescaledb' AND to_regclass('ohlcv_data') IS NOT NULL"
        )
    )
    if schema is None:
        return False
    quoted = connection.dialect.identifier_preparer.quote(schema)
    connection.execute(
        text(
            f"SELECT {quoted}.create_hypertable('ohlcv_data', 'timestamp', chunk_time_interval => "
            f"interval '{CHUNK_INTERVAL}', create_default_indexes => false, "
            "if_not_exists => true, migrate_data => true)"
        )
    )
    return True
