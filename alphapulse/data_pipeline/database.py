"""The database that settings name: a server, or the embedded one; reached, entered and brought up to date."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import sqlalchemy
from sqlalchemy import URL, Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from alphapulse.config.settings import Settings, read_settings
from alphapulse.data_pipeline import embedded, upgrading
from alphapulse.errors import DatabaseError

if TYPE_CHECKING:
    from alphapulse.config.schema import DatabaseConfig

Result = TypeVar("Result")

OLDEST_SERVER = 14
OPTUNA_SCHEMA = "optuna"
CONNECT_TIMEOUT = 10


@dataclass(frozen=True)
class Database:
    """Where one database is, and the ways into it.

    Attributes
    ----------
    host : str
        Name or address of the server, or the directory of its unix socket.
    port : int
    name, user, password : str
        An empty password is none: the embedded server trusts whoever may enter its socket's directory.
    embedded : bool
        Whether it is the embedded server.
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    embedded: bool = False

    def __str__(self) -> str:
        return f"database {self.name!r} at {self.address} as {self.user!r}"

    @property
    def address(self) -> str:
        """Host and port, or the socket's directory."""
        return self.host if self.host.startswith("/") else f"{self.host}:{self.port}"

    def url(self, show_password: bool = False, schema: str | None = None, driver: str = "psycopg") -> str:
        """Return the SQLAlchemy URL.

        Parameters
        ----------
        show_password : bool
            Whether the password stands in it, quoted; three stars otherwise.
        schema : str, optional
            Schema in which names without one are looked up.
        driver : {"psycopg", "asyncpg"}
        """
        return self._url(driver, schema).render_as_string(hide_password=not show_password)

    def _url(self, driver: str, schema: str | None = None) -> URL:
        is_socket = self.host.startswith("/")
        query = {"host": self.host} if is_socket else {}
        if schema is not None:
            query["options"] = f"-csearch_path={schema}"
        return URL.create(
            f"postgresql+{driver}",
            username=self.user,
            password=self.password or None,
            host=None if is_socket else self.host,
            port=self.port,
            database=self.name,
            query=query,
        )

    @property
    def optuna_url(self) -> str:
        """The URL, password included, under which Optuna finds its own tables."""
        return self.url(show_password=True, schema=OPTUNA_SCHEMA)

    @cached_property
    def sync_engine(self) -> Engine:
        """SQLAlchemy engine over psycopg."""
        return sqlalchemy.create_engine(
            self._url("psycopg"), pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT}
        )

    @cached_property
    def async_engine(self) -> AsyncEngine:
        """SQLAlchemy engine over asyncpg, for a running event loop."""
        return create_async_engine(self._url("asyncpg"), pool_pre_ping=True)

    @property
    def asyncpg_options(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect`."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password or None,
            "database": self.name,
            "timeout": CONNECT_TIMEOUT,
        }

    async def connect(self) -> asyncpg.Connection:
        """Return a new asyncpg connection."""
        return await asyncpg.connect(**self.asyncpg_options)

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Run a coroutine beside the caller, on the event loop that all databases of a process share."""
        return asyncio.run_coroutine_threadsafe(coroutine, _event_loop())

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end, also where the caller is itself inside an event loop.

        Raises
        ------
        DatabaseError
            In place of what the driver or the network raises.
        """
        with self.one_line_errors():
            return self.submit(coroutine).result()

    @contextlib.contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn what the drivers raise into a DatabaseError of one line."""
        try:
            yield
        except DatabaseError:
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise self._explain(error) from error
        except sqlalchemy.exc.DBAPIError as error:
            raise DatabaseError(f"The {self} refused: {_first_line(error.orig)}.") from error

    def _explain(self, error: BaseException) -> DatabaseError:
        match error:
            case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
                return DatabaseError(
                    f"The server at {self.address} refused user {self.user!r} or its password; correct DB_USER and "
                    f"DB_PASS, or make the role with {self._init_command}."
                )
            case asyncpg.InvalidCatalogNameError():
                return DatabaseError(
                    f"No database {self.name!r} at {self.address} for user {self.user!r}; correct DB_NAME, or make it "
                    f"with {self._init_command}."
                )
            case asyncpg.InsufficientPrivilegeError():
                return DatabaseError(
                    f"The {self} lacks a right: {_first_line(error)}; grant it, or make the database with "
                    f"{self._init_command}."
                )
            case asyncpg.DiskFullError():
                return DatabaseError(f"The disk of the {self} is full: {_first_line(error)}; make room and run again.")
            case asyncpg.CannotConnectNowError() | asyncpg.TooManyConnectionsError():
                return DatabaseError(f"The {self} takes no connection now: {_first_line(error)}; try again later.")
            case asyncpg.PostgresError():
                return DatabaseError(f"The {self} refused: {_first_line(error)}.")
            case _:
                return DatabaseError(
                    f"No answer from the {self}: {_first_line(error)}; start the server, correct DB_HOST and DB_PORT, "
                    "or unset DB_HOST to use the embedded one."
                )

    @property
    def _init_command(self) -> str:
        return f"`python -m alphapulse.db init postgresql://ADMIN:PASSWORD@{self.host}:{self.port}/postgres`"

    def close(self) -> None:
        """Close idle connections."""
        self.sync_engine.dispose()


def open_database(db: "DatabaseConfig | None" = None, *, upgrade: bool = True) -> Database:
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
    database = locate_database(db)
    if database.embedded:
        _create_embedded(database)
    server_version, revision = database.run(_probe(database))
    if server_version // 10_000 < OLDEST_SERVER:
        raise DatabaseError(
            f"PostgreSQL >= {OLDEST_SERVER} is needed, but the server at {database.address} is "
            f"{server_version // 10_000}.{server_version % 100}; upgrade it, or unset DB_HOST to use the embedded one."
        )
    if upgrade:
        upgrading.bring_up_to_date(database, revision)
    return database


def chosen_settings(db: "DatabaseConfig | None" = None) -> Settings:
    """Return the settings of the environment, with what is not None in `db` in their place."""
    settings = read_settings()
    if db is None:
        return settings
    given = {name: getattr(db, name) for name in ("host", "port", "name", "user", "password")}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def locate_database(db: "DatabaseConfig | None" = None) -> Database:
    """Return the database that the configuration and the environment name, the embedded server started."""
    settings = chosen_settings(db)
    if settings.host is None:
        socket = embedded.ensure_server(settings.home)
        return Database(str(socket), embedded.PORT, settings.name, embedded.SUPERUSER, "", embedded=True)
    return Database(settings.host, settings.port, settings.name, settings.user, settings.password)


async def _probe(database: Database) -> tuple[int, str | None]:
    """Return the server's version number and the schema's revision (None: no tables yet)."""
    connection = await _patient_connect(database)
    try:
        version = await connection.fetchval("SELECT current_setting('server_version_num')::int")
        revision = None
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is not None:
            revision = await connection.fetchval("SELECT version_num FROM alembic_version")
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
    maintenance = replace(database, name="postgres")
    exists = text("SELECT 1 FROM pg_database WHERE datname = :name")
    with maintenance.one_line_errors():
        with maintenance.sync_engine.connect() as connection:
            if connection.scalar(exists, {"name": database.name}):
                return
        with contextlib.suppress(sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            # Another command may create it in the same moment; what else can fail shows when we enter it.
            create_database(maintenance, database.name)


def create_database(maintenance: Database, name: str, owner: str | None = None) -> None:
    """Create database `name` through a connection to another one."""
    with maintenance.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quote = connection.dialect.identifier_preparer.quote
        ownership = "" if owner is None else f" OWNER {quote(owner)}"
        connection.execute(text(f"CREATE DATABASE {quote(name)}{ownership} TEMPLATE template0 ENCODING 'UTF8'"))


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def _event_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="alphapulse-database", daemon=True).start()
        return _loop
