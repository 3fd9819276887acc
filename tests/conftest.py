"""Fixtures that several folders of tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import ProgrammingError

from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.embedded import stop_server
from alphapulse.data_pipeline.opening import create_database, locate_database, open_database

pytest_plugins = ["study_fixtures"]

TABLES = (
    *("ohlcv_data", "ingest", "corporate_action", "ohlcv_rejected"),
    *("sweep", "trial", "trial_symbol", "trial_blocks", "null_sweep", "ledger", "holdout_opening"),
)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A data directory for the whole session, that also a server started by root can enter."""
    folder = Path(tempfile.mkdtemp(prefix="alphapulse-"))
    folder.chmod(0o755)
    yield folder
    stop_server(folder, mode="immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def environment(home: Path) -> Iterator[dict[str, str]]:
    """The environment of every test and of the commands that tests start: nothing of the user's is touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHAPULSE_HOME", str(home))
        patch.setenv("OMP_NUM_THREADS", "1")
        if os.environ.get("DB_HOST"):
            patch.setenv("DB_NAME", make_test_database(locate_database()))
        yield dict(os.environ)


def make_test_database(database: Database) -> str:
    """Return the name of a database on a server of the user's that the tests may empty."""
    name = f"{database.name}_test"
    with database.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        quoted = connection.dialect.identifier_preparer.quote(name)
        try:
            connection.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))
            create_database(database, name)
        except ProgrammingError:
            # Without the right to make one, the named database will do if there is nothing to lose in it.
            present = set(TABLES) & set(inspect(connection).get_table_names())
            if any(connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")) for table in present):
                pytest.exit(
                    f"The tests empty the tables of {database}, which hold rows; set DB_NAME to an empty database, "
                    "or let the role create databases.",
                    returncode=1,
                )
            return database.name
        return name


@pytest.fixture(scope="session")
def session_database(environment: dict[str, str]) -> Iterator[Database]:
    """The embedded server, or the one that DB_* name, migrated to head."""
    database = open_database()
    yield database
    database.close()


@pytest.fixture(scope="session")
def ray_cluster(environment: dict[str, str]) -> Iterator[Path]:
    """A Ray cluster of two CPUs for the whole session, by its folder; sweeps run in this process use it as it is.

    It is one of the tests' own, whatever else runs here: the cluster of a driver that a test has just killed may still
    answer at the address that Ray keeps of the last one started.
    """
    import ray

    context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield Path(context.address_info["session_dir"])
    ray.shutdown()


@pytest.fixture
def database(session_database: Database) -> Iterator[Database]:
    """The session's database; what a test leaves in its tables is removed."""
    yield session_database
    clean(session_database)


def clean(database: Database) -> None:
    """Empty all tables, Optuna's too."""
    with database.sync_engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
        connection.execute(text("DROP SCHEMA IF EXISTS optuna CASCADE"))
