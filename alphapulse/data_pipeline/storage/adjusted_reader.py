"""Bars out of the database with the dividends in their prices."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import asyncpg
import numpy as np
import pandas as pd

from alphapulse.data_pipeline.storage.bar_reader import BarColumns, read_bars
from alphapulse.market.adjustment import dividend_factors
from alphapulse.market.bars import PRICES
from alphapulse.market.timeframes import timeframe_length
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

Adjust = Literal["total", "split"]

# A provider whose prices are adjusted for splits and not for dividends: to the others dividends are not applied.
UNADJUSTED = "yfinance"
DIVIDENDS = "SELECT timestamp, value FROM corporate_action WHERE symbol = $1 AND kind = 'dividend' ORDER BY timestamp"
OTHERS = """
    SELECT timestamp FROM ohlcv_data LEFT JOIN ingest ON ingest.id = ingest_id
    WHERE ohlcv_data.symbol = $1 AND ohlcv_data.timeframe = $2 AND provider IS DISTINCT FROM $3
    AND timestamp >= $4 AND timestamp <= $5"""


def read_adjusted(
    database: "Database",
    symbol: str,
    timeframe: str,
    start: pd.Timestamp | None,
    stop: pd.Timestamp | None,
    adjust: Adjust,
) -> BarColumns:
    """Return the stored bars that start in [start, stop), with dividends in their prices where `adjust` is "total".

    Only bars of a provider that says so are without dividends as stored; others stay as they are.
    """
    columns = read_bars(database, symbol, timeframe, start, stop)
    dividends = database.fetch(DIVIDENDS, symbol) if adjust == "total" and len(columns) else []

    def others() -> Int64Array1D:
        bounds = (pd.Timestamp(int(columns.timestamp[place]), tz="UTC") for place in (0, -1))
        return starts(database.fetch(OTHERS, symbol, timeframe, UNADJUSTED, *bounds))

    amount = np.array([row["value"] for row in dividends])
    return adjusted(columns, timeframe, starts(dividends), amount, others)


def starts(rows: Sequence[asyncpg.Record]) -> Int64Array1D:
    """Return the `timestamp` of each row (n_rows,) [ns since the epoch, UTC]."""
    stamps: Int64Array1D = pd.DatetimeIndex([row["timestamp"] for row in rows], tz="UTC").as_unit("ns").asi8
    return stamps


def adjusted(
    columns: BarColumns,
    timeframe: str,
    ex_date: Int64Array1D,
    amount: Float64Array1D,
    others: Callable[[], Int64Array1D],
) -> BarColumns:
    """Return bars with dividends in their prices, see `dividend_factors`.

    Parameters
    ----------
    columns : BarColumns
    timeframe : str
    ex_date : (n_dividends,) int64
        [ns since the epoch, UTC]; without any, the bars are as they were.
    amount : (n_dividends,) float64
        [quote].
    others : callable
        Returns the starts (n,) of bars whose prices stay as they are; asked only where there are dividends.
    """
    if not len(ex_date) or not len(columns):
        return columns
    factors = dividend_factors(columns.timestamp, columns.close, ex_date, amount, timeframe_length(timeframe))
    factors[np.isin(columns.timestamp, others())] = 1.0
    return replace(columns, **{name: getattr(columns, name) * factors for name in PRICES})
