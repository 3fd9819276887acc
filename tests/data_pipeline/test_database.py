import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import make_url, text

from alphapulse.config.schema import DatabaseConfig
from alphapulse.data_pipeline import opening as module
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import chosen_settings, locate_database, open_database
from alphapulse.data_pipeline.upgrading import revisions
from alphapulse.errors import ConfigError, DatabaseError

PASSWORD = "p@ss:/w#rd %41\"'?&="


def test_url_survives_any_password():
    database = Database("db.example", 5433, "backtesting", "dev:user@x", PASSWORD)
    url = make_url(database.url(show_password=True))
    assert (url.password, url.username, url.host, url.port) == (PASSWORD, "dev:user@x", "db.example", 5433)
    assert make_url(database.optuna_url).query["options"] == "-csearch_path=optuna"


def test_password_is_not_shown_by_accident():
    database = Database("db.example", 5433, "backtesting", "devuser", "hunter2")
    for shown in (repr(database), str(database), database.url(), repr(database.sync_engine)):
        assert "hunter2" not in shown
    assert "devuser" in str(database)


def test_url_takes_a_socket_directory():
    url = make_url(Database("/run/pg sock", 5433, "backtesting", "devuser", "x").url())
    assert (url.host, url.query["host"], url.port) == (None, "/run/pg sock", 5433)


def test_chosen_settings_prefer_the_configuration(monkeypatch):
    monkeypatch.setenv("DB_HOST", "from.environment")
    monkeypatch.setenv("DB_NAME", "environment")
    settings = chosen_settings(DatabaseConfig(host="from.config", port=1234))
    assert (settings.host, settings.port, settings.name) == ("from.config", 1234, "environment")


def test_sslmode_reaches_every_way_in(monkeypatch):
    monkeypatch.setenv("DB_HOST", "db.example")
    assert "ssl" not in locate_database().url()
    monkeypatch.setenv("DB_SSLMODE", "require")
    assert locate_database().asyncpg_options["ssl"] == "require"
    database = locate_database(DatabaseConfig(sslmode="verify-full"))
    assert make_url(database.url()).query["sslmode"] == "verify-full"
    assert make_url(database.optuna_url).query["sslmode"] == "verify-full"
    assert locate_database(DatabaseConfig(host="/run/postgres")).asyncpg_options.keys().isdisjoint({"ssl"})
    with pytest.raises(ConfigError, match=r"`db.sslmode` must be one of disable, .*; did you mean 'require'"):
        DatabaseConfig(sslmode="requir")
    monkeypatch.setenv("DB_SSLMODE", "yes")
    with pytest.raises(ConfigError, match="`DB_SSLMODE` must be one of"):
        locate_database()


@pytest.mark.postgres
def test_open_database_gives_every_way_in(database):
    with database.sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ohlcv_data")) == 0

    async def own_connection():
        own = await database.connect()
        try:
            return await own.fetchval("SELECT current_database()")
        finally:
            await own.close()

    assert database.run(own_connection()) == database.name
    assert database.fetch("SELECT current_database() AS name, $1::int AS n", 7)[0]["n"] == 7

    async def inside_a_loop():
        return database.run(asyncio.sleep(0, "done"))

    assert asyncio.run(inside_a_loop()) == "done"


@pytest.mark.postgres
def test_open_database_from_many_threads_at_once(database, monkeypatch):
    monkeypatch.setenv("DB_NAME", "concurrent")
    if not database.embedded:
        pytest.skip("a server's role may not create databases")
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(), range(4)))
    with opened[0].sync_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM trial_named")) == 0
    for each in opened:
        each.close()


@pytest.mark.postgres
def test_errors_of_the_server_are_one_line(database):
    missing = replace(database, name="absent")
    with pytest.raises(DatabaseError, match=r"No database 'absent' at [^\n]*python -m alphapulse.db init[^\n]*$"):
        missing.run(missing.connect())
    with pytest.raises(DatabaseError, match=r"No answer from the database [^\n]*:1 as [^\n]*DB_HOST[^\n]*$"):
        open_database(DatabaseConfig(host="127.0.0.1", port=1))
    with pytest.raises(DatabaseError, match=r"No answer from [^\n]*no.such.host.invalid[^\n]*$"):
        open_database(DatabaseConfig(host="no.such.host.invalid"))
    with (
        pytest.raises(DatabaseError, match=r'refused: [^\n]*relation "absent"[^\n]*$'),
        database.one_line_errors(),
        database.sync_engine.connect() as connection,
    ):
        connection.execute(text("SELECT * FROM absent"))


@pytest.mark.postgres
def test_open_database_refuses_what_it_cannot_use(database, monkeypatch):
    monkeypatch.setattr(module, "OLDEST_SERVER", 99)
    with pytest.raises(DatabaseError, match=r"PostgreSQL >= 99 is needed, but the server at .* is 1"):
        open_database()
    monkeypatch.undo()
    with database.sync_engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        with pytest.raises(DatabaseError, match=r"has revision '9999', but .* upgrade alphapulse"):
            open_database()
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{revisions()[-1]}'"))
