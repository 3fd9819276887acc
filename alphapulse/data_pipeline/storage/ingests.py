"""Where bars come from: one row of `ingest` for each series that a source gave, and what is known because of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import pandas as pd

from alphapulse.errors import DataError

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database
    from alphapulse.data_pipeline.providers.base import Fetched

INSERT = """
    INSERT INTO ingest (provider, path, symbol, timeframe, start_at, end_at, n_rows)
    VALUES ($1, $2, $3, $4, coalesce($5, '-infinity'::timestamptz), coalesce($6, 'infinity'::timestamptz), $7)
    RETURNING id"""
# One more piece of a file.
EXTEND = """
    UPDATE ingest SET start_at = least(start_at, $2), end_at = greatest(end_at, $3), n_rows = n_rows + $4
    WHERE id = $1 RETURNING id"""
OTHER = "SELECT provider, path, at FROM ingest WHERE id = $1"


@dataclass(frozen=True)
class Source:
    """Where bars come from.

    Attributes
    ----------
    provider : str
        Its name, as in `provider=NAME`.
    path : str, optional
        The file or folder that was read.
    continued : int, optional
        The ingest that a series is one more piece of.
    """

    provider: str
    path: str | None = None
    continued: int | None = None

    def __str__(self) -> str:
        return f"provider={self.provider}" + (f" provider.path={self.path}" if self.path else "")


class SecondSourceError(DataError):
    """Bars differ from those that another source gave."""


async def insert_ingest(connection: asyncpg.Connection, source: Source, series: "Fetched", length: int) -> int:
    """Say where the bars of `series` come from, and return the number by which they name it.

    Parameters
    ----------
    length : int
        Of a bar [ns]; without a range of its own a source is known to have given what lies between its bars.
    """
    start, end = series.covers or (
        series.bars["timestamp"].iloc[0],
        series.bars["timestamp"].iloc[-1] + pd.Timedelta(length),
    )
    if source.continued is not None:
        continued: int = await connection.fetchval(EXTEND, source.continued, start, end, len(series.bars))
        return continued
    key = (series.symbol, series.timeframe)
    number: int = await connection.fetchval(INSERT, source.provider, source.path, *key, start, end, len(series.bars))
    return number


async def refuse_second_source(
    connection: asyncpg.Connection, source: Source, series: "Fetched", other: int, n_foreign: int
) -> None:
    """Raise SecondSourceError that names what stored the `n_foreign` bars that differ, ingest `other` among them."""
    row = await connection.fetchrow(OTHER, other)
    stored = Source(row["provider"], row["path"])
    raise SecondSourceError(
        f"{n_foreign:,} of {len(series.bars):,} bars of {series.symbol!r} {series.timeframe} differ from those that "
        f"{stored} gave on {row['at']:%Y-%m-%d}; write replace=true to store those of {source} in their place."
    )


def series_of(database: "Database", provider: str, symbol: str | None = None) -> list[tuple[str, str]]:
    """Return each (symbol, timeframe) that a provider has given, of one symbol or of all."""
    rows = database.fetch(
        "SELECT DISTINCT symbol, timeframe FROM ingest WHERE provider = $1 AND ($2::text IS NULL OR symbol = $2) "
        "ORDER BY 1, 2",
        provider,
        symbol,
    )
    return [(row["symbol"], row["timeframe"]) for row in rows]
