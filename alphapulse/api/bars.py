"""Bars from Python: a frame or a CSV file written to `ohlcv_data` under its symbol, or a symbol that is stored."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alphapulse.config.assembly import find_strategy
from alphapulse.config.groups import AUTO, DataConfig
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.downloading.importing import import_first
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import Reread, write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.errors import DataError
from alphapulse.market.bars import PRICES

TIMES = ("timestamp", "datetime", "date", "time")
DAILY = "1d"
SAMPLE = {"source": "sample", "symbols": ["SAMPLE_SP500"]}


def use_bars(database: Database, bars: Any, symbol: str | None, timeframe: str | None) -> dict[str, Any]:
    """Return the keys of `data` that name some bars, which are stored before where they come from outside.

    Parameters
    ----------
    database : Database
    bars : DataFrame, path, str, dict of str to DataFrame, or list of str, optional
        A frame with open, high, low, close and perhaps volume, whose index or column timestamp (or date) is the start
        of each bar; the path of a CSV file with the same columns; or the symbol of stored bars. None is the sample. Of
        many symbols a frame for each, or their names.
    symbol : str, optional
        What the bars of a frame or file are stored as; by default what the file says, its name, or FRAME.
    timeframe : str, optional
        Length of a bar; None is what a file has, else a day.

    Raises
    ------
    DataError
        If there are no such columns, or a row cannot be a bar.
    """
    label = timeframe or DAILY
    if isinstance(bars, Mapping | list | tuple):
        return _use_many(database, bars, symbol, label)
    if bars is None:
        return SAMPLE | {"timeframe": label} if symbol is None else _stored(symbol, label)
    if isinstance(bars, pd.DataFrame):
        return _store(database, bars, symbol or "FRAME", label)
    if isinstance(bars, Path) or Path(bars).suffix.lower() == ".csv":
        symbols = () if symbol is None else (symbol,)
        file = DataConfig(source="csv", path=str(bars), symbols=symbols, timeframe=timeframe or AUTO)
        data, _ = import_first(database, file)
        return {"source": data.source, "symbols": list(data.symbols), "timeframe": data.timeframe}
    return _stored(str(bars), label)


def _use_many(
    database: Database, bars: Mapping[str, Any] | Sequence[Any], symbol: str | None, timeframe: str
) -> dict[str, Any]:
    if symbol is not None:
        raise DataError(f"`symbol` must be left out where bars are of many symbols, but got {symbol!r}.")
    for name in bars:
        if not isinstance(name, str):
            raise DataError(f"Bars of many symbols must be named by texts, but got {name!r}.")
        if isinstance(bars, Mapping) and not isinstance(bars[name], pd.DataFrame):
            raise DataError(f"Bars of {name!r} must be a frame, but got a {type(bars[name]).__name__}.")
    if isinstance(bars, Mapping):
        for name, frame in bars.items():
            _store(database, frame, name, timeframe)
    return {"source": "database", "symbols": list(bars), "timeframe": timeframe}


def universe_of(bars: Any, universe: str | Mapping[str, Any] | None, target: str) -> dict[str, Any]:
    """Return the keys of `universe`: of many symbols one account where the strategy decides for all, else each alone.

    Parameters
    ----------
    bars : object
        As in `use_bars`.
    universe : str or mapping, optional
        "each" or "account", or keys such as {"kind": "each", "score": "median"}; None is what fits.
    target : str
        Dotted path of the strategy.
    """
    if isinstance(universe, str):
        return {"kind": universe}
    if universe is not None:
        return dict(universe)
    if not isinstance(bars, Mapping | list | tuple):
        return {}
    return {"kind": "account" if find_strategy(target, os.getcwd()).is_of_many else "each"}


def _stored(symbol: str, timeframe: str) -> dict[str, Any]:
    return {"source": "database", "symbols": [symbol], "timeframe": timeframe}


def _store(database: Database, frame: pd.DataFrame, symbol: str, timeframe: str) -> dict[str, Any]:
    fetched = checked(symbol, timeframe, bar_table(frame))
    if fetched.rejected:
        first = fetched.rejected[0]
        raise DataError(
            f"{len(fetched.rejected)} rows of {symbol!r} cannot be bars, the first at {first.where}: {first.reason}; "
            "correct them, or drop them."
        )
    write_bars(database, [fetched], Source("frame"), replace=True, reread=Reread())
    return _stored(symbol, timeframe)


def bar_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of the user's as the columns timestamp (UTC), open, high, low, close, volume, by time.

    Names count in any case; a moment without a zone is UTC. Without volume it is NaN.
    """
    named = {str(column).strip().lower(): column for column in frame.columns}
    missing = [name for name in PRICES if name not in named]
    if missing:
        raise DataError(f"Bars must have columns {', '.join(PRICES)}, but {', '.join(missing)} are missing.")
    table = pd.DataFrame({name: pd.to_numeric(frame[named[name]], errors="coerce").to_numpy() for name in PRICES})
    table["volume"] = (
        pd.to_numeric(frame[named["volume"]], errors="coerce").to_numpy() if "volume" in named else float("nan")
    )
    column = next((named[name] for name in TIMES if name in named), None)
    moments: Any = frame.index if column is None else frame[column]
    if column is None and not isinstance(frame.index, pd.DatetimeIndex):
        raise DataError("Bars must have the start of each as their index or in a column timestamp or date.")
    try:
        table.insert(0, "timestamp", pd.DatetimeIndex(pd.to_datetime(moments, utc=True)))
    except (ValueError, TypeError) as error:
        raise DataError(f"The start of each bar must be a date or time, but {' '.join(str(error).split())}") from error
    return table.sort_values("timestamp", kind="stable").reset_index(drop=True)
