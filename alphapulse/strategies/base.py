"""The seam: a strategy turns bars into target allocations and knows nothing of fills, costs or cash."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alphapulse.errors import did_you_mean
from alphapulse.strategies.indicators import atr
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

if TYPE_CHECKING:
    from alphapulse.strategies.cache import IndicatorCache

ATR_WINDOW = 14
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume", "volatility")


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
    periods_per_year : float
        Bars in a year [1].
    cache : IndicatorCache, optional
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
    periods_per_year: float = 252.0
    cache: "IndicatorCache | None" = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.close)

    def __getitem__(self, part: slice) -> "Bars":
        """Return the bars of `part` as views of the same memory."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        parts: dict[str, Any] = {
            name: column[part] for name, column in columns.items() if isinstance(column, np.ndarray)
        }
        return replace(self, **parts, others={name: close[part] for name, close in self.others.items()}, cache=None)

    def column(self, name: str) -> Float64Array1D:
        """Return the series called `name`: a field such as "close", or another symbol.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name in COLUMNS:
            column: Float64Array1D = getattr(self, name)
            return column
        if name not in self.others:
            known = [*COLUMNS, *self.others]
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}."
            raise ValueError(f"Unknown column {name!r}{hint}")
        return self.others[name]

    def indicator(self, function: Callable[..., Any], *arguments: str | float) -> Any:
        """Return `function` of `arguments`, computed once in a sweep for all trials that ask for the same.

        A string names a column: `bars.indicator(sma, "close", 40)` is `sma(bars.close, 40)`. The
        function must depend on its arguments only; its result is not to be written to.
        """
        if self.cache is not None:
            return self.cache.indicator(self, function, arguments)
        return function(*(self.column(a) if isinstance(a, str) else a for a in arguments))


class Strategy(ABC):
    """A strategy is a frozen dataclass: its fields are the parameters, `target` the decision.

    Subclasses are decorated with `@dataclass(frozen=True)`, give every field a default, and may
    override `indicators`, `lookback` and `atr`.
    """

    @abstractmethod
    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1] decided at the close of each bar from data through it.

        NaN is allowed in the first `lookback` bars only, and means flat.
        """

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return what `target` is made of, by name, each (n_bars,); the look-ahead gate compares them."""
        return {}

    def lookback(self) -> int:
        """Return the bars [bars] needed before the first decision; by default the largest `*window` or similar."""
        return longest_window({f.name: getattr(self, f.name) for f in fields(self)})  # type: ignore[arg-type]

    def atr(self, bars: Bars) -> Float64Array1D:
        """Return the average true range (n_bars,) [quote] of an atr stop; by default over `atr_window`, or 14 bars."""
        return average_true_range(bars, getattr(self, "atr_window", ATR_WINDOW))


def longest_window(values: Mapping[str, Any]) -> int:
    """Return the largest of the parameters that are a number of bars by their name, 0 without one [bars]."""
    lengths = [
        int(value)
        for name, value in values.items()
        if name.endswith(("window", "period", "lookback", "fast", "slow"))
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    ]
    return max(lengths, default=0)


def average_true_range(bars: Bars, window: int) -> Float64Array1D:
    """Return Wilder's average true range (n_bars,) [quote] of `bars`."""
    average: Float64Array1D = bars.indicator(atr, "high", "low", "close", window)
    return average


class TargetBlock(Protocol):
    """Targets of a block of trials, handed to the engine tile by tile."""

    failures: Mapping[int, str]
    """Trials (by place in the block) that have no targets, and why."""

    atr: Float64Array2D
    """Average true range (n_windows, n_bars) [quote], one row a distinct window; NaN where undefined."""

    atr_row: Int64Array1D
    """Row of `atr` that each trial uses (n_trials,)."""

    @property
    def order(self) -> Int64Array1D:
        """Every trial once (n_trials,), those that decide alike side by side: the engine trades neighbours together."""

    def fill(self, start: int, stop: int, trials: Int64Array1D, out: Float64Array2D) -> None:
        """Write the targets of `trials` (k,) for bars [start, stop) to `out` (k, stop - start); 0 for failed trials."""
