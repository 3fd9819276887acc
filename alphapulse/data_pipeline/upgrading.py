"""Bring the tables up to date: Alembic's migrations, under a lock that concurrent commands share."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alphapulse.config.found import resource_dir
from alphapulse.data_pipeline.database import Database
from alphapulse.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

TABLES = (
    *("ohlcv_data", "ingest", "corporate_action", "ohlcv_rejected"),
    *("sweep", "trial", "trial_symbol", "trial_blocks", "null_sweep", "ledger", "holdout_opening"),
)
"""What the newest revision has."""

# Any number; the same for all commands that upgrade one database.
UPGRADE_LOCK = 0x616C706861


def revisions() -> list[str]:
    """Return the names of all revisions, oldest first: the leading digits of the migrations' file names."""
    return sorted(path.name.split("_")[0] for path in (resource_dir("migrations") / "versions").glob("[0-9]*_*.py"))


def bring_up_to_date(database: Database, revision: str | None) -> None:
    """Upgrade the tables from `revision` (None: there are none) to the newest, if there is a newer one.

    Raises
    ------
    DatabaseError
        If the database is newer than this package, or the role may not alter it.
    """
    known = revisions()
    if revision is not None and revision not in known:
        raise DatabaseError(
            f"The {database} has revision {revision!r}, but this version of alphapulse knows none after "
            f"{known[-1]!r}; upgrade alphapulse, or set DB_NAME to another database."
        )
    if revision != known[-1]:
        migrate(database)


def migrate(database: Database, target: str = "head") -> None:
    """Upgrade (or, to an older `target` or "base", downgrade) the tables in one transaction."""
    # Most commands find the tables up to date and do without Alembic and SQLAlchemy.
    from alembic import command
    from sqlalchemy import text

    with database.one_line_errors(), upgrade_transaction(database) as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        current = connection.scalar(text("SELECT to_regclass('alembic_version')"))
        revision = current and connection.scalar(text("SELECT version_num FROM alembic_version"))
        goes_down = target == "base" or (target != "head" and (revision or "") > target)
        (command.downgrade if goes_down else command.upgrade)(config, target)


def alembic_config() -> "Config":
    """Return the configuration that `alembic.ini` holds for the command line."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resource_dir("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextlib.contextmanager
def upgrade_transaction(database: Database) -> "Iterator[Connection]":
    """Yield a connection in a transaction that no other upgrade shares; hypertables are made before it ends."""
    from sqlalchemy import text

    from alphapulse.data_pipeline import timescale

    with database.sync_engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": UPGRADE_LOCK})
        connection.commit()
        try:
            timescale.install_extension(database.sync_engine)
            with connection.begin():
                yield connection
                timescale.make_hypertable(connection)
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": UPGRADE_LOCK})
            connection.commit()
