"""Writing goes on through what a database server lives through."""

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_studies import make_generation, open_study
from sqlalchemy import text

from alphapulse.data_pipeline import patience
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.embedded import ensure_server, stop_server
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.patience import Patience
from alphapulse.errors import DatabaseError
from alphapulse.study.store import Store

pytestmark = pytest.mark.postgres

TROUBLE = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF clock_timestamp() < '{until}'::timestamptz THEN
        RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE UPDATE ON sweep FOR EACH ROW EXECUTE FUNCTION trouble();
"""


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a server that a test may stop, which also a server started by root can enter."""
    folder = Path(tempfile.mkdtemp(prefix="alphapulse-"))
    folder.chmod(0o755)
    monkeypatch.delenv("DB_HOST", raising=False)
    monkeypatch.setenv("ALPHAPULSE_HOME", str(folder))
    yield folder
    stop_server(folder, mode="immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_server(own_home: Path) -> Iterator[Database]:
    """That server, with the patience of a sweep."""
    database = open_database()
    yield replace(database, wait=60.0)
    database.close()


def test_silence_of_the_server_is_told(monkeypatch):
    monkeypatch.setattr(patience, "SILENCE", 0.05)
    said = []

    async def slow():
        await asyncio.sleep(0.2)
        return 7

    assert asyncio.run(Patience(60.0, "server", say=said.append).until_done(slow)) == 7
    assert [line.partition(":")[0] for line in said] == [
        "The server has given no answer for 0.05 s",
        "The server has answered.",
    ]
    assert asyncio.run(Patience(0.0, "server", say=said.append).until_done(slow)) == 7
    assert len(said) == 2


def test_append_outlasts_a_restart_of_the_server(own_server, own_home, capsys):
    store = Store(own_server)
    study = open_study(store)
    store.append(study, make_generation(0)).result()
    stop_server(own_home)
    futures = [store.append(study, make_generation(number)) for number in (1, 2, 3)]
    time.sleep(1.5)
    assert not any(future.done() for future in futures)
    ensure_server(own_home)
    for future in futures:
        future.result(timeout=60)
    store.finish(study, "COMPLETE")
    found = store.find_study("s")
    assert (found.n_done, found.status) == (200, "COMPLETE")
    said = capsys.readouterr().err.splitlines()
    assert "is away (" in said[0]
    assert "waiting up to 60 s" in said[0]
    assert "is back after" in said[-1]


@pytest.mark.parametrize("code", ["53100", "53300", "25006", "55P03", "40P01", "57014", "57P01"])
def test_append_outlasts_trouble(database, code):
    patient = Store(replace(database, wait=30.0))
    study = open_study(patient)
    with database.sync_engine.begin() as connection:
        until = connection.scalar(text("SELECT clock_timestamp() + interval '1 second'"))
        connection.exec_driver_sql(TROUBLE.format(until=until.isoformat(), code=code))
    try:
        patient.append(study, make_generation(0)).result(timeout=30)
        patient.finish(study, "COMPLETE")
        assert patient.n_done(study) == 50
    finally:
        with database.sync_engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS trouble ON sweep; DROP FUNCTION trouble")


@pytest.mark.parametrize(
    ("code", "words"),
    [("53100", "is full"), ("25006", "is read-only"), ("57014", "statement_timeout"), ("P0001", "refused: trouble")],
)
def test_append_ends_in_one_line_when_patience_does(database, code, words):
    store = Store(replace(database, wait=0.0 if code != "P0001" else 60.0))
    study = open_study(store)
    with database.sync_engine.begin() as connection:
        connection.exec_driver_sql(TROUBLE.format(until="2999-01-01", code=code))
    try:
        with pytest.raises(DatabaseError, match=rf"^[^\n]*{words}[^\n]*$"):
            store.append(study, make_generation(0)).result(timeout=10)
    finally:
        with database.sync_engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER IF EXISTS trouble ON sweep; DROP FUNCTION trouble")
        store.close()


def test_append_finds_what_was_stored_though_the_answer_was_lost(database, monkeypatch):
    store = Store(replace(database, wait=30.0))
    study = open_study(store)
    writer = store._writers[study.id]
    write = writer._write_generation
    calls = []

    async def lose_the_answer(generation):
        await write(generation)
        calls.append(generation.number)
        if len(calls) == 1:
            writer.connection.terminate()
            raise ConnectionResetError("cut after the commit")

    monkeypatch.setattr(writer, "_write_generation", lose_the_answer)
    store.append(study, make_generation(0)).result(timeout=30)
    store.append(study, make_generation(1)).result(timeout=30)
    assert calls == [0, 1]
    store.finish(study, "COMPLETE")
    assert store.n_done(study) == 100


def test_append_keeps_a_bounded_spool_while_the_database_is_away(own_server, own_home, monkeypatch):
    monkeypatch.setattr("alphapulse.study.writer.SPOOL_BYTES", 100_000)
    store = Store(own_server)
    study = open_study(store)
    stop_server(own_home)
    appended = []

    def append() -> None:
        for number in range(20):
            appended.append(store.append(study, make_generation(number)))

    thread = threading.Thread(target=append)
    thread.start()
    time.sleep(1.0)
    assert 2 <= len(appended) < 20
    ensure_server(own_home)
    thread.join(timeout=60)
    assert not thread.is_alive()
    appended[-1].result(timeout=60)
    store.finish(study, "COMPLETE")
    assert store.n_done(study) == 1000


def test_embedded_server_that_died_is_started_again(own_server, own_home, monkeypatch):
    monkeypatch.setattr(patience, "REVIVED_AFTER", 1.0)
    store = Store(own_server)
    study = open_study(store)
    stop_server(own_home, mode="immediate")
    store.append(study, make_generation(0)).result(timeout=60)
    store.finish(study, "COMPLETE")
    assert store.n_done(study) == 50


async def _refuse() -> None:
    raise ConnectionRefusedError("nobody there")


def test_patience_of_zero_asks_once():
    import asyncio

    said = []
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(Patience(0.0, say=said.append).until_done(_refuse))
    assert said == []
