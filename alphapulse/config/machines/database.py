"""Where studies and bars are stored (`db`)."""

from dataclasses import dataclass, field

from alphapulse.config.groups import at_least, within


@dataclass(frozen=True)
class DatabaseConfig:
    """Which database (`db`); null takes the value of DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASS.

    Without a host in either place, a PostgreSQL server of alphapulse's own runs in the user's data directory. `wait` is
    how long a sweep waits for a database that is away for a while: restarted, full, locked, cut off [s].
    """

    host: str | None = None
    port: int | None = None
    name: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    wait: float = 600.0

    def __post_init__(self) -> None:
        at_least("db.wait", self.wait, 0)
        if self.port is not None:
            within("db.port", self.port, 1, 65535)
