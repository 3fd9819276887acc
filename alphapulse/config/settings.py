"""What the environment says: the database server and the data directory. The only reader of `os.environ`."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from alphapulse.errors import ConfigError

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 5432
DEFAULT_NAME = "backtesting"
DEFAULT_USER = "devuser"
DEFAULT_PASSWORD = "devpassword"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""Of libpq; the last two find the server's certificate authority where PGSSLROOTCERT says, as every client does."""


@dataclass(frozen=True)
class Settings:
    """Where the database is and who enters it.

    Attributes
    ----------
    host : str, optional
        Server name, address or socket directory (`DB_HOST`); None is the embedded server.
    port : int
        It is read from `DB_PORT`.
    name, user, password : str
        They are read from `DB_NAME`, `DB_USER` and `DB_PASS`.
    sslmode : str, optional
        One of `SSL_MODES` (`DB_SSLMODE`); None encrypts where the server can.
    home : Path
        Directory of the embedded server and of what commands keep between runs (`ALPHAPULSE_HOME`).
    ray_address : str, optional
        Ray cluster that commands join unless told otherwise (`RAY_ADDRESS`, which `ray job submit` sets); None or
        "local" is one of this machine's own.
    """

    host: str | None = None
    port: int = DEFAULT_PORT
    name: str = DEFAULT_NAME
    user: str = DEFAULT_USER
    password: str = field(default=DEFAULT_PASSWORD, repr=False)
    sslmode: str | None = None
    home: Path = field(default_factory=lambda: Path(platformdirs.user_data_dir("alphapulse")))
    ray_address: str | None = None


CELL_PREFIX = "cell_"
"""What the names of modules begin with that hold strategies of notebooks and scripts."""


def cells_folder() -> Path:
    """Return the folder of the modules that hold strategies of notebooks and scripts."""
    return read_settings().home / "cells"


def check_port(name: str, value: str | int) -> int:
    """Return `value` as a TCP port, or raise ConfigError that names the key `name`."""
    try:
        port = int(value)
    except ValueError:
        port = 0
    if not 1 <= port <= 65535:
        raise ConfigError(f"`{name}` must be a whole number in [1, 65535], but got {value!r}.")
    return port


def _check_sslmode(value: str | None) -> str | None:
    if value is not None and value not in SSL_MODES:
        raise ConfigError(f"`DB_SSLMODE` must be one of {', '.join(SSL_MODES)}, but got {value!r}.")
    return value


def read_settings() -> Settings:
    """Return the settings of this moment's environment; an empty variable counts as unset.

    Raises
    ------
    ConfigError
        If `DB_PORT` is not a port, or `DB_SSLMODE` not one of `SSL_MODES`.
    """
    environment = {key: value for key, value in os.environ.items() if value}
    home = environment.get("ALPHAPULSE_HOME")
    return Settings(
        host=environment.get("DB_HOST"),
        port=check_port("DB_PORT", environment.get("DB_PORT", DEFAULT_PORT)),
        name=environment.get("DB_NAME", DEFAULT_NAME),
        user=environment.get("DB_USER", DEFAULT_USER),
        password=environment.get("DB_PASS", DEFAULT_PASSWORD),
        sslmode=_check_sslmode(environment.get("DB_SSLMODE")),
        ray_address=environment.get("RAY_ADDRESS"),
        home=Path(home).expanduser().absolute() if home else Path(platformdirs.user_data_dir("alphapulse")),
    )


@contextlib.contextmanager
def without_password() -> Iterator[None]:
    """Keep `DB_PASS` out of the environment of what is started meanwhile: a worker never enters the database."""
    password = os.environ.pop("DB_PASS", None)
    try:
        yield
    finally:
        if password is not None:
            os.environ["DB_PASS"] = password


def take_colours_from_ray() -> None:
    """Have Ray print what it prints in this process without escape codes, unless the user says otherwise."""
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
