"""Crossing of two moving averages."""

from dataclasses import dataclass

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.indicators import sma
from alphapulse.typing import Float64Array1D


@dataclass(frozen=True)
class SmaCross(Strategy):
    """Long while the fast moving average is above the slow one, short (or flat) while it is below.

    Attributes
    ----------
    fast, slow : int
        Windows of the two averages [bars], fast < slow.
    allow_short : bool
        Whether below means short; else flat.
    size : float
        Allocation of a position [1].
    atr_window : int
        Window of the average true range of an atr stop [bars].
    """

    constraints = ("fast < slow",)

    fast: int = 20
    slow: int = 100
    allow_short: bool = True
    size: float = 1.0
    atr_window: int = 14

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError(f"`1 <= fast < slow` must hold, but got fast={self.fast}, slow={self.slow}.")
        if not self.atr_window >= 1:
            raise ValueError(f"`atr_window >= 1` must hold, but got atr_window={self.atr_window}.")
        if not 0 <= self.size < float("inf"):
            raise ValueError(f"`0 <= size < inf` must hold, but got size={self.size}.")

    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1]; 0 while an average is undefined or they are equal."""
        averages = self.indicators(bars)
        below = -self.size if self.allow_short else 0.0
        target: Float64Array1D = np.where(averages["fast"] > averages["slow"], self.size, 0.0)
        target[averages["fast"] < averages["slow"]] = below
        return target

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return the two averages (n_bars,) [quote]."""
        return {
            "fast": bars.indicator(sma, "close", self.fast),
            "slow": bars.indicator(sma, "close", self.slow),
        }

    def lookback(self) -> int:
        """Return the bars needed before the first decision [bars]."""
        return max(self.slow, self.atr_window)
