"""Bars of many symbols out of the database by one COPY, each then as if it had been read alone."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphapulse.data_pipeline.availability import ensure_bars
from alphapulse.data_pipeline.binary_copy import copy_out
from alphapulse.data_pipeline.storage.adjusted_reader import UNADJUSTED, Adjust, adjusted, starts
from alphapulse.data_pipeline.storage.bar_reader import EARLIEST, KINDS, LATEST, BarColumns, columns_of
from alphapulse.data_pipeline.storage.resampled_reader import read_any
from alphapulse.typing import Float64Array1D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.data_pipeline.database import Database

# The bar so many before a moment, or the first one, of each symbol: from there on a study reads.
SINCE = """
    SELECT symbol, coalesce(
        (SELECT timestamp FROM ohlcv_data AS bars
         WHERE bars.symbol = asked.symbol AND timeframe = $2 AND timestamp < $3
         ORDER BY timestamp DESC OFFSET $4 LIMIT 1),
        (SELECT min(timestamp) FROM ohlcv_data AS bars WHERE bars.symbol = asked.symbol AND timeframe = $2)) AS since
    FROM unnest($1::text[]) AS asked(symbol)"""
WHERE = "symbol = ANY($1) AND timeframe = $2 AND timestamp >= $3 AND timestamp < $4"
COUNTS = f"SELECT symbol, count(*) FROM ohlcv_data WHERE {WHERE} GROUP BY symbol ORDER BY symbol"
SELECT = f"""
    SELECT timestamp, open, high, low, close, coalesce(volume, 'NaN') FROM ohlcv_data
    WHERE {WHERE} ORDER BY symbol, timestamp"""
DIVIDENDS = """
    SELECT symbol, timestamp, value FROM corporate_action WHERE symbol = ANY($1) AND kind = 'dividend'
    ORDER BY symbol, timestamp"""
OTHERS = """
    SELECT ohlcv_data.symbol, timestamp FROM ohlcv_data LEFT JOIN ingest ON ingest.id = ingest_id
    WHERE ohlcv_data.symbol = ANY($1) AND ohlcv_data.timeframe = $2 AND timestamp >= $3 AND timestamp < $4
    AND provider IS DISTINCT FROM $5 ORDER BY ohlcv_data.symbol, timestamp"""


class StoredBars:
    """The bars that a study asks for, symbol by symbol.

    Parameters
    ----------
    database : Database
    source : {"sample", "yahoo", "database"}
        Where bars that are not stored come from, see `ensure_bars`.
    adjust : {"total", "split"}
    """

    def __init__(self, database: "Database", source: str, adjust: Adjust) -> None:
        self.database, self.source, self.adjust = database, source, adjust
        self._ensured: set[tuple[str, str]] = set()

    def ensure(
        self,
        symbol: str,
        timeframe: str,
        start: pd.Timestamp | None,
        stop: pd.Timestamp | None,
        *,
        required: bool = True,
    ) -> None:
        """Put bars into the database that the source can give and that are not there, see `ensure_bars`.

        The source is asked once for a symbol and timeframe: a study has one range.
        """
        if (symbol, timeframe) not in self._ensured:
            ensure_bars(self.database, self.source, [symbol], timeframe, start, stop, required=required)
            self._ensured.add((symbol, timeframe))

    def read(
        self, symbol: str, timeframe: str, start: pd.Timestamp | None, stop: pd.Timestamp | None, n_before: int = 0
    ) -> BarColumns:
        """Return the bars that start in [start, stop), and up to `n_before` before them, see `read_any`."""
        return read_any(self.database, symbol, timeframe, start, stop, n_before, adjust=self.adjust)


@dataclass(frozen=True)
class _Held:
    """Bars as stored that start in [since, stop); `others` (n,) are starts of those that count dividends already."""

    columns: BarColumns
    since: pd.Timestamp
    stop: pd.Timestamp | None
    ex_date: Int64Array1D
    amount: Float64Array1D
    others: Int64Array1D


class ManyStoredBars(StoredBars):
    """As `StoredBars`, with bars of many symbols fetched at once; what was not is read alone."""

    def __init__(self, database: "Database", source: str, adjust: Adjust) -> None:
        super().__init__(database, source, adjust)
        self._held: dict[tuple[str, str], _Held] = {}

    def since(
        self, symbols: Sequence[str], timeframe: str, start: pd.Timestamp | None, n_before: int
    ) -> pd.Timestamp | None:
        """Return the earliest bar that any symbol is read from for `n_before` bars before `start`; None without one."""
        if start is None:
            return None
        rows = self.database.fetch(SINCE, list(symbols), timeframe, start, max(n_before - 1, 0))
        return min([start, *(pd.Timestamp(row["since"]) for row in rows if row["since"] is not None)])

    def fetch(
        self, symbols: Sequence[str], timeframe: str, since: pd.Timestamp | None, stop: pd.Timestamp | None
    ) -> None:
        """Read the bars of `symbols` that start in [since, stop), and their dividends."""
        bounds = (since if since is not None else EARLIEST, stop if stop is not None else LATEST)
        asked = (list(dict.fromkeys(symbols)), timeframe, *bounds)

        async def copy() -> tuple[list[tuple[str, int]], BarColumns]:
            connection = await self.database.connect()
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    counts = [(symbol, n_bars) for symbol, n_bars in await connection.fetch(COUNTS, *asked)]
                    n_rows = sum(n_bars for _, n_bars in counts)
                    read = await copy_out(connection, SELECT, *asked, kinds=KINDS, n_rows=n_rows)
                    return counts, columns_of([read])
            finally:
                await connection.close()

        counts, columns = self.database.run(copy())
        paid: dict[str, tuple[Int64Array1D, Float64Array1D]] = {}
        others: dict[str, Int64Array1D] = {}
        if self.adjust == "total" and counts:
            rows = self.database.fetch(DIVIDENDS, [symbol for symbol, _ in counts])
            for symbol, group in itertools.groupby(rows, key=lambda row: str(row["symbol"])):
                each = list(group)
                paid[symbol] = starts(each), np.array([row["value"] for row in each])
        if paid:
            rows = self.database.fetch(OTHERS, list(paid), timeframe, *bounds, UNADJUSTED)
            for symbol, group in itertools.groupby(rows, key=lambda row: str(row["symbol"])):
                others[symbol] = starts(list(group))
        nothing = np.empty(0, dtype=np.int64)
        end = 0
        for symbol, n_bars in counts:
            begin, end = end, end + n_bars
            dividends = paid.get(symbol, (nothing, np.empty(0)))
            held = _Held(columns[begin:end], bounds[0], stop, *dividends, others.get(symbol, nothing))
            self._held[symbol, timeframe] = held

    def read(
        self, symbol: str, timeframe: str, start: pd.Timestamp | None, stop: pd.Timestamp | None, n_before: int = 0
    ) -> BarColumns:
        """Return what `StoredBars.read` does, to the bit; from memory, where it holds all that is asked for."""
        held = self._held.get((symbol, timeframe))
        begins = EARLIEST if start is None else start
        if held is None or held.stop != stop or begins < held.since:
            return super().read(symbol, timeframe, start, stop, n_before)
        place = int(np.searchsorted(held.columns.timestamp, begins.as_unit("ns").value))
        columns = held.columns[max(place - n_before, 0) :]
        return adjusted(columns, timeframe, held.ex_date, held.amount, lambda: held.others)
