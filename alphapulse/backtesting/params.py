"""What the engine is told: its fields, their defaults and their bounds (docs/definitions.md, 4.3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from alphapulse.backtesting.account.costs import check_by_symbol
from alphapulse.typing import Float64Array1D

if TYPE_CHECKING:
    from alphapulse.market.bars import Bars

FACTS_OF_THE_WORLD = frozenset(
    {
        "initial_capital",
        "commission",
        "commission_per_order",
        "commission_per_unit",
        "commission_minimum",
        "slippage",
        "stop_slippage",
        "short_borrow_rate",
        "cash_rate",
        "funding",
        "risk_free_rate",
        "maintenance_margin",
        "periods_per_year",
        "by_symbol",
    }
)
"""Fields that no search may choose: it would pick the cheapest world."""

Execution = Literal["next_open", "next_close", "same_close"]
RebalanceFrequency = Literal["bar", "week", "month"]
Reentry = Literal["new_signal", "immediate"]
StopKind = Literal["none", "percent", "atr"]
TakeProfitKind = Literal["none", "percent", "atr", "stop"]
SizingKind = Literal["target", "volatility", "risk"]

LEVEL_CODES: Mapping[str, int] = {kind: code for code, kind in enumerate(get_args(TakeProfitKind))}
"""What the kernel calls each kind of stop and of take profit."""

LEVEL_FACTORS: Mapping[str, str] = {"percent": "percent", "atr": "multiplier", "stop": "multiplier"}
"""The field that the distance of each kind is a multiple of; without one it is infinite: no stop, no take profit."""

SIZING_CODES: Mapping[str, int] = {kind: code for code, kind in enumerate(get_args(SizingKind))}

ATR_LEVEL, STOP_LEVEL = LEVEL_CODES["atr"], LEVEL_CODES["stop"]

SERIES = ("short_borrow_rate", "funding")
"""Fields that may name a joined series."""


def level_distance_python(kind: float, factor: float, price: float, average_range: float) -> float:
    """Return how far a stop or a take profit is set from the price of the fill that opens a position [quote].

    Parameters
    ----------
    kind : float
        Its code, not that of "stop".
    factor : float
        As `level_factors` returns it.
    price : float
        Of the fill [quote].
    average_range : float
        Average true range at the decision [quote]; NaN sets nothing where it is asked.
    """
    return factor * (average_range if kind == ATR_LEVEL else price)


def level_factors(values: Mapping[str, Float64Array1D], level: str = "stop") -> Float64Array1D:
    """Return the factors (n_trials,) of `level_distance_python` from engine fields by dotted name, kinds as codes."""
    factors = np.full(len(values[f"{level}.kind"]), math.inf)
    for kind, name in LEVEL_FACTORS.items():
        factors = np.where(values[f"{level}.kind"] == LEVEL_CODES[kind], values[f"{level}.{name}"], factors)
    return factors


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, but got {value!r}.")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, but got {value!r}.")


def _check_flag(name: str, value: object) -> None:
    if value not in (True, False):
        raise ValueError(f"`{name}` must be True or False, but got {value!r}.")


def _bound(name: str, value: object, low: float, high: float = math.inf) -> None:
    _check_number(name, value)
    if not low <= value <= high:  # type: ignore[operator]
        limit = f">= {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"`{name}` must be {limit}, but got {value!r}.")


def _finite(name: str, value: object) -> None:
    _bound(name, value, 0.0)
    if value == math.inf:
        raise ValueError(f"`{name}` must be finite, but got {value!r}.")


@dataclass(frozen=True)
class StopParams:
    """When a losing position is closed (`engine.stop`).

    Attributes
    ----------
    kind : {"atr", "percent", "none"}
    percent : float
        Distance of a percent stop as a fraction of the fill price, or of the best close that it trails [1].
    multiplier : float
        Distance of an atr stop in average true ranges at the decision [1].
    trailing : bool
        Whether the stop follows the best close since the opening.
    """

    kind: StopKind = "atr"
    percent: float = 0.05
    multiplier: float = 2.0
    trailing: bool = False

    def __post_init__(self) -> None:
        _choose("engine.stop.kind", self.kind, get_args(StopKind))
        _bound("engine.stop.percent", self.percent, 0.0)
        _bound("engine.stop.multiplier", self.multiplier, 0.0)
        _check_flag("engine.stop.trailing", self.trailing)


@dataclass(frozen=True)
class TakeProfitParams:
    """When a winning position is closed (`engine.take_profit`).

    Attributes
    ----------
    kind : {"none", "percent", "atr", "stop"}
    percent : float
        Distance as a fraction of the fill price [1].
    multiplier : float
        Distance in average true ranges at the decision, or of kind stop in distances of the stop at the opening [1].
    """

    kind: TakeProfitKind = "none"
    percent: float = 0.1
    multiplier: float = 3.0

    def __post_init__(self) -> None:
        _choose("engine.take_profit.kind", self.kind, get_args(TakeProfitKind))
        _bound("engine.take_profit.percent", self.percent, 0.0)
        _bound("engine.take_profit.multiplier", self.multiplier, 0.0)


@dataclass(frozen=True)
class SizingParams:
    """What makes an allocation of a target (`engine.sizing`).

    Attributes
    ----------
    kind : {"target", "volatility", "risk"}
    target_volatility : float
        Annual volatility that a target of 1 is scaled to by kind volatility [1].
    window : int
        Bars that volatility is realized over.
    risk_per_trade : float
        Part of equity that a stop loses by kind risk [1].
    """

    kind: SizingKind = "target"
    target_volatility: float = 0.15
    window: int = 63
    risk_per_trade: float = 0.01

    def __post_init__(self) -> None:
        _choose("engine.sizing.kind", self.kind, get_args(SizingKind))
        _finite("engine.sizing.target_volatility", self.target_volatility)
        _bound("engine.sizing.window", self.window, 2)
        if self.window != int(self.window):
            raise ValueError(f"`engine.sizing.window` must be a whole number of bars, but got {self.window!r}.")
        _finite("engine.sizing.risk_per_trade", self.risk_per_trade)


GROUPS: Mapping[str, type] = {"stop": StopParams, "take_profit": TakeProfitParams, "sizing": SizingParams}
"""The fields of `EngineParams` that hold fields of their own."""


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
        Fractions of traded value [1]; `stop_slippage` comes on top at a stop; a negative commission is a rebate.
    commission_per_order, commission_per_unit, commission_minimum : float
        Of an order, of each unit of it, and the least that an order's commission is, 0 for none [quote].
    lot : float
        Positions are whole multiples of this [units]; 0 leaves them as they are.
    rebalance_band : float
        An order is sent if the allocation is off by more than this [1].
    rebalance_frequency : {"bar", "week", "month"}
        Orders fill on every bar, or on the first of a new ISO week or calendar month.
    short_borrow_rate : float or str
        Annual rate [1], or the name of a joined series of such rates.
    cash_rate : float
        Annual rate [1].
    funding : str, optional
        Name of a joined series of rates that longs pay on the value of a position, shorts get [1].
    max_leverage : float
        Targets are clipped to plus or minus this; of an account of many symbols the sum of their sizes [1].
    max_net_leverage : float, optional
        Of such an account the largest absolute sum of targets [1]; None is no cap.
    maintenance_margin : float
        A position is closed where equity falls to this part of its value [1].
    allow_short : bool
        Whether negative targets are traded; else they are 0.
    reentry : {"new_signal", "immediate"}
        Whether an exit blocks targets of its direction until a new signal.
    max_bars : int
        Bars after which a position is closed; 0 for never.
    stop : StopParams
    take_profit : TakeProfitParams
    sizing : SizingParams
    risk_free_rate : float, optional
        Annual rate that returns are measured against [1]; None is `cash_rate`, so that interest is no skill.
    periods_per_year : float, optional
        Bars in a year [1]; None takes it from the data.
    by_symbol : mapping of str to mapping of str to float
        Of an account of many symbols the costs that some of them have of their own, see `BY_SYMBOL`.
    """

    initial_capital: float = 100_000.0
    execution: Execution = "next_open"
    commission: float = 0.001
    commission_per_order: float = 0.0
    commission_per_unit: float = 0.0
    commission_minimum: float = 0.0
    slippage: float = 0.0005
    stop_slippage: float = 0.0
    lot: float = 0.0
    rebalance_band: float = 0.05
    rebalance_frequency: RebalanceFrequency = "bar"
    short_borrow_rate: float | str = 0.0
    cash_rate: float = 0.0
    funding: str | None = None
    max_leverage: float = 1.0
    max_net_leverage: float | None = None
    maintenance_margin: float = 0.0
    allow_short: bool = True
    reentry: Reentry = "new_signal"
    max_bars: int = 0
    stop: StopParams = field(default_factory=StopParams)
    take_profit: TakeProfitParams = field(default_factory=TakeProfitParams)
    sizing: SizingParams = field(default_factory=SizingParams)
    risk_free_rate: float | None = None
    periods_per_year: float | None = None
    by_symbol: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, group in GROUPS.items():
            given = getattr(self, name)
            if isinstance(given, Mapping):
                object.__setattr__(self, name, _group(name, group, given))
            elif not isinstance(given, group):
                raise TypeError(f"`engine.{name}` must be a mapping such as {{'kind': 'none'}}, but got {given!r}.")
        _choose("engine.execution", self.execution, get_args(Execution))
        _choose("engine.rebalance_frequency", self.rebalance_frequency, get_args(RebalanceFrequency))
        _choose("engine.reentry", self.reentry, get_args(Reentry))
        _check_flag("engine.allow_short", self.allow_short)
        self._check_numbers()
        self._check_rates()
        if self.by_symbol:
            object.__setattr__(self, "by_symbol", check_by_symbol(self.by_symbol, EngineParams().check))

    def _check_numbers(self) -> None:
        _check_number("engine.initial_capital", self.initial_capital)
        if not 0 < self.initial_capital < math.inf:
            raise ValueError(f"`engine.initial_capital` must be > 0 and finite, but got {self.initial_capital!r}.")
        _bound("engine.commission", self.commission, -0.5, 0.5)
        for name in ("slippage", "stop_slippage"):
            _bound(f"engine.{name}", getattr(self, name), 0.0, 0.5)
        for name in ("commission_per_order", "commission_per_unit"):
            value = getattr(self, name)
            _check_number(f"engine.{name}", value)
            if not math.isfinite(value):
                raise ValueError(f"`engine.{name}` must be finite, but got {value!r}.")
        _finite("engine.commission_minimum", self.commission_minimum)
        _finite("engine.lot", self.lot)
        _bound("engine.rebalance_band", self.rebalance_band, 0.0)
        _bound("engine.max_leverage", self.max_leverage, 0.0)
        if self.max_net_leverage is not None:
            _bound("engine.max_net_leverage", self.max_net_leverage, 0.0)
        _bound("engine.max_bars", self.max_bars, 0)
        if self.max_bars != int(self.max_bars):
            raise ValueError(f"`engine.max_bars` must be a whole number of bars, but got {self.max_bars!r}.")
        _bound("engine.maintenance_margin", self.maintenance_margin, 0.0)
        if not (self.maintenance_margin < 1.0 and self.maintenance_margin * self.max_leverage < 1.0):
            raise ValueError(
                "`engine.maintenance_margin < 1` and `maintenance_margin * max_leverage < 1` must hold, or a position "
                f"would be liquidated as it opens, but got maintenance_margin={self.maintenance_margin!r} and "
                f"max_leverage={self.max_leverage!r}."
            )

    def _check_rates(self) -> None:
        if self.funding is not None and not isinstance(self.funding, str):
            raise TypeError(f"`engine.funding` must be the name of a joined series, but got {self.funding!r}.")
        rates: dict[str, object] = {"cash_rate": self.cash_rate}
        if not isinstance(self.short_borrow_rate, str):
            rates["short_borrow_rate"] = self.short_borrow_rate
        if self.risk_free_rate is not None:
            rates["risk_free_rate"] = self.risk_free_rate
        for name, rate in rates.items():
            _bound(f"engine.{name}", rate, -1.0, 10.0)
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
    def series(self) -> dict[str, str]:
        """The joined series that are named, by field."""
        return {name: value for name in SERIES if isinstance(value := getattr(self, name), str)}

    @property
    def values(self) -> dict[str, Any]:
        """The fields by dotted name but those by symbol, `stop.kind` and its like included."""
        flat: dict[str, Any] = {}
        for f in (f for f in fields(self) if f.name != "by_symbol"):
            value = getattr(self, f.name)
            inner = fields(value) if f.name in GROUPS else ()
            flat |= {f"{f.name}.{g.name}": getattr(value, g.name) for g in inner} or {f.name: value}
        return flat

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError or TypeError if the field of a dotted name may not have `value` beside the others."""
        group, _, inner = name.rpartition(".")
        # What a group holds is checked by the group alone.
        if group:
            replace(getattr(self, group), **{inner: value})
        else:
            replace(self, **{name: value})

    def with_values(self, values: Mapping[str, Any]) -> "EngineParams":
        """Return the same with some fields changed, by dotted name."""
        changes: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
        for group in GROUPS:
            inner = {n.removeprefix(f"{group}."): v for n, v in values.items() if n.startswith(f"{group}.")}
            if inner:
                changes[group] = replace(getattr(self, group), **inner)
        return replace(self, **changes)


def _group(name: str, group: type, given: Mapping[str, Any]) -> Any:
    known = [f.name for f in fields(group)]
    for key in given:
        if key not in known:
            raise TypeError(f"Unknown engine field '{name}.{key}'; known are {', '.join(known)}.")
    return group(**given)
