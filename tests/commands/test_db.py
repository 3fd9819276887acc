import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from made_studies import open_study
from sqlalchemy import text

from alphapulse.commands.db import compress, initialise, run_database_command, status, stop, upgrade
from alphapulse.config.schema import DatabaseCommandConfig, DatabaseConfig
from alphapulse.data_pipeline.embedded import SUPERUSER, stop_server
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import ConfigError, DatabaseError
from alphapulse.study.optuna.mirror import mirror_all
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres

ROLE = DatabaseConfig(host="ignored", name="my data", user="dev-user", password="p@ss:/w#rd %41\"'?&=")


@pytest.fixture
def admin_url(session_database):
    if not session_database.embedded:
        pytest.skip("needs the rights of an administrator")
    yield f"postgresql://{SUPERUSER}@/postgres?host={session_database.host}"
    with session_database.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text('DROP DATABASE IF EXISTS "my data" WITH (FORCE)'))
        for role in ("people write", "people read", "my data_writer", "my data_reader", "dev-user"):
            connection.execute(text(f'DROP ROLE IF EXISTS "{role}"'))


def test_initialise_makes_role_and_database_once(admin_url, session_database):
    for _ in range(2):
        said = initialise(ROLE, admin_url)
        assert said.startswith("Ready: database 'my data'")
        assert f"DB_HOST={session_database.host}" in said
        assert ROLE.password not in said
    database = open_database(DatabaseConfig(session_database.host, 5432, ROLE.name, ROLE.user, ROLE.password))
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM trial")) == 0
        is_superuser, hashed = connection.execute(
            text("SELECT rolsuper, rolpassword LIKE '%%****%%' FROM pg_roles WHERE rolname = 'dev-user'")
        ).one()
    database.close()
    assert (is_superuser, hashed) == (False, True)


def test_initialise_lets_a_role_in_to_a_database_that_exists(admin_url, session_database):
    with session_database.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text('CREATE DATABASE "my data"'))
    assert initialise(ROLE, admin_url).startswith("Ready")


def test_members_of_the_writer_write_and_those_of_the_reader_read(admin_url, session_database):
    said = initialise(ROLE, admin_url)
    assert "Members of 'my data_writer' write studies and bars, those of 'my data_reader' only read them." in said
    with session_database.sync_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for role in ("write", "read"):
            group = f"my data_{role.removesuffix('e')}er"
            connection.execute(text(f'CREATE ROLE "people {role}" LOGIN IN ROLE "{group}"'))

    def enter(role):
        return open_database(DatabaseConfig(session_database.host, 5432, ROLE.name, f"people {role}", ""))

    writer, reader = enter("write"), enter("read")
    made = open_study(Store(writer))
    mirror_all(writer)
    assert Store(reader).find_study(made.name).id == made.id
    with pytest.raises(DatabaseError, match="lacks a right: permission denied"):
        open_study(Store(reader), "another")
    for database in (writer, reader):
        database.close()


def test_initialise_without_an_address_takes_what_is_there(session_database):
    assert initialise().startswith(f"Ready: {session_database}; revision ")
    assert upgrade().startswith(f"Up to date: {session_database}; revision ")


@pytest.mark.parametrize("url", ["postgresql://x:secret@host:port/y z", "secret", "mysql://u:secret@host/db", ""])
def test_initialise_refuses_what_is_no_address_without_showing_it(url):
    with pytest.raises(ConfigError, match=r"`admin_url` must be like postgresql://") as caught:
        initialise(None, url)
    assert "secret" not in str(caught.value)


def test_initialise_says_that_the_server_is_down():
    with pytest.raises(DatabaseError, match=r"^No answer from the database 'postgres' at 127.0.0.1:1 [^\n]*$"):
        initialise(None, "postgresql://postgres:secret@127.0.0.1:1/postgres")


def test_commands_print_one_line(environment, session_database):
    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, "-m", "alphapulse.db", *arguments],
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    told = run("url")
    assert (told.returncode, told.stdout.strip()) == (0, session_database.url())
    # A server of one's own has a password, and a line that says that it is hidden.
    assert bool(told.stderr) != session_database.embedded
    hidden = run("url", DB_HOST="127.0.0.1", DB_PASS="secret")
    assert ":***@127.0.0.1" in hidden.stdout
    assert hidden.stderr.splitlines() == [
        "The password is hidden; show_password=true prints the URL as other programs need it."
    ]
    shown = run("url", "show_password=true", DB_HOST="127.0.0.1", DB_PASS="secret")
    assert (":secret@127.0.0.1" in shown.stdout, shown.stderr) == (True, "")
    refused = run("upgrade", DB_HOST="127.0.0.1", DB_PORT="1")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: No answer from the database ")
    assert len(refused.stderr.splitlines()) == 1


