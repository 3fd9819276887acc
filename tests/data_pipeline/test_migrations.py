import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.upgrading import TABLES, bring_up_to_date, migrate, revisions
from alphapulse.errors import DatabaseError
from alphapulse.study.tables import metadata

pytestmark = pytest.mark.postgres

CHECKOUT = Path(__file__).parents[2]


def relations(database: Database) -> set[str]:
    inspector = inspect(database.sync_engine)
    return {*inspector.get_table_names(), *inspector.get_view_names()} - {"alembic_version"}


def differences(database: Database) -> list:
    with database.sync_engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), metadata)


def test_table_that_is_gone_is_named_before_anything_else(database):
    assert set(TABLES) == set(metadata.tables)
    rename = "ALTER TABLE {} RENAME TO {}"
    with database.sync_engine.begin() as connection:
        connection.execute(text(rename.format("trial_blocks", "elsewhere")))
    try:
        with pytest.raises(DatabaseError, match="lacks what it had: table 'trial_blocks' is gone; restore it"):
            open_database()
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(text(rename.format("elsewhere", "trial_blocks")))
    open_database().close()


def test_migrations_go_down_to_blank_and_up_again(database):
    everything = {
        "ohlcv_data",
        "ingest",
        "corporate_action",
        "ohlcv_rejected",
        "sweep",
        "trial",
        "trial_symbol",
        "trial_blocks",
        "null_sweep",
        "ledger",
        "holdout_opening",
        "trial_params",
        "trial_named",
    }
    assert relations(database) == everything
    migrate(database, "base")
    assert relations(database) == set()
    migrate(database, "0001")
    assert relations(database) == {"ohlcv_data"}
    migrate(database)
    assert relations(database) == everything
    migrate(database, "0001")
    with database.sync_engine.begin() as connection:
        connection.execute(text("INSERT INTO ohlcv_data VALUES ('2020-01-01Z', 'A', '1d', 1, 2, 0.5, 1, 10)"))
    bring_up_to_date(database, "0001")
    assert relations(database) == everything
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ohlcv_data")) == 1


def test_migrations_make_what_the_models_say(database):
    assert differences(database) == []
    columns = [column["name"] for column in inspect(database.sync_engine).get_columns("trial")]
    assert [name for name in columns if name in METRICS] == list(METRICS)
    assert revisions() == ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011"]


def test_studies_from_before_the_column_have_the_first_definitions(database):
    migrate(database, "0002")
    with database.sync_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO sweep (name, config, space, seed, objectives, directions, fingerprint, code_version, "
                "packages, status, n_trials) VALUES ('old', '{}', '[]', 0, '{cagr}', '{maximize}', '', '', '{}', "
                "'COMPLETE', 0)"
            )
        )
    migrate(database)
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT definitions FROM sweep WHERE name = 'old'")) == 1
        # Its bars are not known, so that its trials count wherever its symbol is searched again.
        assert connection.scalar(text("SELECT isfinite(start_at) FROM ledger WHERE name = 'old'")) is False


def test_labels_of_one_length_become_one(database):
    migrate(database, "0005")
    with database.sync_engine.begin() as connection:
        for stamp, label, close in (("01", "60m", 1), ("01", "1h", 2), ("02", "60m", 1), ("06", "1w", 1)):
            row = f"('2020-01-{stamp}Z', 'A', '{label}', 1, 3, 1, {close}, 10)"
            connection.execute(text(f"INSERT INTO ohlcv_data VALUES {row}"))
    migrate(database)
    with database.sync_engine.connect() as connection:
        rows = connection.execute(text("SELECT timeframe, close FROM ohlcv_data ORDER BY timestamp")).all()
    assert [tuple(row) for row in rows] == [("1h", 2), ("1h", 1), ("1wk", 1)]


