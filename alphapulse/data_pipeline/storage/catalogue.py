"""Which bars are stored: each symbol and timeframe, from where to where."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

LIST = """
    SELECT symbol, timeframe, min(timestamp), max(timestamp), count(*) FROM ohlcv_data
    WHERE ($1::text[] = '{}' OR symbol = ANY($1)) AND ($2::text IS NULL OR timeframe = $2)
    GROUP BY symbol, timeframe ORDER BY symbol, timeframe"""


@dataclass(frozen=True)
class StoredSeries:
    """What is stored of one symbol and timeframe.

    Attributes
    ----------
    symbol, timeframe : str
    first, last : str
        Start of the first and of the last bar, UTC: a date where the bar begins with it, else with its time.
    n_bars : int
    """

    symbol: str
    timeframe: str
    first: str
    last: str
    n_bars: int


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
        finally:
            await connection.close()
        return [
            StoredSeries(symbol, label, moment_text(first), moment_text(last), n_bars)
            for symbol, label, first, last, n_bars in rows
        ]

    return database.run(ask())


def moment_text(moment: datetime) -> str:
    """Return a moment in UTC as text, to the minute; a midnight is its date."""
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%dT%H:%MZ")
