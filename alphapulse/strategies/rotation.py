"""Rotation: the strongest of many symbols, by what they gained over a window."""

from dataclasses import dataclass

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.strategies.portfolio import PortfolioStrategy
from alphapulse.typing import Float64Array1D, Float64Array2D

STALE = 5
"""Moments for which a symbol without a bar keeps its momentum; a longer absence is no holiday."""


def momentum_python(values: Float64Array1D, window: int) -> Float64Array1D:
    """Return what `values` have gained over `window` bars (n_bars,) [1]; NaN before that."""
    gained = np.full(len(values), np.nan)
    for t in range(window, len(values)):
        gained[t] = values[t] / values[t - window] - 1.0
    return gained


momentum = jit(momentum_python)


def strongest_python(gained: Float64Array2D, top: int, size: float, rising: bool) -> Float64Array2D:
    """Return targets (n_bars, n_symbols) [1]: `size` in equal parts in the `top` symbols that have gained most.

    Of equals the earlier column comes first; what has no momentum, or with `rising` has not gained, stays cash.
    """
    n, k = gained.shape
    target = np.zeros((n, k))
    last, age = np.full(k, np.nan), np.zeros(k)
    for t in range(n):
        for s in range(k):
            if gained[t, s] == gained[t, s]:
                last[s], age[s] = gained[t, s], 0.0
            else:
                age[s] += 1.0
                last[s] = last[s] if age[s] <= STALE else np.nan
        for s in range(k):
            if last[s] != last[s] or (rising and last[s] <= 0.0):
                continue
            better = 0
            for other in range(k):
                if last[other] > last[s] or (last[other] == last[s] and other < s):
                    better += 1
            target[t, s] = size / top if better < top else 0.0
    return target


strongest = jit(strongest_python)


@dataclass(frozen=True)
class Rotation(PortfolioStrategy):
    """Hold the `top` of all symbols by momentum, in equal parts.

    Targets are decided at every close; with `engine.rebalance_frequency=month` they are traded once a month.

    Attributes
    ----------
    momentum_window : int
        Bars that momentum is measured over [bars].
    top : int
        Symbols that are held.
    rising : bool
        Whether a symbol that has lost is left out; its part stays cash.
    size : float
        Allocation of all together [1].
    atr_window : int
        Window of the average true range of an atr stop [bars].
    """

    momentum_window: int = 126
    top: int = 1
    rising: bool = True
    size: float = 1.0
    atr_window: int = 14

    def __post_init__(self) -> None:
        for name in ("momentum_window", "top", "atr_window"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"`{name} >= 1` must hold, but got {name}={getattr(self, name)}.")
        if not 0 <= self.size < float("inf"):
            raise ValueError(f"`0 <= size < inf` must hold, but got size={self.size}.")

    def targets(self, bars: Bars) -> Float64Array2D:
        """Return the targets (n_bars, n_symbols) [1]; 0 while a symbol has no momentum."""
        gained = np.stack(list(self.indicators(bars).values()), axis=1)
        targets: Float64Array2D = strongest(gained, int(self.top), float(self.size), bool(self.rising))
        return targets

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return the momentum of each symbol (n_bars,) [1]."""
        window = self.momentum_window
        return {f"momentum {s}": bars.of(s).indicator(momentum, "close", window) for s in bars.symbols}

    def lookback(self) -> int:
        """Return the bars needed before the first decision [bars]."""
        return max(self.momentum_window, self.atr_window)
