"""Trend and mean reversion with a volatility brake."""

from alphapulse.strategies.long_short.params import LongShortParams
from alphapulse.strategies.long_short.strategy import LongShort

__all__ = ["LongShort", "LongShortParams"]
