"""Which bars are stored: each symbol and timeframe, from where to where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from alphapulse.data_pipeline.binary_copy import Kind, copy_out
from alphapulse.market.gaps import find_gaps

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

LIST = """
    SELECT symbol, timeframe, min(timestamp), max(timestamp), count(*) FROM ohlcv_data
    WHERE ($1::text[] = '{}' OR symbol = ANY($1)) AND ($2::text IS NULL OR timeframe = $2)
    GROUP BY symbol, timeframe ORDER BY symbol, timeframe"""
STAMPS = "SELECT timestamp FROM ohlcv_data WHERE symbol = $1 AND timeframe = $2 ORDER BY timestamp"
SOURCES = """
    SELECT DISTINCT coalesce(provider || ' ' || path, provider) AS source FROM ingest
    WHERE symbol = $1 AND timeframe = $2 ORDER BY source"""
KINDS: Mapping[str, Kind] = {"timestamp": np.dtype("datetime64[us]")}


@dataclass(frozen=True)
class StoredSeries:
    """What is stored of one symbol and timeframe.

    Attributes
    ----------
    symbol, timeframe : str
    first, last : str
        Start of the first and of the last bar, UTC: a date where the bar begins with it, else with its time.
    n_bars : int
    n_gaps : int
        Stretches in which bars are missing, see `market.gaps`.
    source : str
        The providers that gave them, and the files.
    """

    symbol: str
    timeframe: str
    first: str
    last: str
    n_bars: int
    n_gaps: int
    source: str


def list_series(database: "Database", symbols: Sequence[str] = (), timeframe: str | None = None) -> list[StoredSeries]:
    """Return what is stored, by symbol and timeframe.

    Parameters
    ----------
    symbols : sequence of str
        An empty sequence stands for all.
    timeframe : str, optional
        None stands for all.
    """

    async def ask() -> list[StoredSeries]:
        connection = await database.connect()
        try:
            rows = await connection.fetch(LIST, list(symbols), timeframe)
            found = []
            for symbol, label, first, last, n_bars in rows:
                read = await copy_out(connection, STAMPS, symbol, label, kinds=KINDS, n_rows=n_bars)
                gaps = find_gaps(read["timestamp"].astype("datetime64[ns]").view(np.int64), label)
                sources = [row["source"] for row in await connection.fetch(SOURCES, symbol, label)]
                extent = (moment_text(first), moment_text(last))
                found.append(StoredSeries(symbol, label, *extent, n_bars, len(gaps), ", ".join(sources) or "unknown"))
        finally:
            await connection.close()
        return found

    return database.run(ask())


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC as text, to the minute; a midnight is its date."""
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%dT%H:%MZ")
