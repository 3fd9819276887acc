"""What the engine is told and what it answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from alphapulse.typing import Float64Array1D

if TYPE_CHECKING:
    import pandas as pd

    from alphapulse.market.bars import Bars

FACTS_OF_THE_WORLD = frozenset(
    {
        "initial_capital",
        "commission",
        "slippage",
        "stop_slippage",
        "short_borrow_rate",
        "cash_rate",
        "risk_free_rate",
        "periods_per_year",
    }
)
"""Fields that no search may choose: it would pick the cheapest world."""

Execution = Literal["next_open", "next_close", "same_close"]
RebalanceFrequency = Literal["bar", "week", "month"]
Reentry = Literal["new_signal", "immediate"]
StopKind = Literal["none", "percent", "atr"]
STOP_CODES: Mapping[str, int] = {kind: code for code, kind in enumerate(get_args(StopKind))}
"""What the kernel calls each kind of stop."""

STOP_FACTORS: Mapping[str, str] = {"percent": "percent", "atr": "multiplier"}
"""The field of `StopParams` that the distance of each kind is a multiple of; without one it is infinite: no stop."""

ATR_STOP = STOP_CODES["atr"]


def stop_distance_python(kind: float, factor: float, price: float, average_range: float) -> float:
    """Return how far a stop is set from the price of the fill that opens a position [quote] (4.3 Stops).

    Parameters
    ----------
    kind : float
        Its code.
    factor : float
        As `stop_factors` returns it.
    price : float
        Of the fill [quote].
    average_range : float
        Average true range at the decision [quote]; NaN sets no stop where it is asked.
    """
    return factor * (average_range if kind == ATR_STOP else price)


def stop_factors(values: Mapping[str, Float64Array1D]) -> Float64Array1D:
    """Return the factors (n_trials,) of `stop_distance_python` from engine fields by dotted name, kinds as codes."""
    factors = np.full(len(values["stop.kind"]), math.inf)
    for kind, name in STOP_FACTORS.items():
        factors = np.where(values["stop.kind"] == STOP_CODES[kind], values[f"stop.{name}"], factors)
    return factors


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, but got {value!r}.")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, but got {value!r}.")


def _bound(name: str, value: float, low: float, high: float = math.inf) -> None:
    _check_number(name, value)
    if not low <= value <= high:
        limit = f">= {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"`{name}` must be {limit}, but got {value!r}.")


@dataclass(frozen=True)
class StopParams:
    """When a losing position is closed (`engine.stop`).

    Attributes
    ----------
    kind : {"atr", "percent", "none"}
    percent : float
        Distance of a percent stop as a fraction of the fill price [1].
    multiplier : float
        Distance of an atr stop in average true ranges at the decision [1].
    trailing : bool
        Whether the stop follows the close in the position's favour.
    """

    kind: StopKind = "atr"
    percent: float = 0.05
    multiplier: float = 2.0
    trailing: bool = False

    def __post_init__(self) -> None:
        _choose("engine.stop.kind", self.kind, get_args(StopKind))
        _bound("engine.stop.percent", self.percent, 0.0)
        _bound("engine.stop.multiplier", self.multiplier, 0.0)
        if self.trailing not in (True, False):
            raise ValueError(f"`engine.stop.trailing` must be True or False, but got {self.trailing!r}.")


@dataclass(frozen=True)
class EngineParams:
    """How a target allocation is traded.

    Attributes
    ----------
    initial_capital : float
        Equity before the first bar [quote].
    execution : {"next_open", "next_close", "same_close"}
        Where the target decided at a close is filled.
    commission, slippage, stop_slippage : float
        Fractions of traded value [1]; `stop_slippage` comes on top at a stop.
    rebalance_band : float
        An order is sent if the allocation is off by more than this [1].
    rebalance_frequency : {"bar", "week", "month"}
        Orders fill on every bar, or on the first of a new ISO week or calendar month.
    short_borrow_rate, cash_rate : float
        Annual rates [1].
    max_leverage : float
        Targets are clipped to plus or minus this [1].
    reentry : {"new_signal", "immediate"}
        Whether a stop blocks targets of its direction until a new signal.
    stop : StopParams
    risk_free_rate : float, optional
        Annual rate that returns are measured against [1]; None is `cash_rate`, so that interest is no skill.
    periods_per_year : float, optional
        Bars in a year [1]; None takes it from the data.
    """

    initial_capital: float = 100_000.0
    execution: Execution = "next_open"
    commission: float = 0.001
    slippage: float = 0.0005
    stop_slippage: float = 0.0
    rebalance_band: float = 0.05
    rebalance_frequency: RebalanceFrequency = "bar"
    short_borrow_rate: float = 0.0
    cash_rate: float = 0.0
    max_leverage: float = 1.0
    reentry: Reentry = "new_signal"
    stop: StopParams = field(default_factory=StopParams)
    risk_free_rate: float | None = None
    periods_per_year: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stop, Mapping):
            object.__setattr__(self, "stop", StopParams(**self.stop))
        if not isinstance(self.stop, StopParams):
            raise TypeError(f"`engine.stop` must be a mapping such as {{'kind': 'none'}}, but got {self.stop!r}.")
        _choose("engine.execution", self.execution, get_args(Execution))
        _choose("engine.rebalance_frequency", self.rebalance_frequency, get_args(RebalanceFrequency))
        _choose("engine.reentry", self.reentry, get_args(Reentry))
        _check_number("engine.initial_capital", self.initial_capital)
        if not 0 < self.initial_capital < math.inf:
            raise ValueError(f"`engine.initial_capital` must be > 0 and finite, but got {self.initial_capital!r}.")
        for name in ("commission", "slippage", "stop_slippage"):
            _bound(f"engine.{name}", getattr(self, name), 0.0, 0.5)
        _bound("engine.rebalance_band", self.rebalance_band, 0.0)
        _bound("engine.max_leverage", self.max_leverage, 0.0)
        for name in ("short_borrow_rate", "cash_rate"):
            _bound(f"engine.{name}", getattr(self, name), -1.0, 10.0)
        if self.risk_free_rate is not None:
            _bound("engine.risk_free_rate", self.risk_free_rate, -1.0, 10.0)
        if self.periods_per_year is not None:
            _check_number("engine.periods_per_year", self.periods_per_year)
            if not 0 < self.periods_per_year < math.inf:
                raise ValueError(
                    f"`engine.periods_per_year` must be > 0 and finite, but got {self.periods_per_year!r}."
                )

    def bars_per_year(self, bars: "Bars") -> float:
        """Return how many bars make a year [1]: `periods_per_year`, or where it is None what `bars` say."""
        return bars.periods_per_year if self.periods_per_year is None else self.periods_per_year

    @property
    def rate_of_cash(self) -> float:
        """Annual rate that returns are measured against [1]."""
        return self.cash_rate if self.risk_free_rate is None else self.risk_free_rate

    @property
    def values(self) -> dict[str, Any]:
        """The fields by dotted name, `stop.kind` and its like included."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "stop"}
        return flat | {f"stop.{f.name}": getattr(self.stop, f.name) for f in fields(self.stop)}


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
        One row a fill, in order: timestamp (start of the bar), side (buy, sell), reason (order, stop, ruin), price
        [quote], units and value [quote] (negative when sold), cost [quote], equity and position [units] after the fill.
    metrics : dict of str to float
        Values are keyed by the names of `METRICS`; NaN where undefined.
    ruined : bool
        Whether equity fell to 0.
    """

    equity: "pd.Series"
    returns: "pd.Series"
    allocation: "pd.Series"
    trades: "pd.DataFrame"
    metrics: dict[str, float]
    ruined: bool
