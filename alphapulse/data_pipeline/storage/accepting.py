"""Bars as programs have them, made ready to be stored: tables of pandas, yfinance's too, and records."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from alphapulse.data_pipeline.models import OHLCVRecord
from alphapulse.data_pipeline.providers.base import Fetched, checked
from alphapulse.market.bars import PRICES
from alphapulse.market.timeframes import parse_timeframe, timeframe_of

NUMBERS = (*PRICES, "volume")
MOMENTS = ("timestamp", "datetime", "date")


def as_fetched(
    bars: "pd.DataFrame | Iterable[Fetched] | Iterable[OHLCVRecord]",
    symbol: str | None = None,
    timeframe: str | None = None,
) -> list[Fetched]:
    """Return bars by symbol and timeframe, checked.

    Parameters
    ----------
    bars : DataFrame, or iterable of Fetched or OHLCVRecord
        A table has open, high, low, close and perhaps volume in columns of any case, and the start of each bar in its
        index or in a column timestamp, aware of its time zone unless it is a date. Its columns may have two levels,
        prices and symbols, in either order, as yfinance has them; or it has columns symbol and timeframe.
    symbol, timeframe : str, optional
        What a table does not say; the timeframe is the usual distance of the bars where neither does.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If a table lacks a column, its symbol or a time zone.
    """
    if isinstance(bars, pd.DataFrame):
        return list(_of_table(bars, symbol, timeframe))
    items = list(bars)
    if all(isinstance(item, Fetched) for item in items):
        return [item for item in items if isinstance(item, Fetched)]
    if all(isinstance(item, OHLCVRecord) for item in items):
        table = pd.DataFrame([{name: getattr(item, name) for name in OHLCVRecord.__annotations__} for item in items])
        return list(_of_table(table, None, None))
    kinds = sorted({type(item).__name__ for item in items})
    raise TypeError(f"`bars` must be a DataFrame, Fetched series or OHLCVRecords, but got {', '.join(kinds)}.")


def _of_table(table: pd.DataFrame, symbol: str | None, timeframe: str | None) -> Iterator[Fetched]:
    for own, part in _by_symbol(table):
        rows = part.rename(columns=lambda name: str(name).strip().lower())
        rows = rows.assign(timestamp=_moments(rows))
        missing = [name for name in PRICES if name not in rows.columns]
        if missing:
            raise ValueError(f"The bars must have the column {', '.join(missing)}, but have {', '.join(rows.columns)}.")
        rows = rows if "volume" in rows.columns else rows.assign(volume=float("nan"))
        rows = rows.assign(symbol=own or rows.get("symbol", symbol), timeframe=rows.get("timeframe", timeframe))
        if rows["symbol"].isna().any():
            raise ValueError("The bars must say their symbol; give symbol=NAME.")
        if rows["timeframe"].isna().any():
            rows = rows.assign(timeframe=_spacing(rows["timestamp"]))
        for (name, label), group in rows.groupby(["symbol", "timeframe"], sort=True):
            chosen = group.dropna(subset=list(PRICES), how="all").reset_index(drop=True)
            numbers = chosen[["timestamp", *NUMBERS]].astype(dict.fromkeys(NUMBERS, "float64"))
            yield checked(str(name), str(parse_timeframe(str(label))), numbers)


def _by_symbol(table: pd.DataFrame) -> Iterator[tuple[str | None, pd.DataFrame]]:
    if table.columns.nlevels == 1:
        yield None, table
        return
    levels: list[Any] = [{str(name).lower() for name in table.columns.get_level_values(level)} for level in (0, 1)]
    level = next((number for number in (0, 1) if set(PRICES) <= levels[number]), None)
    if level is None:
        raise ValueError(f"The bars must have open, high, low and close in a level of columns, but have {levels}.")
    for symbol in dict.fromkeys(table.columns.get_level_values(1 - level)):
        yield str(symbol), pd.DataFrame(table.xs(symbol, axis=1, level=1 - level))


def _moments(rows: pd.DataFrame) -> pd.Series:
    name = next((name for name in MOMENTS if name in rows.columns), None)
    stamps = pd.Series(pd.DatetimeIndex(rows.index if name is None else rows[name]), index=rows.index)
    if stamps.dt.tz is not None:
        return stamps.dt.tz_convert("UTC")
    if (stamps.dt.normalize() != stamps).any():
        raise ValueError("The starts of bars must be aware of their time zone, or dates; use tz_localize.")
    return stamps.dt.tz_localize("UTC")


def _spacing(stamps: pd.Series) -> str:
    distance = stamps.drop_duplicates().sort_values().diff().dropna()
    if distance.empty:
        raise ValueError("One bar does not say how long it is; give timeframe='1d'.")
    return timeframe_of(int(distance.mode().iloc[0] / pd.Timedelta(1, "ns")))
