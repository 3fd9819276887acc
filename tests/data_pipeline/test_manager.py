import json
from dataclasses import replace

import made_bars
import pandas as pd
import pytest

from alphapulse.config.found import PROVIDER_NAMES
from alphapulse.config.schema import DownloadConfig, DownloadDataConfig, ProviderConfig, QualityConfig
from alphapulse.data_pipeline.files import rows
from alphapulse.data_pipeline.manager import download, make_provider, run_download
from alphapulse.data_pipeline.providers import csv_provider
from alphapulse.data_pipeline.storage import quarantine
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.errors import ConfigError, DataError, IncompleteError

pytestmark = pytest.mark.postgres

HEADER = "timestamp,symbol,timeframe,open,high,low,close,volume\n"


def config(name, path=None, output="json", **data):
    return DownloadConfig(ProviderConfig(name, path), DownloadDataConfig(**data), output=output)


def test_download_of_the_sample_twice(database, capsys):
    for expected in ((5031, 0, 0), (0, 0, 5031)):
        run_download(config("sample", symbols=("SAMPLE_SP500",)))
        (written,) = json.loads(capsys.readouterr().out)["written"]
        assert (written["n_new"], written["n_changed"], written["n_unchanged"]) == expected
    assert len(read_bars(database, "SAMPLE_SP500", "1d")) == 5031


def test_download_prints_a_table(database, capsys):
    run_download(config("sample", output="table", symbols=("SAMPLE_SP500",), start="2010-01-04", end="2010-01-08"))
    printed = capsys.readouterr().out
    for word in ("SAMPLE_SP500", "new", "changed", "unchanged", "rejected", "5"):
        assert word in printed


def test_download_of_a_file_with_bad_rows_stores_the_good_and_fails(database, tmp_path, capsys):
    path = tmp_path / "bars.csv"
    path.write_text(
        HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n2020-01-03,B,1d,0,2,0.5,1.5,10\n2020-01-06,A,1d,1,2,,1,1\n"
    )
    with pytest.raises(DataError, match="2 rows were rejected, the first at line 3: open is not positive") as caught:
        run_download(config("csv", str(path)))
    assert "\n" not in str(caught.value)
    result = json.loads(capsys.readouterr().out)
    assert [row["line"] for row in result["rejected"]] == [3, 4]
    assert len(read_bars(database, "A", "1d")) == 1


def test_download_asks_before_it_writes_over_another_source(database, tmp_path, capsys):
    path, other = tmp_path / "bars.csv", tmp_path / "other.csv"
    path.write_text(HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n2020-01-03,A,1d,1,2,0.5,1.5,10\n")
    other.write_text(HEADER + "2020-01-03,A,1d,1,2,0.5,1.7,10\n2020-01-06,A,1d,1,2,0.5,1.5,10\n")
    run_download(config("csv", str(path)))
    with pytest.raises(DataError, match=r"1 of 2 bars of 'A' 1d differ from those that .*bars\.csv.*replace=true"):
        run_download(config("csv", str(other)))
    assert read_bars(database, "A", "1d").close.tolist() == [1.5, 1.5]
    capsys.readouterr()
    run_download(replace(config("csv", str(other)), replace=True))
    (written,) = json.loads(capsys.readouterr().out)["written"]
    assert (written["n_new"], written["n_changed"]) == (1, 1)
    assert (written["first"], written["last"]) == ("2020-01-02T00:00:00Z", "2020-01-06T00:00:00Z")
    assert read_bars(database, "A", "1d").close.tolist() == [1.5, 1.7, 1.5]
    (source,) = database.fetch(
        "SELECT path, n_rows FROM ingest i JOIN ohlcv_data o ON ingest_id = i.id WHERE close=1.7"
    )
    assert (source["path"], source["n_rows"]) == (str(other), 2)


@pytest.mark.parametrize("output", ["json", "table"])
def test_download_of_a_file_of_bad_rows_only_names_the_first(database, tmp_path, output):
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "2020-01-02 09:30:00,A,1h,1,2,0.5,1.5,10\n2020-01-02,B,1x,1,2,0.5,1.5,10\n")
    with pytest.raises(DataError, match=r"2 rows were rejected, the first at line 2: .* has no time zone"):
        run_download(config("csv", str(path), output))


@pytest.mark.parametrize("name", ["sample", "csv"])
def test_download_of_an_empty_range_says_so(database, tmp_path, name):
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n")
    with pytest.raises(DataError, match=r"none from data\.start=2030-01-01 to data\.end=null; widen the range"):
        run_download(config(name, str(path) if name == "csv" else None, start="2030-01-01"))


