"""The seam: a strategy turns bars into target allocations and knows nothing of fills, costs or cash."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.strategies.indicators import atr
from alphapulse.typing import Float64Array1D

__all__ = ["Bars", "Strategy", "average_true_range", "longest_window"]

ATR_WINDOW = 14


class Strategy(ABC):
    """A strategy is a frozen dataclass: its fields are the parameters, `target` the decision.

    Subclasses are decorated with `@dataclass(frozen=True)`, give every field a default, and may
    override `indicators`, `lookback` and `atr`. What must hold between parameters alone can be said in an attribute
    `constraints = ("fast < slow",)`, without an annotation: a search then never proposes what breaks it.
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
    """Return Wilder's average true range (n_bars,) [quote] of `bars`; of an account's (n_bars, n_symbols)."""
    if bars.symbols:
        each = [bars.of(symbol).indicator(atr, "high", "low", "close", window) for symbol in bars.symbols]
        together: Float64Array1D = np.stack(each, axis=1)
        return together
    average: Float64Array1D = bars.indicator(atr, "high", "low", "close", window)
    return average
