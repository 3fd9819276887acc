"""Bars out of the database: binary COPY into arrays beside `pandas.read_sql`, on the same rows in the same run."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import psutil
import sqlalchemy

from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.base import Fetched
from alphapulse.data_pipeline.storage.bar_reader import read_bars
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.many_reader import ManyStoredBars, StoredBars

SYMBOL = "BENCHMARK"
QUERY = sqlalchemy.text(
    "SELECT timestamp, open, high, low, close, volume FROM ohlcv_data "
    "WHERE symbol = :symbol AND timeframe = '1m' ORDER BY timestamp"
)


@dataclass(frozen=True)
class Loading:
    """What loading `n_rows` bars took.

    Attributes
    ----------
    n_rows : int
    store_seconds, store_again_seconds : float
        Upsert of all rows, new and unchanged.
    copy_seconds, read_sql_seconds : float
        Best of the repetitions.
    copy_memory, read_sql_memory : float
        Peak resident memory above the start, in multiples of the arrays [1].
    """

    n_rows: int
    store_seconds: float
    store_again_seconds: float
    copy_seconds: float
    read_sql_seconds: float
    copy_memory: float
    read_sql_memory: float

    @property
    def ratio(self) -> float:
        """How many times faster COPY into arrays is."""
        return self.read_sql_seconds / self.copy_seconds


def make_bars(n_rows: int, seed: int = 0) -> Fetched:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, n_rows)))
    open_ = np.r_[100.0, close[:-1]]
    stamps = pd.date_range("2010-01-04", periods=n_rows, freq="min", tz="UTC")
    bars = pd.DataFrame(
        {
            "timestamp": stamps,
            "symbol": SYMBOL,
            "timeframe": "1m",
            "open": open_,
            "high": np.maximum(open_, close) * 1.0001,
            "low": np.minimum(open_, close) * 0.9999,
            "close": close,
            "volume": rng.integers(1, 1000, n_rows).astype(np.float64),
        }
    )
    return Fetched(SYMBOL, "1m", bars)


def measure(load: Callable[[], Any]) -> tuple[float, int]:
    """Return seconds and the peak of resident memory above the start [bytes]."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = load()
    seconds = time.perf_counter() - start
    peak = max(peak, process.memory_info().rss)
    done.set()
    watcher.join()
    del result
    return seconds, peak - before


def _store(database: Database, n_rows: int) -> tuple[float, float]:
    bars = [make_bars(n_rows)]
    return measure(lambda: write_bars(database, bars))[0], measure(lambda: write_bars(database, bars))[0]


def run(n_rows: int = 2_000_000, repetitions: int = 3, database: Database | None = None) -> Loading:
    """Store `n_rows` bars, load them both ways in turn, and remove them."""
    database = database if database is not None else open_database()
    delete = sqlalchemy.text("DELETE FROM ohlcv_data WHERE symbol = :symbol")
    array_bytes = n_rows * 6 * 8
    try:
        store, store_again = _store(database, n_rows)
        with database.sync_engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sqlalchemy.text("ANALYZE ohlcv_data"))
        copies, reads = [], []
        for _ in range(repetitions):
            copies.append(measure(lambda: read_bars(database, SYMBOL, "1m")))
            with database.sync_engine.connect() as connection:
                reads.append(
                    measure(lambda c=connection: pd.read_sql(QUERY, c, params={"symbol": SYMBOL}))  # type: ignore[misc]
                )
    finally:
        with database.sync_engine.begin() as connection:
            connection.execute(delete, {"symbol": SYMBOL})
    return Loading(
        n_rows,
        store,
        store_again,
        min(seconds for seconds, _ in copies),
        min(seconds for seconds, _ in reads),
        max(memory for _, memory in copies) / array_bytes,
        max(memory for _, memory in reads) / array_bytes,
    )


@dataclass(frozen=True)
class ManyLoading:
    """What loading many symbols took: all by one COPY, and each alone; best of the repetitions [s]."""

    n_symbols: int
    n_rows: int
    together_seconds: float
    alone_seconds: float


def run_many(n_symbols: int = 500, n_bars: int = 5_000, repetitions: int = 3) -> ManyLoading:
    """Store as many bars of each symbol, load them all at once and one by one in turn, and remove them."""
    database = open_database()
    names = [f"{SYMBOL}_{place}" for place in range(n_symbols)]
    first = make_bars(n_bars)
    try:
        write_bars(database, [Fetched(name, "1m", first.bars.assign(symbol=name)) for name in names])
        together, alone = [], []
        for _ in range(repetitions):
            many = ManyStoredBars(database, "database", "total")
            together.append(measure(lambda: many.fetch(names, "1m", None, None))[0])  # noqa: B023
            one = StoredBars(database, "database", "total")
            alone.append(measure(lambda: [one.read(name, "1m", None, None) for name in names])[0])  # noqa: B023
    finally:
        database.fetch("DELETE FROM ohlcv_data WHERE symbol = ANY($1)", names)
    return ManyLoading(n_symbols, n_symbols * n_bars, min(together), min(alone))


def main() -> None:
    result = run()
    print(f"{result.n_rows:,} bars, {result.n_rows * 48 / 2**20:.0f} MiB as arrays")
    for name, seconds in (("store", result.store_seconds), ("store again", result.store_again_seconds)):
        print(f"{name:<28}{seconds:8.2f} s {result.n_rows / seconds:12,.0f} rows/s")
    for name, seconds, memory in (
        ("COPY into arrays", result.copy_seconds, result.copy_memory),
        ("pandas.read_sql", result.read_sql_seconds, result.read_sql_memory),
    ):
        print(f"{name:<28}{seconds:8.2f} s {result.n_rows / seconds:12,.0f} rows/s  peak {memory:.2f} x the arrays")
    print(f"{'ratio':<28}{result.ratio:8.1f}")
    many = run_many()
    print(f"{many.n_symbols} symbols, {many.n_rows:,} bars")
    for name, seconds in (("one COPY for all", many.together_seconds), ("a COPY each", many.alone_seconds)):
        print(f"{name:<28}{seconds:8.2f} s {many.n_rows / seconds:12,.0f} rows/s")


if __name__ == "__main__":
    main()
