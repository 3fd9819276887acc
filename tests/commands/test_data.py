import json

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from alphapulse.commands.data import run_data
from alphapulse.config.schema import DataCommandConfig, DownloadDataConfig
from alphapulse.data_pipeline.manager import download
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.errors import ConfigError, DataError

pytestmark = pytest.mark.postgres


def store(database, symbol, timeframe, index, close=1.5):
    rows = pd.DataFrame({"timestamp": index, "open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": 10.0})
    write_bars(database, [checked(symbol, timeframe, rows)])


def shown(capsys, action, output="json", **data):
    options = {name: data.pop(name) for name in ("do", "ids") if name in data}
    run_data(DataCommandConfig(action, data=DownloadDataConfig(**data), output=output, **options))
    text = capsys.readouterr().out
    return json.loads(text) if output == "json" else text


def test_list_names_every_series(database, capsys):
    store(database, "[red]", "1d", pd.date_range("2020-01-01", periods=10, tz="UTC"))
    store(database, "B", "1h", pd.date_range("2020-01-02T14:30", periods=3, freq="h", tz="UTC"))
    rows = shown(capsys, "list")
    assert [(row["symbol"], row["n_bars"]) for row in rows] == [("B", 3), ("[red]", 10)]
    assert (rows[0]["first"], rows[0]["last"]) == ("2020-01-02T14:30Z", "2020-01-02T16:30Z")
    assert rows[1]["first"] == "2020-01-01"
    assert [row["symbol"] for row in shown(capsys, "list", symbols=("B", "C"))] == ["B"]
    assert [row["symbol"] for row in shown(capsys, "list", timeframe="1d")] == ["[red]"]
    assert "[red]" in shown(capsys, "list", output="table")


def test_list_of_nothing_says_what_to_do(database, capsys):
    assert shown(capsys, "list") == []
    assert "alphapulse.download" in shown(capsys, "list", output="table")


def test_an_action_is_needed():
    with pytest.raises(ConfigError, match="an action must be given"):
        DataCommandConfig()


def hold(database, **changes):
    """Store five days, of which `changes` make the third no bar."""
    index = pd.date_range("2020-01-01", periods=5, tz="UTC")
    rows = pd.DataFrame({"timestamp": index, "open": 1.1, "high": 2.0, "low": 1.0, "close": 1.5, "volume": 10.0})
    for name, value in changes.items():
        rows.loc[2, name] = value
    return write_bars(database, [checked("A", "1d", rows)], Source("csv", "a.csv"))[0]


def test_rejected_rows_are_shown_and_dropped(database, capsys):
    hold(database, open=0.0)
    (row,) = shown(capsys, "rejected")
    assert (row["symbol"], row["timeframe"], row["where"], row["source"]) == ("A", "1d", "2020-01-03", "csv a.csv")
    assert row["reason"] == "open is not positive"
    assert row["text"] == "2020-01-03T00:00:00+00:00 0 2 1 1.5 10"
    assert "open is not positive" in shown(capsys, "rejected", output="table")
    assert shown(capsys, "rejected", symbols=("B",)) == []
    shown(capsys, "rejected", do="drop", ids=(row["id"],))
    assert shown(capsys, "rejected") == []
    # The same row again is no news.
    hold(database, open=0.0)
    assert shown(capsys, "rejected") == []
    assert "No row is held back" in shown(capsys, "rejected", output="table")
    with pytest.raises(DataError, match="`ids` must name rows that are held"):
        shown(capsys, "rejected", do="drop", ids=(row["id"],))


@pytest.mark.parametrize(("before", "repaired"), [(1.5, 1.5), (9.0, 2.0), (0.5, 1.0)])
def test_a_missing_open_is_the_close_before_within_the_bar(database, capsys, before, repaired):
    hold(database, open=0.0)
    database.fetch("UPDATE ohlcv_data SET close = $1 WHERE timestamp = '2020-01-02Z'", before)
    shown(capsys, "rejected", do="release")
    bars = read_bars(database, "A", "1d")
    assert len(bars) == 5
    assert (bars.open[2], bars.close[2]) == (repaired, 1.5)
    assert shown(capsys, "rejected") == []


@pytest.mark.parametrize("changes", [{"close": float("nan")}, {"low": 3.0}, {"volume": -1.0}, {"high": 0.0}])
def test_what_cannot_be_a_bar_is_not_released(database, capsys, changes):
    hold(database, **changes)
    with pytest.raises(DataError, match=r"cannot be released.*alphapulse\.data rejected do=drop"):
        shown(capsys, "rejected", do="release")
    assert len(read_bars(database, "A", "1d")) == 4


def test_a_good_bar_takes_the_place_of_a_held_row(database, capsys):
    assert hold(database, open=0.0).n_rejected == 1
    hold(database, open=-1.0)
    (row,) = shown(capsys, "rejected")
    assert "-1 2 1 1.5 10" in row["text"]
    hold(database)
    assert shown(capsys, "rejected") == []


def test_do_and_ids_go_with_rejected():
    with pytest.raises(ConfigError, match="`do` and `ids` must go with rejected"):
        DataCommandConfig("list", do="drop")


def test_check_names_gaps_and_faults(database, capsys):
    index = pd.date_range("2020-01-01", periods=400, freq="h", tz="UTC")
    store(database, "A", "1h", index.delete(range(200, 220)))
    (row,) = shown(capsys, "check")
    assert (row["n_bars"], row["n_gaps"]) == (380, 1)
    assert any("gaps" in fault for fault in row["faults"])
    (gap,) = shown(capsys, "gaps")
    assert (gap["after"], gap["n_missing"]) == ("2020-01-09T07:00Z", 20)
    assert "A 1h: " in shown(capsys, "check", output="table")
    assert shown(capsys, "list")[0]["n_gaps"] == 1
    with pytest.raises(DataError, match="There are no such bars"):
        shown(capsys, "gaps", symbols=("B",))


@pytest.mark.parametrize("name", ["bars.parquet", "bars.csv", "folder"])
def test_export_is_imported_again_to_the_last_bit(database, tmp_path, capsys, name):
    rng = np.random.default_rng(0)
    for symbol in ("A/B", "C"):
        index = pd.date_range("2020-01-01", periods=50, tz="UTC") + pd.Timedelta(hours=22)
        store(database, symbol, "1d", index, close=rng.random(50) + 0.6)
    before = [read_bars(database, symbol, "1d") for symbol in ("A/B", "C")]
    path = tmp_path / name
    run_data(DataCommandConfig("export", path=str(path), output="json"))
    assert json.loads(capsys.readouterr().out)["n_rows"] == 100
    with database.sync_engine.begin() as connection:
        connection.execute(text("TRUNCATE ohlcv_data"))
    provider = CsvProvider(path)
    download(database, provider, DownloadDataConfig())
    for symbol, bars in zip(("A/B", "C"), before, strict=True):
        again = read_bars(database, symbol, "1d")
        assert again.timestamp.tolist() == bars.timestamp.tolist()
        assert again.close.tobytes() == bars.close.tobytes()


def test_export_needs_a_path(database, tmp_path, capsys):
    store(database, "A", "1d", pd.date_range("2020-01-01", periods=3, tz="UTC"))
    for path, message in ((None, "must name a file"), (str(tmp_path / "x.xls"), r"must end with \.parquet or \.csv")):
        with pytest.raises(ConfigError, match=message):
            run_data(DataCommandConfig("export", path=path))
