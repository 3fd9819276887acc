"""The database that settings name, a server or the embedded one: located, entered, brought up to date."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import asyncpg

from alphapulse.config.machines.database import DatabaseConfig
from alphapulse.config.settings import Settings, read_settings
from alphapulse.data_pipeline import embedded, upgrading
from alphapulse.data_pipeline.database import CONNECT_TIMEOUT, Database
from alphapulse.errors import DatabaseError

OLDEST_SERVER = 14

GONE = """
SELECT version_num, ARRAY(SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL)
FROM alembic_version
"""


def open_database(db: DatabaseConfig | None = None, *, upgrade: bool = True) -> Database:
    """Return the database that the configuration and the environment name, reachable and up to date.

    Parameters
    ----------
    db : DatabaseConfig, optional
        What is not None in it comes before the environment. Without a host from either, the embedded server
        is started unless it runs.
    upgrade : bool
        Whether missing tables are made and old ones altered.

    Raises
    ------
    DatabaseError
        If the server cannot be reached, entered or upgraded, or is older than this package can use.
    ConfigError
        If the environment holds a port that is none.
    """
    database, probed = _open_running(db) or _open_started(db)
    server_version, revision = probed
    if server_version // 10_000 < OLDEST_SERVER:
        raise DatabaseError(
            f"PostgreSQL >= {OLDEST_SERVER} is needed, but the server at {database.address} is "
            f"{server_version // 10_000}.{server_version % 100}; upgrade it, or unset DB_HOST to use the embedded one."
        )
    if upgrade:
        upgrading.bring_up_to_date(database, revision)
    return database


def _open_running(db: DatabaseConfig | None) -> tuple[Database, tuple[int, str | None]] | None:
    """Return the named database of an embedded server that runs, with what `_probe` says; None where that fails."""
    settings = chosen_settings(db)
    socket = embedded.open_socket(settings.home) if settings.host is None else None
    if socket is None:
        return None
    database = _embedded_database(socket, settings, db)
    try:
        return database, database.run(_probe(database))
    except DatabaseError:
        # What is wrong, or only missing, shows on the long way.
        return None


def _open_started(db: DatabaseConfig | None) -> tuple[Database, tuple[int, str | None]]:
    database = locate_database(db)
    if database.embedded:
        _create_embedded(database)
    return database, database.run(_probe(database))


def _embedded_database(socket: Path, settings: Settings, db: DatabaseConfig | None) -> Database:
    wait = 0.0 if db is None else db.wait
    return Database(str(socket), embedded.PORT, settings.name, embedded.SUPERUSER, "", embedded=True, wait=wait)


def chosen_settings(db: DatabaseConfig | None = None) -> Settings:
    """Return the settings of the environment, with what is not None in `db` in their place."""
    settings = read_settings()
    if db is None:
        return settings
    given = {name: getattr(db, name) for name in ("host", "port", "name", "user", "password", "sslmode")}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def locate_database(db: DatabaseConfig | None = None) -> Database:
    """Return the database that the configuration and the environment name, the embedded server started."""
    settings = chosen_settings(db)
    if settings.host is None:
        return _embedded_database(embedded.ensure_server(settings.home), settings, db)
    wait = 0.0 if db is None else db.wait
    return Database(
        settings.host,
        settings.port,
        settings.name,
        settings.user,
        settings.password,
        sslmode=settings.sslmode,
        wait=wait,
    )


async def _probe(database: Database) -> tuple[int, str | None]:
    """Return the server's version number and the schema's revision (None: no tables yet)."""
    connection = await _patient_connect(database)
    try:
        version = await connection.fetchval("SELECT current_setting('server_version_num')::int")
        revision = None
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is not None:
            revision, gone = await connection.fetchrow(GONE, list(upgrading.TABLES))
            if gone and revision == upgrading.revisions()[-1]:
                raise DatabaseError(
                    f"The {database} lacks what it had: table {gone[0]!r} is gone; restore it from a backup, or set "
                    "DB_NAME to another database."
                )
    finally:
        await connection.close()
    return version, revision


async def _patient_connect(database: Database) -> asyncpg.Connection:
    """Connect; a server that is still starting gets a while."""
    for _ in range(2 * CONNECT_TIMEOUT):
        try:
            return await database.connect()
        except asyncpg.CannotConnectNowError:
            await asyncio.sleep(0.5)
    return await database.connect()


def _create_embedded(database: Database) -> None:
    """Create the named database on the embedded server unless it exists."""
    from sqlalchemy import text
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    maintenance = replace(database, name="postgres")
    exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
    with maintenance.one_line_errors():
        with maintenance.sync_engine.connect() as connection:
            if connection.scalar(exists, {"name": database.name}):
                return
        with contextlib.suppress(IntegrityError, ProgrammingError):
            # Another command may create it in the same moment; what else can fail shows when we enter it.
            create_database(maintenance, database.name)


def create_database(maintenance: Database, name: str, owner: str | None = None) -> None:
    """Create database `name` through a connection to another one."""
    from sqlalchemy import text

    with maintenance.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quote = connection.dialect.identifier_preparer.quote
        ownership = "" if owner is None else f" OWNER {quote(owner)}"
        connection.execute(text(f"CREATE DATABASE {quote(name)}{ownership} TEMPLATE template0 ENCODING 'UTF8'"))
