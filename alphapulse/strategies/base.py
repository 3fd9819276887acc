"""The seam: a strategy turns bars into target allocations and knows nothing of fills, costs or cash."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import numpy as np

from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D


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

    def __len__(self) -> int:
        return len(self.close)

    def __getitem__(self, part: slice) -> "Bars":
        """Return the bars of `part` as views of the same memory."""
        columns = {f.name: getattr(self, f.name)[part] for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)}
        return replace(self, **columns, others={name: close[part] for name, close in self.others.items()})


class Strategy(ABC):
    """A strategy is a frozen dataclass: its fields are the parameters, `target` the decision.

    Subclasses are decorated with `@dataclass(frozen=True)`, give every field a default, and may
    override `indicators`, `lookback` and `atr`.
    """

    @abstractmethod
    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1] decided at the close of each bar from data through it."""

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return what `target` is made of, by name, each (n_bars,); the look-ahead gate compares them."""
        return {}

    def lookback(self) -> int:
        """Return the bars [bars] needed before the first decision; by default the largest `*window` or `*period` field."""
        lengths = [
            int(getattr(self, f.name))
            for f in fields(self)  # type: ignore[arg-type]
            if f.name.endswith(("window", "period", "lookback", "fast", "slow"))
        ]
        return max(lengths, default=0)


class TargetBlock(Protocol):
    """Targets of a block of trials, handed to the engine tile by tile."""

    failures: Mapping[int, str]
    """Trials (by place in the block) that have no targets, and why."""

    atr: Float64Array2D
    """Average true range (n_windows, n_bars) [quote], one row a distinct window; NaN where undefined."""

    atr_row: Int64Array1D
    """Row of `atr` that each trial uses (n_trials,)."""

    def fill(self, start: int, stop: int, out: Float64Array2D) -> None:
        """Write the targets of bars [start, stop) to `out` (stop - start, n_trials); 0 for failed trials."""
