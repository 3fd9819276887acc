"""Trend and reversion, mixed into a signal.

From data through bar t, with SMA(close, ma_window) and Wilder's RSI(close, rsi_window):

    trend     = +1 if close > SMA, -1 if close < SMA, 0 if equal or undefined
    reversion = -1 if RSI > rsi_overbought, +1 if RSI < rsi_oversold, else 0, also where undefined
    signal    = clip(trend_weight*trend + reversion_weight*reversion, -1, 1)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from alphapulse.compiling import jit
from alphapulse.strategies.indicators import rsi, sma
from alphapulse.strategies.long_short.bounds import Invariant, at_least, finite
from alphapulse.strategies.long_short.indicators import Look, Rows
from alphapulse.typing import Float64Array1D, Float64Array2D

SignalView: TypeAlias = tuple[Float64Array1D, Float64Array1D, float, float, float, float]


@dataclass(frozen=True)
class SignalParams:
    """What makes the signal.

    Attributes
    ----------
    ma_window, rsi_window : int
        Windows of the moving average and of the RSI [bars].
    rsi_overbought, rsi_oversold : float
        RSI above which the strategy expects a fall, and below which a rise [0 to 100].
    trend_weight, reversion_weight : float
        Weights of the two parts of the signal [1].
    """

    ma_window: int = at_least(40, 1)
    rsi_window: int = at_least(14, 1)
    rsi_overbought: float = 70.0
    rsi_oversold: float = 30.0
    trend_weight: float = finite(1.0)
    reversion_weight: float = finite(0.3)


RELATIONS: tuple[Invariant, ...] = (
    (
        ("rsi_oversold", "rsi_overbought"),
        "0 <= rsi_oversold <= rsi_overbought <= 100",
        lambda p: (p.rsi_oversold >= 0) & (p.rsi_oversold <= p.rsi_overbought) & (p.rsi_overbought <= 100),
    ),
)

LOOKS: Mapping[str, Look] = {
    "sma": Look(sma, ("close",), attrgetter("ma_window")),
    "rsi": Look(rsi, ("close",), attrgetter("rsi_window"), is_of_changes=True),
}


def signal_python(
    close: float,
    average: float,
    strength: float,
    trend_weight: float,
    reversion_weight: float,
    overbought: float,
    oversold: float,
) -> float:
    """Return the signal [-1 to 1] of one bar; an undefined (NaN) average or RSI counts as 0.

    Parameters
    ----------
    close, average : float
        Close and its moving average [quote].
    strength : float
        RSI [0 to 100].
    trend_weight, reversion_weight : float
        Weights of the two parts [1].
    overbought, oversold : float
        RSI that calls for a fall or a rise [0 to 100].
    """
    trend = trend_weight if close > average else (-trend_weight if close < average else 0.0)
    reversion = -reversion_weight if strength > overbought else (reversion_weight if strength < oversold else 0.0)
    mixed = trend + reversion
    return 1.0 if mixed > 1.0 else (-1.0 if mixed < -1.0 else mixed)


signal = jit(signal_python)


def view_signal_python(
    rows: tuple[Rows, ...], settings: Float64Array2D, trial: int, start: int, stop: int
) -> SignalView:
    """Return what `signal_at` needs of one trial for bars [start, stop).

    Parameters
    ----------
    rows : tuple of Rows
        In the order of `LOOKS`.
    settings : (n_trials, n_settings) float64
        The numbers of `SignalParams`, in their order.
    trial, start, stop : int
    """
    (averages, average_row), (strengths, strength_row) = rows
    overbought, oversold = settings[trial, 0], settings[trial, 1]
    trend_weight, reversion_weight = settings[trial, 2], settings[trial, 3]
    average = averages[average_row[trial]][start:stop]
    strength = strengths[strength_row[trial]][start:stop]
    return average, strength, trend_weight, reversion_weight, overbought, oversold


view_signal = jit(view_signal_python)


def signal_at_python(t: int, close: float, view: SignalView) -> float:
    """Return the signal [-1 to 1] of the bar at place `t` of a view, whose close [quote] is given."""
    average, strength, trend_weight, reversion_weight, overbought, oversold = view
    return signal(close, average[t], strength[t], trend_weight, reversion_weight, overbought, oversold)


signal_at = jit(signal_at_python)