def test_download_of_one_unknown_symbol_keeps_the_other(database, capsys):
    with pytest.raises(IncompleteError, match=r"1 of 2 series failed, the others are stored.*but got 'NOPE'") as caught:
        run_download(config("sample", symbols=("NOPE", "SAMPLE_SP500")))
    assert caught.value.exit_code == 2
    (failure,) = json.loads(capsys.readouterr().out)["failures"]
    assert (failure["symbol"], failure["timeframe"]) == ("NOPE", "1d")
    assert len(read_bars(database, "SAMPLE_SP500", "1d")) == 5031


def test_download_refuses_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"`provider\.path` .* must be a file"):
        run_download(config("csv", str(tmp_path / "none.csv")))


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("csv", None, r"`provider\.path` must name the CSV file; write provider=csv provider\.path=FILE"),
        ("csv", "", r"`provider\.path` must name the CSV file"),
        ("sample", "bars.csv", r"`provider\.path` must be null with provider=sample, but got 'bars\.csv'"),
        ("yfinance", "bars.csv", r"`provider\.path` must be null with provider=yfinance"),
    ],
)
def test_make_provider_refuses_a_path_in_the_wrong_place(name, path, message):
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        make_provider(ProviderConfig(name, path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PROVIDER_NAMES)
def test_make_provider_makes_each(name, tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text(HEADER)
    try:
        provider = make_provider(ProviderConfig(name))
    except DataError:
        provider = make_provider(ProviderConfig(name, str(path)))
    assert provider.name == name


def test_download_refuses_a_time_without_zone(database):
    with pytest.raises(ConfigError, match=r"`data\.start` must carry a time zone"):
        run_download(config("sample", start="2010-01-04T09:30"))


@pytest.mark.usefixtures("yahoo")
def test_download_from_yahoo(database):
    wanted = DownloadDataConfig(symbols=("^GSPC", "^VIX", "NOPE"), start="2022-01-03", end="2022-03-31")
    provider = make_provider(ProviderConfig("yfinance"))
    result = download(database, provider, wanted)
    stored = {(one.symbol, one.timeframe): one.n_new for one in result.written}
    assert set(stored) == {(symbol, timeframe) for symbol in ("^GSPC", "^VIX") for timeframe in ("1d", "1h")}
    assert stored["^GSPC", "1d"] == len(made_bars.sessions("2022-01-03", "2022-03-31"))
    assert len(result.failures) == 2
    again = download(database, provider, replace(wanted, symbols=("^GSPC",)))
    assert all(one.n_new == one.n_changed == 0 for one in again.written)


def test_a_spike_in_a_file_is_held_back(database, tmp_path, capsys):
    days = pd.date_range("2020-01-01", periods=60).strftime("%Y-%m-%d")
    rows = [f"{day},A,1d,{p},{p},{p},{p},1" for place, day in enumerate(days) for p in [100 + place % 7 * 0.1]]
    rows[30] = f"{days[30]},A,1d,9999,10001,9998,10000,1"
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match=r"1 rows were rejected, the first at 2020-01-31.*out of line with the bars"):
        run_download(config("csv", str(path)))
    assert len(read_bars(database, "A", "1d")) == 59
    capsys.readouterr()
    run_download(replace(config("csv", str(path)), quality=QualityConfig(spikes="warn")))
    assert any("1 bars are out of line" in line for line in json.loads(capsys.readouterr().out)["warnings"])
    assert len(read_bars(database, "A", "1d")) == 60


def test_a_folder_read_in_pieces_is_one_source(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(csv_provider, "MOST_ROWS", 1)
    for day in (2, 3, 6):
        (tmp_path / f"{day}.csv").write_text(HEADER + f"2020-01-0{day},A,1d,1,2,0.5,1.5,10\n")
    run_download(config("csv", str(tmp_path)))
    assert json.loads(capsys.readouterr().out)["written"][0]["n_new"] == 3
    (source,) = database.fetch("SELECT id, n_rows, start_at::date::text, end_at::date::text FROM ingest")
    assert tuple(source)[1:] == (3, "2020-01-02", "2020-01-07")
    assert {row["ingest_id"] for row in database.fetch("SELECT ingest_id FROM ohlcv_data")} == {source["id"]}


def test_rows_that_are_too_many_to_keep_are_counted(database, tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "MOST_HELD", 3)
    monkeypatch.setattr(rows, "MOST_REJECTED", 4)
    path = tmp_path / "bars.csv"
    path.write_text(HEADER + "2020-01-02,A,1d,1,2,0.5,1.5,10\n" + "2020-01-03,A,1d,1,2,0.5,x,10\n" * 9)
    with pytest.raises(DataError, match=r"^9 rows were rejected, the first at line 3: .*the other 1 are stored"):
        run_download(config("csv", str(path)))
    held = quarantine.list_held(database)
    assert len(held) == 3
    assert held[-1].reason.startswith("7 more rows are not kept, the first since close 'x' is not a number; at most 3")
