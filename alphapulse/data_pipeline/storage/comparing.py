"""Which bars of a series are new, and which differ from what is stored, so that nothing is written twice."""

from typing import NamedTuple

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.binary_copy import Kind, copy_in, copy_out
from alphapulse.typing import BoolArray1D

VALUES = ("open", "high", "low", "close", "volume")
RANGE = "symbol = $1 AND timeframe = $2 AND timestamp >= $3 AND timestamp <= $4"
OVERLAPS = f"SELECT EXISTS (SELECT FROM ohlcv_data WHERE {RANGE})"
STORED = f"""
    SELECT timestamp, open, high, low, close, coalesce(volume, 'NaN'), coalesce(ingest_id, 0) FROM ohlcv_data
    WHERE {RANGE} ORDER BY timestamp"""
KINDS: dict[str, Kind] = {"timestamp": np.dtype("datetime64[us]")}
KINDS |= {name: np.dtype(np.float64) for name in VALUES} | {"ingest_id": np.dtype(np.int64)}


class Comparison(NamedTuple):
    """How the bars of a series stand to what is stored.

    Attributes
    ----------
    is_new : (n_bars,) bool
        Whether there is no bar of that start.
    differs : (n_bars,) bool
        Whether there is one with other values, or from a source that nobody knows.
    """

    is_new: BoolArray1D
    differs: BoolArray1D


async def compare(
    connection: asyncpg.Connection, symbol: str, timeframe: str, bars: pd.DataFrame, *, known_source: bool
) -> Comparison:
    """Return how bars, sorted, stand to what is stored.

    Parameters
    ----------
    known_source : bool
        Whether a stored bar whose source is unknown differs by that alone.
    """
    n_bars = len(bars)
    stamps = bars["timestamp"]
    key = (symbol, timeframe, stamps.iloc[0], stamps.iloc[-1])
    if not await connection.fetchval(OVERLAPS, *key):
        return Comparison(np.ones(n_bars, dtype=np.bool_), np.zeros(n_bars, dtype=np.bool_))
    stored = await copy_out(connection, STORED, *key, kinds=KINDS)
    moments = stamps.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    place = np.searchsorted(stored["timestamp"], moments)
    place[place == len(stored["timestamp"])] = 0
    is_new = stored["timestamp"][place] != moments
    differs = (stored["ingest_id"][place] == 0) & known_source
    for name in VALUES:
        ours, theirs = bars[name].to_numpy(dtype=np.float64), stored[name][place]
        differs |= (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
    return Comparison(is_new, differs & ~is_new)


def columns_of(bars: pd.DataFrame) -> "dict[str, np.ndarray]":
    """Return the moments and values of bars as arrays to be copied."""
    columns = {"timestamp": bars["timestamp"].dt.tz_localize(None).to_numpy()}
    return columns | {name: bars[name].to_numpy(dtype=np.float64) for name in VALUES}


async def append(
    connection: asyncpg.Connection, symbol: str, timeframe: str, bars: pd.DataFrame, ingest_id: int | None
) -> None:
    """Store bars of which there is none yet, by one COPY."""
    columns = columns_of(bars) | {"symbol": symbol, "timeframe": timeframe}
    number = None if ingest_id is None else np.int64(ingest_id)
    await copy_in(connection, "ohlcv_data", columns | {"ingest_id": number}, nan_is_null=("volume",))
