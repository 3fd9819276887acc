"""What is stored, looked over: gaps, faults, and bars written to files of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from alphapulse.config.schema import DataCommandConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.quality import series_warnings
from alphapulse.data_pipeline.ranges import range_start, range_stop
from alphapulse.data_pipeline.storage.bar_reader import BarColumns, read_bars
from alphapulse.data_pipeline.storage.catalogue import StoredSeries, list_series
from alphapulse.data_pipeline.storage.comparing import VALUES
from alphapulse.errors import ConfigError, DataError
from alphapulse.market.gaps import find_gaps
from alphapulse.market.timeframes import DAY, timeframe_length


def selected(config: DataCommandConfig, database: Database) -> Iterator[tuple[StoredSeries, BarColumns]]:
    """Yield each series that is asked for with its bars.

    Raises
    ------
    DataError
        If there is none.
    """
    series = list_series(database, config.data.symbols, config.data.timeframe)
    if not series:
        raise DataError("There are no such bars; see `python -m alphapulse.data list`.")
    bounds = range_start("data.start", config.data.start), range_stop("data.end", config.data.end)
    for one in series:
        yield one, read_bars(database, one.symbol, one.timeframe, *bounds)


def gap_rows(config: DataCommandConfig, database: Database) -> list[dict[str, Any]]:
    """Return a row for each gap, the longest of a series first."""
    rows: list[dict[str, Any]] = []
    for one, bars in selected(config, database):
        gaps = find_gaps(bars.timestamp, one.timeframe)
        for place in np.argsort(-gaps.n_missing, kind="stable").tolist():
            rows.append(
                {
                    "symbol": one.symbol,
                    "timeframe": one.timeframe,
                    "after": _moment(gaps.before[place], one.timeframe),
                    "before": _moment(gaps.after[place], one.timeframe),
                    "n_missing": int(gaps.n_missing[place]),
                }
            )
    return rows


def check_rows(config: DataCommandConfig, database: Database) -> list[dict[str, Any]]:
    """Return a row for each series: its extent, gaps and faults."""
    return [
        {
            "symbol": one.symbol,
            "timeframe": one.timeframe,
            "first": one.first,
            "last": one.last,
            "n_bars": len(bars),
            "n_gaps": len(find_gaps(bars.timestamp, one.timeframe)),
            "faults": series_warnings(one.symbol, one.timeframe, bars.frame()) if len(bars) else [],
        }
        for one, bars in selected(config, database)
    ]


def _moment(nanoseconds: int, timeframe: str) -> str:
    stamp = pd.Timestamp(int(nanoseconds))
    is_date = timeframe_length(timeframe) >= DAY and stamp == stamp.normalize()
    return stamp.strftime("%Y-%m-%d" if is_date else "%Y-%m-%dT%H:%MZ")


def export(config: DataCommandConfig, database: Database) -> tuple[list[str], int]:
    """Write bars to a Parquet or CSV file, or each series to one of its own in a folder; return the files and rows.

    Raises
    ------
    ConfigError
        If the path names no such file.
    DataError
        If nothing is stored, or the file cannot be written.
    """
    if config.path is None:
        raise ConfigError("`path` must name a file for export; write path=bars.parquet, path=bars.csv or a folder")
    path = Path(config.path).expanduser()
    tables = ((one, _table(one, bars)) for one, bars in selected(config, database))
    try:
        if path.suffix in (".parquet", ".csv"):
            table = pl.concat([table for _, table in tables])
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(table, path)
            return [str(path)], len(table)
        if path.suffix:
            raise ConfigError(f"`path` must end with .parquet or .csv, or be a folder, but got {config.path!r}")
        path.mkdir(parents=True, exist_ok=True)
        written, n_rows = [], 0
        for one, table in tables:
            name = "".join(letter if letter.isalnum() or letter in "^=.-" else "_" for letter in one.symbol)
            _write(table, path / f"{name}_{one.timeframe}.parquet")
            written.append(str(path / f"{name}_{one.timeframe}.parquet"))
            n_rows += len(table)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another path.") from error
    return written, n_rows


def _table(one: StoredSeries, bars: BarColumns) -> pl.DataFrame:
    stamps = pl.Series("timestamp", bars.timestamp).cast(pl.Datetime("ns", "UTC"))
    values = [
        pl.Series(name, getattr(bars, name)).fill_nan(None if name == "volume" else float("nan")) for name in VALUES
    ]
    table = pl.DataFrame([stamps, *values])
    return table.select(
        "timestamp", pl.lit(one.symbol).alias("symbol"), pl.lit(one.timeframe).alias("timeframe"), *VALUES
    )


def _write(table: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        table.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")).write_csv(path)
    else:
        table.write_parquet(path)
