"""One database: where it is, the ways into it, and what its errors mean to whoever runs a command.

SQLAlchemy is imported where it is used: what a sweep does before its first trial goes without.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from alphapulse.config.settings import read_settings
from alphapulse.data_pipeline.patience import Patience
from alphapulse.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

Result = TypeVar("Result")

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
    sslmode : str, optional
        How the connection is encrypted, see `SSL_MODES`; None where the server can, and never on a socket.
    wait : float
        How long a query waits for the database where it is away for a while [s].
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    embedded: bool = False
    sslmode: str | None = None
    wait: float = 0.0

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

    def _url(self, driver: str, schema: str | None = None) -> "URL":
        from sqlalchemy import URL

        is_socket = self.host.startswith("/")
        query = {"host": self.host} if is_socket else {}
        if self.sslmode is not None and not is_socket:
            query["sslmode" if driver == "psycopg" else "ssl"] = self.sslmode
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
    def sync_engine(self) -> "Engine":
        """SQLAlchemy engine over psycopg."""
        from sqlalchemy import create_engine

        return create_engine(
            self._url("psycopg"), pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT}
        )

    @property
    def asyncpg_options(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect`."""
        options = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password or None,
            "database": self.name,
            "timeout": CONNECT_TIMEOUT,
        }
        is_encrypted = self.sslmode is not None and not self.host.startswith("/")
        return options | {"ssl": self.sslmode} if is_encrypted else options

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

    def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return the rows of a query that runs on a connection of its own; `arguments` are $1, $2 and so on.

        Where the database is away it is asked again, for up to `wait`, so the query must change nothing that it
        has changed already.
        """

        async def fetch() -> list[asyncpg.Record]:
            connection = await self.connect()
            try:
                return list(await connection.fetch(query, *arguments))
            finally:
                await connection.close()

        return self.run(self.patience.until_done(fetch))

    @property
    def patience(self) -> Patience:
        """How long it is waited for."""
        return Patience(self.wait, str(self), revive=self._revive if self.embedded else None)

    def _revive(self) -> None:
        """Start the embedded server, which may have died of a full disk or of the system's lack of memory."""
        from alphapulse.data_pipeline.embedded import revive_server

        revive_server(read_settings().home, Path(self.host))

    @contextlib.contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn what the drivers raise into a DatabaseError of one line."""
        try:
            yield
        except DatabaseError:
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            raise self._explain(error) from error
        except Exception as error:
            from sqlalchemy.exc import DBAPIError

            if not isinstance(error, DBAPIError):
                raise
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
            case asyncpg.ReadOnlySQLTransactionError():
                return DatabaseError(f"The {self} is read-only; make it writable, and run the same command again.")
            case asyncpg.QueryCanceledError() | asyncpg.LockNotAvailableError():
                return DatabaseError(
                    f"The {self} ended a query: {_first_line(error)}; raise its statement_timeout or lock_timeout, or "
                    "end what holds the lock."
                )
            case asyncpg.OperatorInterventionError() | asyncpg.PostgresConnectionError():
                return DatabaseError(f"The {self} went away: {_first_line(error)}; run the same command again later.")
            case asyncpg.UndefinedTableError():
                return DatabaseError(
                    f"The {self} lacks a table: {_first_line(error)}; restore it from a backup, or set DB_NAME to "
                    "another database."
                )
            case asyncpg.PostgresError():
                return DatabaseError(f"The {self} refused: {_first_line(error)}.")
            case _ if self.embedded:
                return DatabaseError(
                    f"No answer from the embedded database at {self.address}: {_first_line(error)}; it was stopped "
                    "meanwhile, and the same command starts it again."
                )
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
        if "sync_engine" in vars(self):
            self.sync_engine.dispose()


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def _event_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _loop_lock:
        if _loop is None:
            # What it warns of when a connection is cut is told as what it is.
            logging.getLogger("asyncio").setLevel(logging.ERROR)
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="alphapulse-database", daemon=True).start()
        return _loop
