"""Where studies and bars are stored (`db`)."""

from dataclasses import dataclass, field

from alphapulse.config.groups import at_least, one_of, within
from alphapulse.config.settings import SSL_MODES


@dataclass(frozen=True)
class DatabaseConfig:
    """Which database (`db`); null takes the value of DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASS, DB_SSLMODE.

    Without a host in either place, a PostgreSQL server of alphapulse's own runs in the user's data directory. `sslmode`
    is one of libpq's ("verify-full" checks who answers; null encrypts where the server can). `wait` is how long a sweep
    waits for a database that is away for a while: restarted, full, locked, cut off [s].
    """

    host: str | None = None
    port: int | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    wait: float = 600.0

    def __post_init__(self) -> None:
        at_least("db.wait", self.wait, 0)
        if self.sslmode is not None:
            one_of("db.sslmode", self.sslmode, SSL_MODES)
        if self.port is not None:
            within("db.port", self.port, 1, 65535)
