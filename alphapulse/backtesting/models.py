"""What the engine is told, re-exported, and what it answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alphapulse.backtesting.params import EngineParams, SizingParams, StopParams, TakeProfitParams

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BacktestResult", "EngineParams", "Position", "SizingParams", "StopParams", "TakeProfitParams"]


@dataclass(frozen=True)
class Position:
    """An open position.

    Attributes
    ----------
    symbol : str
    units : float
        Negative when short.
    entry_time : Timestamp
        Start of the bar in which it was opened.
    entry_price : float
        Of the fill that opened it, before costs [quote].
    stop, take_profit : float, optional
        Prices at which it is closed from the next bar on [quote]; None without one.
    value : float
        Units at the last close [quote], negative when short.
    unrealised_profit : float
        Net profit of the trade so far, marked at the last close [quote].
    """

    symbol: str
    units: float
    entry_time: "pd.Timestamp"
    entry_price: float
    stop: float | None
    take_profit: float | None
    value: float
    unrealised_profit: float


@dataclass(frozen=True)
class BacktestResult:
    """One backtest: its curves, its fills and its metrics.

    Attributes
    ----------
    equity : Series
        Equity at the close of each scored bar [quote]; 0 from ruin on.
    returns : Series
        Simple returns of `equity` [1], the first against the initial capital.
    allocation : Series
        Position value over equity at each close [1], negative when short; 0 where equity is.
    trades : DataFrame
        One row a round trip, in order: timestamp (start of the bar of entry), exit_timestamp, side (long, short),
        units (at the entry, negative when short), price (of the entry) and exit_price [quote], reason of the exit
        (target, stop, take_profit, time, liquidation; end of one that is open, marked at the last close), net_profit
        [quote], return (over the equity at the entry) [1], bars, worst and best excursion of the price [1].
    fills : DataFrame
        One row a fill, in order: timestamp (start of the bar), side (buy, sell), reason (order, stop, take_profit,
        time, liquidation, ruin), price [quote], units and value [quote] (negative when sold), cost [quote], equity and
        position [units] after the fill.
    metrics : dict of str to float
        Values are keyed by the names of `METRICS`; NaN where undefined.
    ruined : bool
        Whether equity fell to 0.
    position : Position, optional
        The one that is open at the end.
    target : float
        What was decided at the last close, before it is clipped or sized [1]: the order of the next bar.
    n_both : int
        Bars that reached stop and take profit, of which the stop was taken to be the first.
    weights : DataFrame, optional
        Of an account of many symbols the value of each position over equity at each close, one column a symbol [1];
        `allocation` is their sum then, trades and fills have a column symbol, and the equity of a fill is that before
        the fills of its moment.
    positions : tuple of Position
        Of such an account those that are open at the end.
    targets : mapping of str to float
        Of such an account what was decided at the last close, by symbol.
    """

    equity: "pd.Series"
    returns: "pd.Series"
    allocation: "pd.Series"
    trades: "pd.DataFrame"
    fills: "pd.DataFrame"
    metrics: dict[str, float]
    ruined: bool
    position: Position | None = None
    target: float = math.nan
    n_both: int = 0
    weights: "pd.DataFrame | None" = None
    positions: tuple[Position, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)