OWN_TABLES = {
    "the plan's own": """
        CREATE TABLE ohlcv_data (timestamp timestamptz NOT NULL, symbol text NOT NULL, timeframe text NOT NULL,
            open double precision, high double precision, low double precision, close double precision,
            volume double precision, PRIMARY KEY (timestamp, symbol, timeframe))""",
    "whole volumes": """
        CREATE TABLE ohlcv_data (id bigserial PRIMARY KEY, timestamp timestamp NOT NULL, symbol varchar(20) NOT NULL,
            timeframe varchar(5) NOT NULL, open numeric(12, 4), high numeric(12, 4), low numeric(12, 4),
            close numeric(12, 4), volume bigint NOT NULL, exchange text NOT NULL)""",
    "no volume, no key": """
        CREATE TABLE ohlcv_data (timestamp timestamptz, symbol text, timeframe text, open real, high real, low real,
            close real)""",
}


@pytest.mark.parametrize("name", OWN_TABLES)
def test_a_table_that_is_there_already_is_taken_over(database, capsys, name):
    migrate(database, "base")
    columns = "timestamp, symbol, timeframe, open, high, low, close"
    values = "'2020-01-02 00:00', 'A', '60m', 1.5, 2, 0.5, 1.25"
    if name == "whole volumes":
        columns, values = f"{columns}, volume, exchange", f"{values}, 10, 'X'"
    with database.sync_engine.begin() as connection:
        connection.execute(text(OWN_TABLES[name]))
        connection.execute(text(f"INSERT INTO ohlcv_data ({columns}) VALUES ({values})"))
    try:
        bring_up_to_date(database, None)
        said = capsys.readouterr().err
        assert "note: the table ohlcv_data was there already and is taken over with its 1 bars" in said
        bars = read_bars(database, "A", "1h")
        assert (bars.open.tolist(), bars.close.tolist()) == ([1.5], [1.25])
        assert bars.timestamp[0] == pd.Timestamp("2020-01-02").value
        index = pd.date_range("2020-01-02", periods=5, freq="h", tz="UTC")
        rows = pd.DataFrame({"timestamp": index, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 0.5})
        (written,) = write_bars(database, [checked("A", "1h", rows)])
        assert (written.n_new, written.n_changed) == (4, 1)
    finally:
        migrate(database, "base")
        migrate(database)


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ("date timestamptz, symbol text, open real", [], "without the column timestamp, timeframe, high, low, close"),
        (
            "timestamp timestamptz, symbol text, timeframe text, open real, high real, low real, close real",
            ["'2020-01-02Z', 'A', '1d', 1, 1, 1, NULL"],
            "with 1 rows that lack a price or their key; delete them",
        ),
        (
            "timestamp timestamptz, symbol text, timeframe text, open real, high real, low real, close real",
            ["'2020-01-02Z', 'A', '1d', 1, 1, 1, 1"] * 2,
            "with 1 bars that come twice",
        ),
    ],
)
def test_a_table_that_cannot_be_taken_over_is_left_alone(database, table, rows, message):
    migrate(database, "base")
    with database.sync_engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE ohlcv_data ({table})"))
        for row in rows:
            connection.execute(text(f"INSERT INTO ohlcv_data VALUES ({row})"))
    try:
        with pytest.raises(DatabaseError, match=message) as caught:
            bring_up_to_date(database, None)
        assert "\n" not in str(caught.value)
        with database.sync_engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM ohlcv_data")) == len(rows)
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(text("DROP TABLE ohlcv_data"))
        migrate(database)


@pytest.mark.skipif(not (CHECKOUT / "alembic.ini").exists(), reason="needs the checkout")
def test_alembic_command_works_from_the_checkout(database, environment):
    for arguments in (["upgrade", "head"], ["upgrade", "head", "--sql"]):
        completed = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=CHECKOUT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
    assert "CREATE VIEW trial_named" in completed.stdout


@pytest.mark.timescaledb
def test_bars_are_a_hypertable(database):
    with database.sync_engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")) is None:
            pytest.skip("the server has no TimescaleDB")
        names = connection.scalars(text("SELECT hypertable_name FROM timescaledb_information.hypertables")).all()
    assert names == ["ohlcv_data"]
