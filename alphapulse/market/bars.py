"""Bars of the traded symbol with what is joined to them: all that a strategy may look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np

from alphapulse.errors import did_you_mean
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

PRICES = ("open", "high", "low", "close")
COLUMNS = ("timestamp", *PRICES, "volume", "volatility")
PARTS = ("open", "high", "low", "volume")
"""What is joined of another symbol beside its close."""


class IndicatorMemory(Protocol):
    """Where bars keep the indicators that were computed from them, see `IndicatorCache`."""

    def indicator(self, bars: "Bars", function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Return `function` of `arguments`, in which a string names a column of `bars`."""


@dataclass(frozen=True)
class Bars:
    """Bars of the traded symbol and the series joined to them by the end of each bar.

    Attributes
    ----------
    symbol, timeframe : str
        What is traded, and the length of a bar ("1d", "1h").
    timestamp : (n_bars,) int64
        Start of each bar [ns since the epoch, UTC], strictly increasing.
    open, high, low, close : (n_bars,) float64
        Prices [quote], positive.
    volume : (n_bars,) float64
        Traded volume; NaN where unknown.
    volatility : (n_bars,) float64
        Close of the volatility index last known at the end of each bar [percent]; NaN where unknown.
    others : mapping of str to (n_bars,) float64
        Closes of the other symbols [quote], joined the same way; NaN where unknown.
    parts : mapping of str to (n_bars,) float64
        Open, high, low [quote] and volume of the bars that these closes end, by "SYMBOL.open"; see `of`.
    rates : mapping of str to (n_bars,) float64
        Rates that the engine pays, by its field: `short_borrow_rate` as known at the end of each bar, `funding` summed
        over the stamps after the end of the bar before and up to that of each bar; NaN where unknown.
    periods_per_year : float
        Bars in a year [1].
    symbols : tuple of str
        Of an account of many symbols all that are traded, in order; see `account.account_bars`. Empty where one is.
    cache : IndicatorMemory, optional
        Where `indicator` keeps what it computed.
    """

    symbol: str
    timeframe: str
    timestamp: Int64Array1D
    open: Float64Array1D
    high: Float64Array1D
    low: Float64Array1D
    close: Float64Array1D
    volume: Float64Array1D
    volatility: Float64Array1D
    others: Mapping[str, Float64Array1D] = field(default_factory=dict)
    parts: Mapping[str, Float64Array1D] = field(default_factory=dict)
    rates: Mapping[str, Float64Array1D] = field(default_factory=dict)
    periods_per_year: float = 252.0
    symbols: tuple[str, ...] = ()
    cache: "IndicatorMemory | None" = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.close)

    def __getitem__(self, part: slice) -> "Bars":
        """Return the bars of `part` as views of the same memory."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        own: dict[str, Any] = {name: column[part] for name, column in columns.items() if isinstance(column, np.ndarray)}
        joined: dict[str, Any] = {
            name: {key: values[part] for key, values in columns[name].items()} for name in ("others", "parts", "rates")
        }
        return replace(self, **own, **joined, cache=None)

    def of(self, symbol: str) -> "Bars | OtherBars":
        """Return the whole bars of another symbol, one for each of these bars, or these themselves.

        Each is the last one whose end is not after the end of the traded bar; NaN where none is known.

        Raises
        ------
        ValueError
            If the symbol is not joined.
        """
        if symbol == self.symbol and not self.symbols:
            return self
        if symbol not in self.others or f"{symbol}.high" not in self.parts:
            known = [*(() if self.symbols else (self.symbol,)), *self.others]
            hint = did_you_mean(symbol, known) or f" (there are {', '.join(known)})"
            raise ValueError(
                f"No bars of {symbol!r} are joined to those of {self.symbol!r}{hint}; write data.others=[{symbol}]."
            )
        return OtherBars(self, symbol)

    def matrix(self, part: str = "close") -> Float64Array2D:
        """Return open, high, low, close [quote] or volume of all `symbols` (n_bars, n_symbols); NaN without a bar.

        Raises
        ------
        ValueError
            If one symbol is traded, or there is no such part.
        """
        if not self.symbols:
            raise ValueError("`matrix` is of many symbols in one account; write universe=account.")
        return np.stack([self.column(f"{symbol}.{part}") for symbol in self.symbols], axis=1)

    def column(self, name: str) -> Float64Array1D:
        """Return the series called `name`: a field such as "close", another symbol, or a field of it ("QQQ.high").

        Raises
        ------
        ValueError
            If there is none.
        """
        if name in COLUMNS:
            column: Float64Array1D = getattr(self, name)
            return column
        if name in self.parts:
            return self.parts[name]
        if name not in self.others and name.endswith(".close"):
            name = name.removesuffix(".close")
        if name not in self.others:
            known = [*COLUMNS, *self.others, *self.parts]
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}."
            raise ValueError(f"Unknown column {name!r}{hint}")
        return self.others[name]

    def indicator(self, function: Callable[..., Any], *arguments: str | float) -> Any:
        """Return `function` of `arguments`, which the trials of a block, and as a rule those of later blocks, share.

        A string names a column: `bars.indicator(sma, "close", 40)` is `sma(bars.close, 40)`. The
        function must depend on its arguments only; its result is not to be written to. In a sweep each
        worker keeps what it computed until its memory is full, see `IndicatorCache`; bars without a
        memory compute at each call. In an account of many symbols an indicator of one of them is that of its own bars,
        and NaN where it has none.
        """
        if self.cache is not None:
            return self.cache.indicator(self, function, arguments)
        return compute(self, function, arguments)


@dataclass(frozen=True)
class OtherBars:
    """Bars of another symbol beside the traded ones, see `Bars.of`; every array is (n_bars,), NaN where unknown."""

    bars: Bars
    symbol: str

    def __len__(self) -> int:
        return len(self.bars)

    def column(self, name: str) -> Float64Array1D:
        """Return open, high, low, close [quote] or volume of the symbol."""
        return self.bars.column(f"{self.symbol}.{name}")

    @property
    def open(self) -> Float64Array1D:
        """First prices [quote]."""
        return self.column("open")

    @property
    def high(self) -> Float64Array1D:
        """Highest prices [quote]."""
        return self.column("high")

    @property
    def low(self) -> Float64Array1D:
        """Lowest prices [quote]."""
        return self.column("low")

    @property
    def close(self) -> Float64Array1D:
        """Last prices [quote]."""
        return self.column("close")

    @property
    def volume(self) -> Float64Array1D:
        """Traded volumes."""
        return self.column("volume")

    def indicator(self, function: Callable[..., Any], *arguments: str | float) -> Any:
        """Return `function` of `arguments`, in which a string names a column of this symbol; see `Bars.indicator`."""
        named = (f"{self.symbol}.{a}" if isinstance(a, str) else a for a in arguments)
        return self.bars.indicator(function, *named)


def compute(bars: Bars, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Return `function` of `arguments`, in which a string names a column of `bars`; see `Bars.indicator`."""
    values = [bars.column(a) if isinstance(a, str) else a for a in arguments]
    owners = {a if a in bars.symbols else a.rpartition(".")[0] for a in arguments if isinstance(a, str)}
    owner = owners.pop() if len(owners) == 1 else ""
    if owner not in bars.symbols:
        return function(*values)
    there = ~np.isnan(bars.others[owner])
    if there.all():
        return function(*values)
    own = [_part(value, there) if isinstance(a, str) else value for a, value in zip(arguments, values, strict=True)]
    found = function(*own) if there.any() else np.empty(0)
    if not isinstance(found, np.ndarray) or found.shape[:1] != (np.count_nonzero(there),):
        return found
    spread = np.full((len(bars), *found.shape[1:]), np.nan)
    spread[there] = found
    return spread


def _part(values: Float64Array1D, there: BoolArray1D) -> Float64Array1D:
    """Return some of the values, never to be written to: compiled code is specialised on that."""
    part = values[there]
    part.flags.writeable = False
    return part


def impossible_prices(prices: Float64Array1D | float) -> BoolArray1D:
    """Return which prices [quote] cannot be: NaN, infinite, zero and negative ones."""
    impossible: BoolArray1D = ~((np.asarray(prices) > 0.0) & (np.asarray(prices) < np.inf))
    return impossible


def impossible_volumes(volumes: Float64Array1D | float) -> BoolArray1D:
    """Return which volumes cannot be: negative and infinite ones. NaN is an unknown volume and can be."""
    impossible: BoolArray1D = (np.asarray(volumes) < 0.0) | np.isinf(volumes)
    return impossible
