"""Parameters of the long_short strategy and what must hold between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

VolatilitySource = Literal["index", "realized"]


@dataclass(frozen=True)
class LongShortParams:
    """Parameters of the long_short strategy.

    Attributes
    ----------
    ma_window, rsi_window, atr_window : int
        Windows of the moving average, of the RSI and of the average true range [bars].
    rsi_overbought, rsi_oversold : float
        RSI above which the strategy expects a fall, and below which a rise [0 to 100].
    volatility_source : {"index", "realized"}
        The volatility index of the data, or the annualised standard deviation of log returns.
    realized_window : int
        This many returns are behind a realized volatility [bars].
    volatility_threshold : float
        Volatility above which positions are scaled [percent].
    high_volatility_scale : float
        Signals are multiplied by it above that volatility [1].
    trend_weight, reversion_weight : float
        Weights of the two parts of the signal [1].
    long_threshold, short_threshold : float
        Signals between them are no position [1].

    Raises
    ------
    ValueError
        If one of the invariants in `INVARIANTS` does not hold.
    """

    ma_window: int = 40
    rsi_window: int = 14
    rsi_overbought: float = 70.0
    rsi_oversold: float = 30.0
    atr_window: int = 14
    volatility_source: VolatilitySource = "index"
    realized_window: int = 21
    volatility_threshold: float = 25.0
    high_volatility_scale: float = 0.5
    trend_weight: float = 1.0
    reversion_weight: float = 0.3
    long_threshold: float = 0.1
    short_threshold: float = -0.1

    def __post_init__(self) -> None:
        if self.volatility_source not in ("index", "realized"):
            raise ValueError(f"`volatility_source` must be index or realized, but got {self.volatility_source!r}.")
        for names, invariant, holds in INVARIANTS:
            if not holds(self):
                got = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
                raise ValueError(f"`{invariant}` must hold, but got {got}.")


def _at_least(name: str, low: float) -> tuple[tuple[str, ...], str, Callable[[Any], Any]]:
    return (name,), f"{low:g} <= {name} < inf", lambda p: (getattr(p, name) >= low) & (getattr(p, name) < float("inf"))


def _finite(name: str) -> tuple[tuple[str, ...], str, Callable[[Any], Any]]:
    return (name,), f"-inf < {name} < inf", lambda p: abs(getattr(p, name)) < float("inf")


# Each holds for one set of parameters or, element by element, for columns of them.
INVARIANTS: tuple[tuple[tuple[str, ...], str, Callable[[Any], Any]], ...] = (
    _at_least("ma_window", 1),
    _at_least("rsi_window", 1),
    _at_least("atr_window", 1),
    _at_least("realized_window", 2),
    _at_least("volatility_threshold", 0),
    _at_least("high_volatility_scale", 0),
    _finite("trend_weight"),
    _finite("reversion_weight"),
    (
        ("rsi_oversold", "rsi_overbought"),
        "0 <= rsi_oversold <= rsi_overbought <= 100",
        lambda p: (p.rsi_oversold >= 0) & (p.rsi_oversold <= p.rsi_overbought) & (p.rsi_overbought <= 100),
    ),
    (
        ("short_threshold", "long_threshold"),
        "short_threshold <= long_threshold",
        lambda p: p.short_threshold <= p.long_threshold,
    ),
)
