"""Donchian's channel: buy new highs, sell new lows, leave on the shorter channel."""

from dataclasses import dataclass

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.indicators import rolling_highest, rolling_lowest
from alphapulse.typing import Float64Array1D


def positions_python(
    close: Float64Array1D,
    entry_high: Float64Array1D,
    entry_low: Float64Array1D,
    exit_high: Float64Array1D,
    exit_low: Float64Array1D,
    size: float,
    allow_short: bool,
) -> Float64Array1D:
    """Return the position (n_bars,) [1] that each close leaves; the channels hold the bars before it only."""
    n_bars = len(close)
    target = np.zeros(n_bars)
    position = 0.0
    for t in range(1, n_bars):
        if close[t] > entry_high[t - 1]:
            position = size
        elif close[t] < entry_low[t - 1]:
            position = -size if allow_short else 0.0
        elif (position > 0.0 and close[t] < exit_low[t - 1]) or (position < 0.0 and close[t] > exit_high[t - 1]):
            position = 0.0
        target[t] = position
    return target


positions = jit(positions_python)


@dataclass(frozen=True)
class Breakout(Strategy):
    """Long when a close exceeds the highs of the last `entry_window` bars, short when it breaks their lows.

    A position is left when the close breaks the opposite side of the `exit_window` channel, or by
    the engine's atr stop over `atr_window`.

    Attributes
    ----------
    entry_window, exit_window : int
        Bars in the channels, exit_window <= entry_window [bars].
    atr_window : int
        Window of the average true range of an atr stop [bars].
    allow_short : bool
        Whether a new low opens a short; else it only closes a long.
    size : float
        Allocation of a position [1].
    """

    constraints = ("exit_window <= entry_window",)

    entry_window: int = 55
    exit_window: int = 20
    atr_window: int = 20
    allow_short: bool = True
    size: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.exit_window <= self.entry_window:
            got = f"exit_window={self.exit_window}, entry_window={self.entry_window}"
            raise ValueError(f"`1 <= exit_window <= entry_window` must hold, but got {got}.")
        if not self.atr_window >= 1:
            raise ValueError(f"`atr_window >= 1` must hold, but got atr_window={self.atr_window}.")
        if not 0 <= self.size < float("inf"):
            raise ValueError(f"`0 <= size < inf` must hold, but got size={self.size}.")

    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1]; 0 until the first breakout."""
        channel = self.indicators(bars)
        target: Float64Array1D = positions(
            bars.close,
            channel["entry_high"],
            channel["entry_low"],
            channel["exit_high"],
            channel["exit_low"],
            float(self.size),
            self.allow_short,
        )
        return target

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return the channels (n_bars,) [quote], each with the bar itself."""
        return {
            "entry_high": bars.indicator(rolling_highest, "high", self.entry_window),
            "entry_low": bars.indicator(rolling_lowest, "low", self.entry_window),
            "exit_high": bars.indicator(rolling_highest, "high", self.exit_window),
            "exit_low": bars.indicator(rolling_lowest, "low", self.exit_window),
        }

    def lookback(self) -> int:
        """Return the bars needed before the first decision: a channel and the bar that breaks it [bars]."""
        return max(self.entry_window + 1, self.atr_window)
