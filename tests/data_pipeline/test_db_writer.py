import threading

import numpy as np
import pandas as pd
import pytest

from alphapulse.data_pipeline.providers.base import Rejected, checked
from alphapulse.data_pipeline.storage.bar_reader import find_warm_up, read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.errors import DatabaseError

pytestmark = pytest.mark.postgres


def make(symbol="A", n=10, *, timeframe="1d", close=1.5, start="2020-01-01", volume=10.0):
    stamps = pd.date_range(start, periods=n, freq="D" if timeframe == "1d" else "min", tz="UTC")
    rows = pd.DataFrame({"timestamp": stamps, "open": 1.0, "high": 2.0, "low": 0.5, "close": close, "volume": volume})
    return checked(symbol, timeframe, rows)


def counts(written):
    return [(one.symbol, one.n_new, one.n_changed, one.n_unchanged, one.n_rejected) for one in written]


def test_write_counts_new_changed_and_unchanged(database):
    assert counts(write_bars(database, [make(n=10)])) == [("A", 10, 0, 0, 0)]
    assert counts(write_bars(database, [make(n=10)])) == [("A", 0, 0, 10, 0)]
    changed = make(n=12)
    changed.bars.loc[3, "close"] = 1.6
    changed.bars.loc[4, "volume"] = np.nan
    assert counts(write_bars(database, [changed])) == [("A", 2, 2, 8, 0)]
    assert counts(write_bars(database, [changed])) == [("A", 0, 0, 12, 0)]
    stored = read_bars(database, "A", "1d")
    assert stored.close[3] == 1.6
    assert np.isnan(stored.volume[4])


def test_write_keeps_series_apart_and_counts_rejected_rows(database):
    bad = make("B", 3)
    bad = type(bad)("B", "1d", bad.bars, (Rejected("line 2", "no"),))
    written = write_bars(database, [make("A", 5), bad, make("A", 7, timeframe="1m")])
    assert counts(written) == [("A", 5, 0, 0, 0), ("A", 7, 0, 0, 0), ("B", 3, 0, 0, 1)]
    assert len(read_bars(database, "A", "1m")) == 7


def test_write_of_nothing(database):
    assert counts(write_bars(database, [make(n=0)])) == [("A", 0, 0, 0, 0)]
    assert write_bars(database, []) == []


def test_write_is_all_or_nothing(database):
    broken = make("Z", 3)
    broken.bars.loc[1, "timestamp"] = broken.bars.loc[0, "timestamp"]
    with pytest.raises(DatabaseError):
        write_bars(database, [make("A", 5), broken])
    assert len(read_bars(database, "A", "1d")) == 0


def test_concurrent_writers_of_the_same_bars(database):
    outcomes = []

    def write(close):
        outcomes.append(write_bars(database, [make("B", 500, close=close), make("A", 500, close=close)]))

    threads = [threading.Thread(target=write, args=(1.0 + 0.1 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.n_new for written in outcomes for one in written) == [0] * 6 + [500, 500]
    assert sum(one.n_changed for written in outcomes for one in written) == 3000
    assert len(read_bars(database, "A", "1d")) == 500


@pytest.mark.parametrize("unit", ["min", "s"])
@pytest.mark.parametrize("n_connections", [1, 3])
def test_read_gives_back_every_bit(database, monkeypatch, n_connections, unit):
    from alphapulse.data_pipeline.storage import bar_reader

    monkeypatch.setattr(bar_reader, "PARALLEL_ROWS", 100)
    monkeypatch.setattr(bar_reader, "COUNT_SHORT", bar_reader.COUNT_SHORT.replace("LIMIT 400000", "LIMIT 100"))
    rng = np.random.default_rng(1)
    n = 1000
    close = rng.lognormal(0.0, 1.0, n)
    # In seconds there are more bars than a minute has room for.
    gaps = pd.to_timedelta(np.cumsum(rng.integers(1, 90, n)), unit=unit)
    rows = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2020-01-01", tz="UTC") + gaps,
            "open": close * 1.01, "high": close * 1.1, "low": close * 0.9, "close": close,
            "volume": np.where(rng.random(n) < 0.2, np.nan, rng.random(n)),
        }
    )  # fmt: skip
    write_bars(database, [checked("A", "1m", rows), make("B", 50, timeframe="1m")])
    got = read_bars(database, "A", "1m", n_connections=n_connections)
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(got, name), rows[name].to_numpy(), equal_nan=True)
    assert np.array_equal(got.timestamp, rows["timestamp"].dt.as_unit("ns").astype("int64").to_numpy())
    start, stop = rows["timestamp"].iloc[100], rows["timestamp"].iloc[900]
    assert len(read_bars(database, "A", "1m", start, stop, n_connections=n_connections)) == 800
    assert len(read_bars(database, "none", "1m", n_connections=n_connections)) == 0


def test_find_warm_up(database):
    write_bars(database, [make("A", 10)])
    start = pd.Timestamp("2020-01-06", tz="UTC")
    assert find_warm_up(database, "A", "1d", start, 2) == pd.Timestamp("2020-01-04", tz="UTC")
    assert find_warm_up(database, "A", "1d", start, 5) == pd.Timestamp("2020-01-01", tz="UTC")
    assert find_warm_up(database, "A", "1d", start, 6) is None