def test_url_of_optunas_tables_is_ready_to_use(environment, database, capsys):
    import optuna

    run_database_command(DatabaseCommandConfig(action="url", optuna=True))
    url = capsys.readouterr().out.strip()
    assert "options=-csearch_path%3Doptuna" in url
    study = optuna.create_study(study_name="own", storage=url)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert len(optuna.load_study(study_name="own", storage=url).trials) == 2
    with database.sync_engine.connect() as connection:
        found = connection.scalars(text("SELECT schemaname FROM pg_tables WHERE tablename = 'version_info'")).all()
        assert found == ["optuna"]
        assert connection.scalar(text("SELECT count(*) FROM alembic_version")) == 1


def test_dashboard_serves_studies_until_interrupted(environment, database):
    import optuna

    from alphapulse.study.optuna.tables import ensure_optuna_tables

    ensure_optuna_tables(database)
    optuna.create_study(study_name="shown", storage=database.optuna_url)
    command = [sys.executable, "-m", "alphapulse.dashboard", "port=0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            address, _, query = process.stdout.readline().split()[2].partition("?")
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with pytest.raises(urllib.error.HTTPError, match="401"):
                browser.open(f"{address}api/studies", timeout=60)
            browser.open(f"{address}?{query}", timeout=60).close()
            with browser.open(f"{address}api/studies", timeout=60) as answer:
                assert b'"study_name": "shown"' in answer.read()
            for name, value in (("Host", "evil.example:80"), ("Origin", "http://evil.example")):
                foreign = urllib.request.Request(f"{address}api/studies", headers={name: value})
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    browser.open(foreign, timeout=60)
        finally:
            os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_status_and_stop_of_the_embedded_server(environment, database):
    assert status() == f"Running: {database}, PostgreSQL {_version(database)}, {_size(database)}, 0 studies, 0 bars."
    store = Store(database)
    study = open_study(store, "busy")
    try:
        assert status().endswith("1 studies, 0 bars; busy being run.")
        if database.embedded:
            with pytest.raises(DatabaseError, match="'busy' is being run on the embedded server"):
                stop()
    finally:
        store.finish(study, "INTERRUPTED")
    with pytest.raises(ConfigError, match="`stop` is for the embedded server"):
        stop(DatabaseConfig(host="example"))


def _version(database):
    with database.sync_engine.connect() as connection:
        return connection.scalar(text("SHOW server_version"))


def _size(database):
    with database.sync_engine.connect() as connection:
        return connection.scalar(text("SELECT pg_size_pretty(pg_database_size(current_database()))"))


def test_stopped_server_starts_again(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="alphapulse-stop-"))
    folder.chmod(0o755)
    monkeypatch.setenv("ALPHAPULSE_HOME", str(folder))
    monkeypatch.delenv("DB_HOST", raising=False)
    try:
        assert "is stopped; the next command" in status()
        assert stop().endswith("is stopped already.")
        assert upgrade().startswith("Up to date")
        assert status().startswith("Running")
        assert stop() == f"Stopped the embedded server in {folder}; its data stay."
        assert "is stopped; the next command" in status()
        assert upgrade().startswith("Up to date")
    finally:
        stop_server(folder, mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def test_compress_needs_what_has_columns(database):
    with database.sync_engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")):
            pytest.skip("the server has TimescaleDB")
    with pytest.raises(DatabaseError, match="no TimescaleDB, so bars are a plain table") as caught:
        run_database_command(DatabaseCommandConfig("compress"))
    assert "\n" not in str(caught.value)


@pytest.mark.timescaledb
def test_compressed_bars_are_read_and_written_as_before(database):
    with database.sync_engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")) is None:
            pytest.skip("the server has no TimescaleDB")
    index = pd.date_range("2020-01-01", periods=200_000, freq="min", tz="UTC")
    rows = pd.DataFrame({"timestamp": index, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 1.0})
    write_bars(database, [checked("A", "1m", rows)])
    try:
        said = compress()
    except DatabaseError as error:
        pytest.skip(str(error))
    n_columns, _, n_chunks = said.split()[:3]
    # Chunks have been fitted to minutes before these were stored.
    assert n_columns == n_chunks
    assert int(n_chunks) >= 5
    assert compress() == said
    (written,) = write_bars(database, [checked("A", "1m", rows.assign(close=1.25))])
    assert (written.n_new, written.n_changed) == (0, 200_000)
    assert set(read_bars(database, "A", "1m").close) == {1.25}
