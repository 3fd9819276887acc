"""What `python -m alphapulse.db` does: make role and database, upgrade the tables, tell address and state, stop it."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url, text

from alphapulse.commands.database_roles import make_roles, role_names
from alphapulse.config.settings import DEFAULT_PORT, check_port
from alphapulse.data_pipeline import embedded, timescale, upgrading
from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database
from alphapulse.data_pipeline.opening import chosen_settings, create_database, locate_database, open_database
from alphapulse.errors import ConfigError, DatabaseError

if TYPE_CHECKING:
    from alphapulse.config.schema import DatabaseCommandConfig, DatabaseConfig

HIDDEN = "***"
"""What SQLAlchemy prints in place of a password."""

RUNNING = """
SELECT name FROM sweep WHERE EXISTS (
    SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('study ' || name, 0)
) ORDER BY name
"""


def run_database_command(config: "DatabaseCommandConfig") -> None:
    """Do what the command was told, and print the outcome in one line."""
    match config.action:
        case "init":
            print(initialise(config.db, config.admin_url))
        case "upgrade":
            print(upgrade(config.db))
        case "status":
            print(status(config.db))
        case "stop":
            print(stop(config.db))
        case "compress":
            print(compress(config.db))
        case _ if config.optuna:
            _print_url(optuna_url(config.db, show_password=config.show_password))
        case _:
            _print_url(locate_database(config.db).url(config.show_password))


def _print_url(url: str) -> None:
    """Print a URL, and on stderr how to have it with its password, without which no other program can use it."""
    print(url)
    if make_url(url).password == HIDDEN:
        print("The password is hidden; show_password=true prints the URL as other programs need it.", file=sys.stderr)


def compress(db: "DatabaseConfig | None" = None) -> str:
    """Turn old bars into columns where TimescaleDB is, and have it go on by itself; return the outcome in one line.

    Raises
    ------
    DatabaseError
        If the server cannot be reached, or has no columns.
    """
    database = open_database(db)
    try:
        with database.one_line_errors(), database.sync_engine.begin() as connection:
            n_columns, n_chunks = timescale.compress(connection)
    finally:
        database.close()
    days = timescale.COMPRESS_AFTER.days
    return f"{n_columns:,} of {n_chunks:,} chunks of ohlcv_data are columns; others follow at {days} days of age."


def initialise(db: "DatabaseConfig | None" = None, admin_url: str | None = None) -> str:
    """Make what is missing: roles, database, extension, tables; return the outcome in one line.

    Parameters
    ----------
    db : DatabaseConfig, optional
    admin_url : str, optional
        Address of a role that may create roles and databases; its server is the one that is set up. Without it
        role and database must exist, or the embedded server is set up.

    Raises
    ------
    ConfigError
        If `admin_url` is no address.
    DatabaseError
        If the server cannot be reached or refuses.
    """
    if admin_url is None:
        database = open_database(db)
        return f"Ready: {database}; {_revision(database)}."
    admin = _parse_admin_url(admin_url)
    settings = chosen_settings(db)
    admin = replace(admin, sslmode=admin.sslmode or settings.sslmode)
    database = replace(admin, name=settings.name, user=settings.user, password=settings.password)
    _check_admin(admin)
    with admin.one_line_errors():
        _make_role(admin, database)
        _make_database(admin, database)
        inside = replace(admin, name=database.name)
        timescale.install_extension(inside.sync_engine)
        inside.close()
        admin.close()
    upgrading.migrate(database)
    # It loads what trials are computed with, which the other actions need not wait for.
    from alphapulse.study.optuna.tables import ensure_optuna_tables

    ensure_optuna_tables(database)
    inside = replace(admin, name=database.name)
    with inside.one_line_errors():
        make_roles(inside, database.user)
    inside.close()
    writer, reader = role_names(database.name).values()
    here = "" if settings.host == database.host and settings.port == database.port else _use(database)
    return (
        f"Ready: {database}; {_revision(database)}. Members of {writer!r} write studies and bars, those of {reader!r} "
        f"only read them.{here}"
    )


def upgrade(db: "DatabaseConfig | None" = None) -> str:
    """Bring the tables up to date, turn them into hypertables where they can be; return the outcome in one line."""
    database = open_database(db, upgrade=False)
    upgrading.migrate(database)
    return f"Up to date: {database}; {_revision(database)}."


def status(db: "DatabaseConfig | None" = None) -> str:
    """Return whether the server runs, where, and what it holds; an embedded one is not started for it."""
    settings = chosen_settings(db)
    if settings.host is None and not embedded.is_running(settings.home):
        return f"The embedded server in {settings.home} is stopped; the next command that needs it starts it."
    database = locate_database(db)
    with database.one_line_errors(), database.sync_engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version"))
        size = connection.scalar(text("SELECT pg_size_pretty(pg_database_size(current_database()))"))
        if connection.scalar(text("SELECT to_regclass('sweep')")) is None:
            return f"Running: {database}, PostgreSQL {version}, {size}, without tables; `db init` makes them."
        n_studies = connection.scalar(text("SELECT count(*) FROM sweep"))
        n_bars = connection.scalar(text("SELECT count(*) FROM ohlcv_data"))
    running = _running_studies(database)
    told = f"; {', '.join(running)} being run" if running else ""
    return f"Running: {database}, PostgreSQL {version}, {size}, {n_studies:,} studies, {n_bars:,} bars{told}."


def stop(db: "DatabaseConfig | None" = None) -> str:
    """Stop the embedded server and return the outcome in one line.

    Raises
    ------
    ConfigError
        If the settings name another server.
    DatabaseError
        If a study is being run on it.
    """
    settings = chosen_settings(db)
    if settings.host is not None:
        raise ConfigError(f"`stop` is for the embedded server, but DB_HOST or db.host names {settings.host}")
    if not embedded.is_running(settings.home):
        return f"The embedded server in {settings.home} is stopped already."
    database = locate_database(db)
    running = _running_studies(database)
    database.close()
    if running:
        raise DatabaseError(f"Study {running[0]!r} is being run on the embedded server; end it first.")
    embedded.stop_server(settings.home)
    return f"Stopped the embedded server in {settings.home}; its data stay."


def _running_studies(database: Database) -> list[str]:
    """Return the names of the studies that a command is running now."""
    with database.one_line_errors(), database.sync_engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('sweep')")) is None:
            return []
        return list(connection.scalars(text(RUNNING)).all())


def optuna_url(db: "DatabaseConfig | None" = None, *, show_password: bool = False) -> str:
    """Return the URL under which Optuna finds its own tables, which are up to date then."""
    # It loads what trials are computed with, which the other actions need not wait for.
    from alphapulse.study.optuna.mirror import mirror_all

    database = open_database(db)
    mirror_all(database)
    return database.url(show_password, schema=OPTUNA_SCHEMA)


def _parse_admin_url(admin_url: str) -> Database:
    scheme, separator, rest = admin_url.partition("://")
    try:
        parts = conninfo_to_dict(f"{scheme.partition('+')[0]}{separator}{rest}")
    except psycopg.ProgrammingError:
        # The parser's own words would show the password.
        parts = {}
    if not parts.get("host") or not parts.get("user"):
        raise ConfigError(
            "`admin_url` must be like postgresql://ADMIN:PASSWORD@HOST:PORT/postgres, with special characters of the "
            "password as %XX, but got something else"
        )
    return Database(
        host=str(parts["host"]),
        port=check_port("port of admin_url", parts.get("port") or DEFAULT_PORT),
        name=str(parts.get("dbname") or "postgres"),
        user=str(parts["user"]),
        password=str(parts.get("password") or ""),
        sslmode=str(parts["sslmode"]) if parts.get("sslmode") else None,
    )


def _check_admin(admin: Database) -> None:
    async def enter() -> None:
        await (await admin.connect()).close()

    try:
        with admin.one_line_errors():
            admin.submit(enter()).result()
    except DatabaseError as error:
        if isinstance(error.__cause__, asyncpg.InvalidAuthorizationSpecificationError):
            raise DatabaseError(
                f"The server at {admin.address} refused user {admin.user!r} or its password; correct the address "
                "that was given to init."
            ) from error
        raise


def _make_role(admin: Database, database: Database) -> None:
    with admin.sync_engine.begin() as connection:
        exists = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": database.user})
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        role = sql.Identifier(database.user)
        if not exists:
            # Hashed here, so that no log of the server's shows it.
            password = raw.pgconn.encrypt_password(database.password.encode(), database.user.encode())
            raw.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password.decode()))
        is_member = connection.scalar(text("SELECT pg_has_role(:name, 'USAGE')"), {"name": database.user})
        if not is_member:
            # Only a member may make a database for the role to own.
            raw.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))


def _make_database(admin: Database, database: Database) -> None:
    with admin.sync_engine.connect() as connection:
        exists = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": database.name})
    if not exists:
        create_database(admin, database.name, owner=database.user)
        return
    inside = replace(admin, name=database.name)
    with inside.sync_engine.begin() as connection:
        quote = connection.dialect.identifier_preparer.quote
        connection.execute(text(f"GRANT ALL ON DATABASE {quote(database.name)} TO {quote(database.user)}"))
        connection.execute(text(f"GRANT ALL ON SCHEMA public TO {quote(database.user)}"))
    inside.close()


def _revision(database: Database) -> str:
    with database.one_line_errors(), database.sync_engine.connect() as connection:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        offered = connection.execute(
            text("SELECT installed_version FROM pg_available_extensions WHERE name = 'timescaledb'")
        ).one_or_none()
    bars = "bars in a plain table, since the server has no TimescaleDB"
    if offered is not None:
        bars = "bars in a hypertable"
        if offered.installed_version is None:
            bars = (
                "bars in a plain table, since the server offers TimescaleDB but has not preloaded it, or this role may "
                "not create the extension (`python -m alphapulse.db init ADMIN_URL` does)"
            )
    return f"revision {revision}, {bars}"


def _use(database: Database) -> str:
    return f" To use it, set DB_HOST={database.host} DB_PORT={database.port}, and DB_NAME, DB_USER, DB_PASS as now."
