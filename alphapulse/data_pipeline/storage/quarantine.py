"""Rows that are no bars, or not to be believed: held in `ohlcv_rejected` until somebody releases or drops them.

What was dropped or released is not held again while the source gives the same row. A good bar of the same start takes a
held row's place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.errors import DataError
from alphapulse.market.bars import PRICES, impossible_prices, impossible_volumes
from alphapulse.plain import command_line

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database
    from alphapulse.data_pipeline.providers.base import Fetched, Rejected

# Of one series at once; a file of other things than bars is named, not kept.
MOST_HELD = 100_000
VALUES = (*PRICES, "volume")
SUPERSEDE = """
    DELETE FROM ohlcv_rejected WHERE symbol = $1 AND timeframe = $2 AND state = 'held' AND timestamp = ANY($3)"""
MENDED = """
    DELETE FROM ohlcv_rejected AS held WHERE held.symbol = $1 AND held.timeframe = $2
    AND state = 'held' AND held.timestamp = ANY($3)"""
PLACES = """
    SELECT DISTINCT timestamp FROM ohlcv_rejected
    WHERE symbol = $1 AND timeframe = $2 AND state = 'held' AND timestamp >= $3 AND timestamp <= $4"""
HOLD = """
    INSERT INTO ohlcv_rejected
        (ingest_id, symbol, timeframe, timestamp, line, text, reason, open, high, low, close, volume)
    SELECT $1, $2, $3, row.* FROM unnest(
        $4::timestamptz[], $5::int[], $6::text[], $7::text[], $8::float8[], $9::float8[], $10::float8[], $11::float8[],
        $12::float8[]
    ) AS row (timestamp, line, text, reason, open, high, low, close, volume)
    WHERE NOT EXISTS (
        SELECT FROM ohlcv_rejected AS other WHERE other.symbol = $2 AND other.timeframe = $3
        AND coalesce(other.timestamp, '-infinity') = coalesce(row.timestamp, '-infinity')
        AND (other.line, other.text, other.reason) = (row.line, row.text, row.reason)
    )"""
# A bar that was stored before it was found out.
REMOVE = """
    DELETE FROM ohlcv_data AS bars USING unnest(
        $3::timestamptz[], $4::float8[], $5::float8[], $6::float8[], $7::float8[]
    ) AS row (timestamp, open, high, low, close)
    WHERE symbol = $1 AND timeframe = $2 AND bars.timestamp = row.timestamp
    AND (bars.open, bars.high, bars.low, bars.close) = (row.open, row.high, row.low, row.close)"""
DECIDED = (
    "SELECT timestamp, text, reason, state FROM ohlcv_rejected WHERE symbol = $1 AND timeframe = $2 AND state <> 'held'"
)
FORGET = "DELETE FROM ohlcv_rejected WHERE symbol = $1 AND timeframe = $2 AND timestamp IS NOT NULL"
LIST = """
    SELECT held.id, held.symbol, held.timeframe, held.timestamp, line, text, reason, held.at, provider, path
    FROM ohlcv_rejected AS held LEFT JOIN ingest ON ingest.id = ingest_id
    WHERE state = 'held' AND ($1::text[] = '{}' OR held.symbol = ANY($1))
    AND ($2::text IS NULL OR held.timeframe = $2) AND ($3::bigint[] = '{}' OR held.id = ANY($3))
    ORDER BY held.symbol, held.timeframe, held.timestamp, line, held.id"""
DROP = "UPDATE ohlcv_rejected SET state = 'dropped' WHERE id = ANY($1)"
TO_RELEASE = """
    SELECT held.*, (
        SELECT close FROM ohlcv_data AS bars
        WHERE bars.symbol = held.symbol AND bars.timeframe = held.timeframe AND bars.timestamp < held.timestamp
        ORDER BY timestamp DESC LIMIT 1
    ) AS previous_close FROM ohlcv_rejected AS held WHERE id = $1 FOR UPDATE"""
RELEASE = """
    INSERT INTO ohlcv_data (timestamp, symbol, timeframe, open, high, low, close, volume, ingest_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (symbol, timeframe, timestamp) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, ingest_id = excluded.ingest_id"""
RELEASED = "UPDATE ohlcv_rejected SET state = 'released' WHERE id = $1"


@dataclass(frozen=True)
class Held:
    """A row in quarantine.

    Attributes
    ----------
    id : int
    symbol, timeframe : str
        Empty where the row says none.
    where : str
        Its start, or its line.
    reason, text : str
        Why it is held, and how it reads.
    source : str
        Where it comes from.
    since : str
        The date on which it came.
    """

    id: int
    symbol: str
    timeframe: str
    where: str
    reason: str
    text: str
    source: str
    since: str


async def hold_rows(
    connection: asyncpg.Connection, symbol: str, timeframe: str, rejected: Sequence["Rejected"], number: int | None
) -> None:
    """Keep rows that are not stored, in the transaction of those that are; `number` is their ingest."""
    rows = list(rejected)
    if not rows:
        return
    if len(rows) > MOST_HELD:
        first, n_more = rows[MOST_HELD - 1], sum(row.n for row in rows[MOST_HELD - 1 :])
        reason = f"{n_more:,} more rows are not kept, the first since {first.reason}; at most {MOST_HELD:,} are"
        rows[MOST_HELD - 1 :] = [replace(first, reason=reason, n=n_more)]
    stamps = [None if row.timestamp is None else datetime.fromisoformat(row.timestamp) for row in rows]
    known = [stamp for stamp in stamps if stamp is not None]
    if known:
        await connection.execute(SUPERSEDE, symbol, timeframe, known)
    # A NUL is no text to PostgreSQL.
    texts = [row.text.replace("\0", "\\0") for row in rows]
    values = [[None if row.values is None else row.values[place] for row in rows] for place in range(len(VALUES))]
    if known:
        await connection.execute(REMOVE, symbol, timeframe, stamps, *values[:4])
    await connection.execute(
        HOLD,
        number,
        symbol,
        timeframe,
        stamps,
        [row.line for row in rows],
        texts,
        [row.reason for row in rows],
        *values,
    )


async def forget_mended(connection: asyncpg.Connection, symbol: str, timeframe: str, stamps: pd.Series) -> None:
    """Let go of held rows in whose place a bar is stored now: `stamps` are the starts of those bars, sorted."""
    held = await connection.fetch(PLACES, symbol, timeframe, stamps.iloc[0], stamps.iloc[-1])
    places = pd.Series([row["timestamp"] for row in held], dtype=stamps.dtype)
    mended = places[places.isin(stamps)]
    if len(mended):
        await connection.execute(MENDED, symbol, timeframe, list(mended))


async def forget_all(connection: asyncpg.Connection, symbol: str, timeframe: str) -> None:
    """Let go of all that was held or decided of a series that is read again whole."""
    await connection.execute(FORGET, symbol, timeframe)


def decided_rows(database: "Database", symbol: str, timeframe: str, state: str | None = None) -> set[tuple[Any, str]]:
    """Return start (ISO 8601 or None) and text of the rows that were released or dropped, or of those in one state."""
    rows = database.fetch(DECIDED, symbol, timeframe)
    return {
        (row["timestamp"] and pd.Timestamp(row["timestamp"]).isoformat(), row["text"])
        for row in rows
        if state is None or row["state"] == state
    }


def without_decided(database: "Database", fetched: "Fetched") -> list["Rejected"]:
    """Return the refused rows of `fetched` that nobody has decided on yet."""
    if not fetched.rejected:
        return []
    decided = decided_rows(database, fetched.symbol, fetched.timeframe)
    return [row for row in fetched.rejected if (row.timestamp, row.text) not in decided]


def list_held(
    database: "Database", symbols: Sequence[str] = (), timeframe: str | None = None, ids: Sequence[int] = ()
) -> list[Held]:
    """Return what is held, by series and time; an empty sequence and None stand for all."""
    rows = database.fetch(LIST, list(symbols), timeframe, list(ids))
    return [_held(row) for row in rows]


def _held(row: Any) -> Held:
    stamp = row["timestamp"]
    where = f"line {row['line']}" if stamp is None else pd.Timestamp(stamp).strftime("%Y-%m-%dT%H:%MZ")
    source = " ".join(filter(None, (row["provider"], row["path"]))) or "unknown"
    key = (row["id"], row["symbol"], row["timeframe"])
    return Held(*key, where.removesuffix("T00:00Z"), row["reason"], row["text"], source, f"{row['at']:%Y-%m-%d}")


def drop_held(database: "Database", ids: Iterable[int]) -> None:
    """Say of held rows that they are wrong, for good."""
    database.fetch(DROP, list(ids))


def release_held(database: "Database", ids: Iterable[int]) -> None:
    """Store held rows as bars, all or none.

    An open that is missing or 0 becomes the close of the bar before, kept within [low, high]; that is the one repair
    there is.

    Raises
    ------
    DataError
        If a row cannot be a bar even so.
    """

    async def release() -> None:
        connection = await database.connect()
        try:
            async with connection.transaction():
                for number in ids:
                    row = await connection.fetchrow(TO_RELEASE, number)
                    key = (row["timestamp"], row["symbol"], row["timeframe"])
                    await connection.execute(RELEASE, *key, *_as_bar(row), row["ingest_id"])
                    await connection.execute(RELEASED, number)
        finally:
            await connection.close()

    database.run(release())


def _as_bar(row: Any) -> list[float | None]:
    """Return open, high, low, close and volume of a held row."""
    name = f"Row {row['id']} ({row['symbol']} {row['timeframe']}: {row['reason']})"
    other = f"correct it at its source, or drop it: `{command_line('data', do='drop', ids=[row['id']])}`".replace(
        "alphapulse.data ", "alphapulse.data rejected "
    )
    if row["timestamp"] is None or row["close"] is None:
        raise DataError(f"{name} cannot be released, since it has no prices; {other}.")
    open_, high, low, close = (float("nan") if row[price] is None else row[price] for price in PRICES)
    if impossible_prices(open_) and not impossible_prices(np.array([high, low])).any():
        if row["previous_close"] is None:
            raise DataError(
                f"{name} cannot be released, since there is no bar before it to take the open from; {other}."
            )
        open_ = min(max(row["previous_close"], low), high)
    volume = float("nan") if row["volume"] is None else row["volume"]
    if impossible_prices(np.array([open_, high, low, close])).any() or high < low or impossible_volumes(volume):
        raise DataError(f"{name} cannot be released: no such bar can be; {other}.")
    return [open_, high, low, close, None if np.isnan(volume) else volume]
