"""Dividends and splits as stored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import pandas as pd

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database
    from alphapulse.data_pipeline.providers.base import Action

CLEAR = "DELETE FROM corporate_action WHERE symbol = $1 AND timestamp >= $2 AND timestamp <= $3"
INSERT = """
    INSERT INTO corporate_action (symbol, timestamp, kind, value) VALUES ($1, $2, $3, $4)
    ON CONFLICT (symbol, timestamp, kind) DO UPDATE SET value = excluded.value"""


async def write_actions(
    connection: asyncpg.Connection,
    symbol: str,
    actions: Sequence["Action"],
    dates: tuple[pd.Timestamp, pd.Timestamp] | None,
) -> None:
    """Store what happened to a symbol, in place of what was known of the `dates` from the first to the second."""
    if dates is not None:
        await connection.execute(CLEAR, symbol, *dates)
    await connection.executemany(INSERT, [(symbol, one.timestamp, one.kind, one.value) for one in actions])


def known_splits(database: "Database", symbol: str) -> dict[pd.Timestamp, float]:
    """Return new shares for an old one [1] by ex-date."""
    rows = database.fetch("SELECT timestamp, value FROM corporate_action WHERE symbol = $1 AND kind = 'split'", symbol)
    return {pd.Timestamp(row["timestamp"]): row["value"] for row in rows}
