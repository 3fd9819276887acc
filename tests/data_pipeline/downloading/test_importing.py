import pytest

from alphapulse.config.groups import DataConfig
from alphapulse.data_pipeline.downloading.importing import import_first
from alphapulse.data_pipeline.loading import load_history
from alphapulse.errors import ConfigError, DataError

pytestmark = pytest.mark.postgres


def write(path, symbols=("",), freq="1D", n=30):
    import pandas as pd

    stamps = pd.date_range("2020-01-01", periods=n, freq=freq, tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
    head = "symbol,timestamp" if symbols != ("",) else "timestamp"
    rows = [f"{one},{stamp}".lstrip(",") + ",1,2,0.5,1.5,7" for one in symbols for stamp in stamps]
    path.write_text("\n".join([f"{head},open,high,low,close,volume", *rows]) + "\n")
    return str(path)


def csv(path, **keys):
    return DataConfig(**{"source": "csv", "path": path, "symbols": (), "timeframe": "auto"} | keys)


def test_a_file_is_imported_and_then_in_the_database(database, tmp_path):
    path = write(tmp_path / "SPY.csv")
    for counts in ("30 bars new", "30 bars as they were"):
        data, lines = import_first(database, csv(path))
        assert (data.source, data.path, data.symbols, data.timeframe) == ("database", None, ("SPY",), "1d")
        assert lines[-1] == f"SPY 1d: {counts}"
    assert len(load_history(database, data, 0).bars) == 30


def test_a_longer_timeframe_is_put_together(database, tmp_path):
    data, _ = import_first(database, csv(write(tmp_path / "SPY.csv", freq="1h", n=240), timeframe="1d"))
    assert data.timeframe == "1d"
    assert len(load_history(database, data, 0).bars) == 10


def test_one_of_several_symbols_is_chosen(database, tmp_path):
    path = write(tmp_path / "all.csv", ("AAA", "BBB"))
    with pytest.raises(DataError, match=r"has the symbols AAA, BBB; say which is traded with 'data\.symbols=\[AAA\]'"):
        import_first(database, csv(path))
    assert import_first(database, csv(path, symbols=("BBB",)))[0].symbols == ("BBB",)


def test_a_source_without_its_file_is_refused():
    for keys in ({"source": "csv"}, {"path": "SPY.csv"}):
        with pytest.raises(ConfigError, match=r"`data\.path` must name the file with data=csv"):
            DataConfig(**keys)
