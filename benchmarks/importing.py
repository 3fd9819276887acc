"""A CSV file into the database beside a plain COPY of it into the same table: `python -m benchmarks.importing`.

Seconds are of the wall, server and client together; the import finds faults, and what is stored already, on its way.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy

from alphapulse.config.schema import DownloadDataConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.manager import download
from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.providers.csv_provider import CsvProvider
from benchmarks.loading import SYMBOL, make_bars, measure

COLUMNS = ("timestamp", "symbol", "timeframe", "open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Importing:
    """What `n_rows` lines took [s], and the peak of resident memory above the start [bytes]."""

    n_rows: int
    copied: float
    imported: float
    again: float
    parsed: float
    memory: int


def _write(path: Path, n_rows: int) -> None:
    bars = pl.from_pandas(make_bars(n_rows).bars)
    stamps = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    bars.select(stamps, *COLUMNS[1:3], pl.col(*COLUMNS[3:7]).round(4), "volume").write_csv(path)


def _copy(database: Database, path: Path) -> None:
    async def run() -> None:
        connection = await database.connect()
        try:
            await connection.copy_to_table(
                "ohlcv_data", source=str(path), columns=COLUMNS, format="csv", header=True, timeout=None
            )
        finally:
            await connection.close()

    database.run(run())


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(n_rows: int = 2_000_000, repetitions: int = 2, database: Database | None = None) -> Importing:
    """Import `n_rows` lines both ways in turn, the better of a few times each, and remove them."""
    database = database if database is not None else open_database()

    def empty() -> None:
        with database.sync_engine.begin() as connection:
            connection.execute(sqlalchemy.text("DELETE FROM ohlcv_data WHERE symbol = :symbol"), {"symbol": SYMBOL})
        with database.sync_engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sqlalchemy.text("VACUUM ohlcv_data"))

    def bring() -> None:
        download(database, CsvProvider(path), DownloadDataConfig(), path=str(path))

    copied, imported, again, memory = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        _write(path, n_rows)
        try:
            for _ in range(repetitions):
                empty()
                copied.append(_seconds(lambda: _copy(database, path)))
                empty()
                seconds, peak = measure(bring)
                imported.append(seconds)
                memory = max(memory, peak)
                again.append(_seconds(bring))
        finally:
            empty()
        parsed = min(_seconds(lambda: list(CsvProvider(path).fetch([], [], None, None))) for _ in range(repetitions))
    return Importing(n_rows, min(copied), min(imported), min(again), parsed, memory)


def main() -> None:
    result = run()
    print(f"{result.n_rows:,} lines; memory of an import {result.memory / 2**20:,.0f} MiB above the start")
    for name, seconds in (
        ("plain COPY", result.copied),
        ("import", result.imported),
        ("import again, unchanged", result.again),
        ("parsed alone", result.parsed),
    ):
        rate = result.n_rows / seconds
        print(f"{name:<28}{seconds:8.2f} s {rate:12,.0f} rows/s {seconds / result.copied:6.2f} x COPY")


if __name__ == "__main__":
    main()
