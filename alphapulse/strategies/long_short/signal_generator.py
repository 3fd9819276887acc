"""Trend and reversion of one bar, mixed into a signal."""

from alphapulse.compiling import jit


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
