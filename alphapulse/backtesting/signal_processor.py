"""The friendly face of a strategy: price tables in, the target allocation at each close out."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from alphapulse.errors import did_you_mean
from alphapulse.market.bars import PRICES, Bars, impossible_prices
from alphapulse.market.calendar import count_periods_per_year
from alphapulse.market.joining import bar_end, join_by_end
from alphapulse.market.timeframes import DAY, duration_length, labelled_end, timeframe_of
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.columns import checked_target
from alphapulse.strategies.resolve import adapt, resolve
from alphapulse.typing import Float64Array1D, Int64Array1D

VOLATILITY_INDEX = "^VIX"
DEFAULT_STRATEGY = "long_short"
SETTINGS = ("max_leverage", "volatility_symbol", "max_staleness", "timeframe", "search_path")

StrategyConfig: TypeAlias = Mapping[str, Any] | Strategy | type | str


def generate_target_allocation(
    data: pd.DataFrame | Mapping[str, pd.DataFrame], strategy_config: StrategyConfig | None = None
) -> pd.Series:
    """Return what a strategy wants to hold, decided at the close of each bar from data known by then.

    Parameters
    ----------
    data : DataFrame, or mapping of symbol to DataFrame
        Columns open, high, low and close [quote] and, if known, volume; the index is the start of each bar, aware of
        its time zone. Of several symbols the first is traded; the closes of the others join by the end of their bars.
        A column `volatility` [percent] is the volatility index already joined.
    strategy_config : mapping, strategy or str, optional
        Parameters of `long_short`; or with `_target_` those of any strategy, by short name or dotted path. Settings
        beside them: max_leverage (default 1), volatility_symbol (default "^VIX" where `data` has it), max_staleness
        (default "7d"), timeframe (default: the distance of the bars) and search_path (default: the working directory).
        A strategy, its class, or its name alone, stands for itself with these defaults.

    Returns
    -------
    Series
        The target allocation, in [-max_leverage, max_leverage] [1], on the index of the traded symbol; 0 while nothing
        is decided.

    Raises
    ------
    TypeError
        If an argument is not of the types above.
    ValueError
        If timestamps are naive, unsorted or duplicate, columns are missing, prices not positive, or targets not finite.
    StrategyError
        If the strategy cannot be imported, or refuses its parameters.
    """
    strategy, settings = _read_config(strategy_config)
    max_leverage = settings.get("max_leverage", 1.0)
    if isinstance(max_leverage, bool) or not isinstance(max_leverage, (int, float)) or not 0 <= max_leverage < np.inf:
        raise ValueError(f"`max_leverage` must be a number >= 0, but got {max_leverage!r}.")
    bars, index = _read_bars(data, settings)
    target = np.clip(checked_target(strategy, bars), -max_leverage, max_leverage)
    return pd.Series(target, index=index, name="target")


def _read_config(config: StrategyConfig | None) -> tuple[Strategy, dict[str, Any]]:
    if isinstance(config, type) and callable(getattr(config, "target", None)):
        config = config()
    if callable(getattr(config, "target", None)):
        return adapt(config), {}
    if isinstance(config, str):
        return resolve(config).build({}), {}
    if is_dataclass(config) and not isinstance(config, type):
        config = {f.name: getattr(config, f.name) for f in fields(config)}
    if config is not None and not isinstance(config, Mapping):
        raise TypeError(f"`strategy_config` must be a mapping, a strategy or a name, but got {type(config).__name__}.")
    values = {str(name): value for name, value in (config or {}).items()}
    target = values.pop("_target_", DEFAULT_STRATEGY)
    definition = resolve(target, values.get("search_path"))
    settings = {n: values.pop(n) for n in SETTINGS if n in values and n not in definition.parameters}
    return definition.build(values), settings


def _read_bars(
    data: pd.DataFrame | Mapping[str, pd.DataFrame], settings: Mapping[str, Any]
) -> tuple[Bars, pd.DatetimeIndex]:
    tables = {"prices": data} if isinstance(data, pd.DataFrame) else data
    if not isinstance(tables, Mapping) or not tables:
        raise TypeError(f"`data` must be a DataFrame, or symbols with a DataFrame each, but got {type(data).__name__}.")
    symbol = next(iter(tables))
    index = _checked_index(symbol, tables[symbol])
    columns = {name: _column(symbol, tables[symbol], name) for name in PRICES}
    for name, values in columns.items():
        wrong = impossible_prices(values)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise ValueError(f"`{name}` of {symbol} must be finite and > 0, but is {values[place]} at {index[place]}.")
    timestamp = index.as_unit("ns").asi8.copy()
    timeframe = settings.get("timeframe") or _infer_timeframe(timestamp)
    # A decision is taken at the labelled end, also on a date whose other bars are missing.
    end = labelled_end(timestamp, timeframe)
    max_staleness = duration_length(settings.get("max_staleness", "7d"))
    joined = {other: _join(other, table, end, max_staleness) for other, table in tables.items() if other != symbol}
    unknown = np.full(len(index), np.nan)
    own = tables[symbol]
    volatility = _column(symbol, own, "volatility") if "volatility" in own.columns else unknown
    volatility_symbol = settings.get("volatility_symbol")
    if volatility_symbol is not None and volatility_symbol not in joined:
        hint = did_you_mean(str(volatility_symbol), joined) or f"; it has {', '.join(map(str, tables))}."
        raise ValueError(f"`volatility_symbol` must be in `data`, but {volatility_symbol!r} is not{hint}")
    volatility = joined.pop(volatility_symbol or VOLATILITY_INDEX, volatility)
    bars = Bars(
        symbol=str(symbol),
        timeframe=timeframe,
        timestamp=timestamp,
        open=columns["open"],
        high=columns["high"],
        low=columns["low"],
        close=columns["close"],
        volume=_column(symbol, own, "volume") if "volume" in own.columns else unknown,
        volatility=volatility,
        others=joined,
        periods_per_year=count_periods_per_year(timestamp, timeframe),
    )
    for array in (*(bars.column(n) for n in (*PRICES, "timestamp", "volume", "volatility")), *joined.values()):
        array.flags.writeable = False
    return bars, index


def _join(symbol: str, table: pd.DataFrame, end: Int64Array1D, max_staleness: int) -> Float64Array1D:
    timestamp = _checked_index(symbol, table).as_unit("ns").asi8.copy()
    own_end = bar_end(timestamp, _infer_timeframe(timestamp))
    return join_by_end(end, own_end, _column(symbol, table, "close"), max_staleness=max_staleness)


def _checked_index(symbol: str, table: pd.DataFrame) -> pd.DatetimeIndex:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"The bars of {symbol} must be a DataFrame, but are a {type(table).__name__}.")
    index = table.index
    if not isinstance(index, pd.DatetimeIndex):
        raise TypeError(
            f"The bars of {symbol} must be indexed by timestamps, but the index is a {type(index).__name__}."
        )
    if len(index) == 0:
        raise ValueError(f"There must be at least one bar of {symbol}, but there is none.")
    if index.tz is None:
        raise ValueError(f"The timestamps of {symbol} must be aware of their time zone; use tz_localize('UTC').")
    if index.hasnans:
        raise ValueError(f"The timestamps of {symbol} must be known, but row {int(np.argmax(index.isna()))} has none.")
    if index.has_duplicates:
        raise ValueError(f"The timestamps of {symbol} must not repeat, but {index[index.duplicated()][0]} does.")
    if not index.is_monotonic_increasing:
        place = int(np.flatnonzero(np.diff(index.asi8) < 0)[0]) + 1
        raise ValueError(f"The timestamps of {symbol} must increase, but {index[place]} does not; use sort_index().")
    return index


def _column(symbol: str, table: pd.DataFrame, name: str) -> Float64Array1D:
    if name not in table.columns:
        there = ", ".join(map(str, table.columns))
        raise ValueError(f"The bars of {symbol} must have a column `{name}`, but have {there}.")
    if isinstance(table[name], pd.DataFrame):
        raise ValueError(f"The bars of {symbol} must have one column `{name}`, but have more; drop the others.")
    try:
        return np.array(table[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` of {symbol} must be numbers, but is of type {table[name].dtype}.") from error


def _infer_timeframe(timestamp: Int64Array1D) -> str:
    """Return the smallest distance of two bars as a timeframe; "1d" for a single bar."""
    return timeframe_of(int(np.diff(timestamp).min()) if len(timestamp) > 1 else DAY)
