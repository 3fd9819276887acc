"""The long_short strategy: trend and mean reversion, smaller when markets are nervous."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.targets import TargetBlock
from alphapulse.strategies.base import Strategy
from alphapulse.strategies.long_short import risk_manager, signal_generator
from alphapulse.strategies.long_short.block import LongShortBlock
from alphapulse.strategies.long_short.params import LongShortParams, settings_of
from alphapulse.strategies.long_short.position_manager import fill_targets
from alphapulse.typing import Float64Array1D, Float64Array2D

LOOKS = {**signal_generator.LOOKS, "atr": risk_manager.STOP_LOOK, **risk_manager.LOOKS}


@dataclass(frozen=True)
class LongShort(LongShortParams, Strategy):
    """Trend plus reversion, scaled down above a volatility; see `LongShortParams` for the parameters.

    At each close: trend is +1 above the moving average and -1 below it, reversion -1 if overbought and +1 if
    oversold; their weighted sum, clipped to one, is scaled in high volatility and dropped between the thresholds.
    """

    constraints = ("rsi_oversold <= rsi_overbought", "short_threshold <= long_threshold")

    def target(self, bars: Bars) -> Float64Array1D:
        """Return the target allocation (n_bars,) [1] decided at the close of each bar."""
        targets: Float64Array2D = np.empty((1, len(bars)))
        row = np.zeros(1, dtype=np.int64)
        signals, risks = (
            tuple((look.of(bars, self)[None, :], row) for look in part.LOOKS.values())
            for part in (signal_generator, risk_manager)
        )
        fill_targets(bars.close, (signals, risks), settings_of(self), row, 0, targets)
        target: Float64Array1D = targets[0]
        return target

    def indicators(self, bars: Bars) -> dict[str, Float64Array1D]:
        """Return what `target` is made of, by name, each (n_bars,), and the average true range of a stop."""
        return {name: look.of(bars, self) for name, look in LOOKS.items()}

    def lookback(self) -> int:
        """Return the bars needed before the first decision [bars]."""
        return max(look.lookback(self) for look in LOOKS.values())

    @classmethod
    def block(cls, bars: Bars, columns: Mapping[str, np.ndarray], cache: IndicatorCache) -> TargetBlock:
        """Return the targets of many trials, from one column (n_trials,) a parameter."""
        return LongShortBlock(bars, columns, cache)
