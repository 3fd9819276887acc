"""Pairs: two symbols whose prices run together, bought and sold against each other when they have parted."""

from dataclasses import dataclass

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.numerics import log_array
from alphapulse.strategies.portfolio import PortfolioStrategy
from alphapulse.typing import Float64Array1D, Float64Array2D

LEAST_VARIANCE = 1e-12
"""A variance of logarithms at or below this is what rounding leaves of none."""


def spread_python(y: Float64Array1D, x: Float64Array1D, window: int) -> tuple[Float64Array1D, Float64Array1D]:
    """Return the distance of `y` from its regression on `x` over `window` bars, in standard errors, and the slope.

    Parameters
    ----------
    y, x : (n_bars,) float64
        Logarithms of prices.
    window : int
        At least 3 [bars].

    Returns
    -------
    score, slope : (n_bars,) float64
        NaN before a full window, and where `x` or the rest does not vary [1].
    """
    n = len(y)
    score, slope = np.full(n, np.nan), np.full(n, np.nan)
    for t in range(window - 1, n):
        my = mx = 0.0
        for i in range(t - window + 1, t + 1):
            my += y[i]
            mx += x[i]
        my /= window
        mx /= window
        syy = sxy = sxx = 0.0
        for i in range(t - window + 1, t + 1):
            dy, dx = y[i] - my, x[i] - mx
            syy += dy * dy
            sxy += dx * dy
            sxx += dx * dx
        if not sxx > window * LEAST_VARIANCE:
            continue
        b = sxy / sxx
        rest = (syy - b * sxy) / (window - 2)
        if rest > LEAST_VARIANCE:
            slope[t] = b
            score[t] = (y[t] - my - b * (x[t] - mx)) / np.sqrt(rest)
    return score, slope


spread = jit(spread_python)


def spread_score(first: Float64Array1D, second: Float64Array1D, window: int) -> Float64Array1D:
    """Return the score of `spread` of two closes [quote] (n_bars,) [1], over the bars that both have."""
    return _over_both(first, second, window)[0]


def spread_slope(first: Float64Array1D, second: Float64Array1D, window: int) -> Float64Array1D:
    """Return the slope of `spread` in the same way."""
    return _over_both(first, second, window)[1]


def _over_both(first: Float64Array1D, second: Float64Array1D, window: int) -> list[Float64Array1D]:
    both = ~np.isnan(first + second)
    found = []
    for values in spread(log_array(first[both]), log_array(second[both]), int(window)):
        spread_out = np.full(len(first), np.nan)
        spread_out[both] = values
        found.append(spread_out)
    return found


def legs_python(
    score: Float64Array1D, slope: Float64Array1D, entry: float, exit_: float, size: float
) -> Float64Array2D:
    """Return the targets of both legs (n_bars, 2) [1], which add up to `size`; the hedge of the opening is kept."""
    n = len(score)
    legs = np.zeros((n, 2))
    held, hedge = 0.0, 0.0
    for t in range(n):
        z = score[t]
        if z == z:
            if held != 0.0 and held * z >= -exit_:
                held = 0.0
            if held == 0.0 and abs(z) >= entry and slope[t] > 0.0:
                held, hedge = -1.0 if z > 0.0 else 1.0, slope[t]
        legs[t, 0] = held * size / (1.0 + hedge)
        legs[t, 1] = -held * size * hedge / (1.0 + hedge)
    return legs


legs = jit(legs_python)


@dataclass(frozen=True)
class Pairs(PortfolioStrategy):
    """Sell the spread of two symbols `entry` standard errors above its regression, buy it as far below.

    The spread is log(first) - hedge*log(second), with the hedge of a regression over `hedge_window` bars. A position
    is left when the spread has come back to `exit`; its hedge stays that of the opening. Nothing is opened where the
    two do not rise together.

    Attributes
    ----------
    first, second : str
        The symbols; empty for the first and second of `data.symbols`. Others are not traded.
    hedge_window : int
        Bars of the regression [bars].
    entry, exit : float
        Distances in standard errors, exit < entry [1].
    size : float
        Sum of the sizes of both legs [1].
    atr_window : int
        Window of the average true range of an atr stop [bars].
    """

    constraints = ("exit < entry",)

    first: str = ""
    second: str = ""
    hedge_window: int = 120
    entry: float = 2.0
    exit: float = 0.5
    size: float = 1.0
    atr_window: int = 14

    def __post_init__(self) -> None:
        if not self.hedge_window >= 3:
            raise ValueError(f"`hedge_window >= 3` must hold, but got hedge_window={self.hedge_window}.")
        if not 0 <= self.exit < self.entry:
            raise ValueError(f"`0 <= exit < entry` must hold, but got exit={self.exit}, entry={self.entry}.")
        if not self.atr_window >= 1:
            raise ValueError(f"`atr_window >= 1` must hold, but got atr_window={self.atr_window}.")
        if not 0 <= self.size < float("inf"):
            raise ValueError(f"`0 <= size < inf` must hold, but got size={self.size}.")

    def targets(self, bars: Bars) -> Float64Array2D:
        """Return the targets (n_bars, n_symbols) [1]; where one of the two has no bar they stay."""
        found = self.indicators(bars)
        first, second = self._pair(bars)
        both = ~np.isnan(bars.of(first).close + bars.of(second).close)
        score, slope = found["score"][both], found["slope"][both]
        pair = legs(score, slope, float(self.entry), float(self.exit), float(self.size))
        targets = np.zeros((len(bars), len(bars.symbols)))
        # The last decision on both, from the first on.
        last = np.cumsum(both) - 1
        for leg, symbol in enumerate((first, second)):
            targets[last >= 0, bars.symbols.index(symbol)] = pair[last[last >= 0], leg]
        return targets

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return score and slope of the spread (n_bars,) [1]; NaN where one of the two has no bar."""
        closes = [f"{symbol}.close" for symbol in self._pair(bars)]
        return {
            "score": bars.indicator(spread_score, *closes, self.hedge_window),
            "slope": bars.indicator(spread_slope, *closes, self.hedge_window),
        }

    def _pair(self, bars: Bars) -> tuple[str, str]:
        if len(bars.symbols) < 2:
            raise ValueError(f"A pair must have two symbols, but data.symbols has {len(bars.symbols)}.")
        pair = self.first or bars.symbols[0], self.second or bars.symbols[1]
        for symbol in pair:
            if symbol not in bars.symbols:
                raise ValueError(f"{symbol!r} must be one of data.symbols, but they are {', '.join(bars.symbols)}.")
        if pair[0] == pair[1]:
            raise ValueError(f"A pair must have two symbols, but both are {pair[0]}.")
        return pair

    def lookback(self) -> int:
        """Return the bars needed before the first decision [bars]."""
        return max(self.hedge_window, self.atr_window)
