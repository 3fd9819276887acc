"""How volatility shrinks a position."""

from alphapulse.compiling import jit


def volatility_scale_python(volatility: float, threshold: float, high_scale: float) -> float:
    """Return what a signal is multiplied by [1]: `high_scale` above `threshold` [percent], 1 if unknown (NaN)."""
    return high_scale if volatility > threshold else 1.0


volatility_scale = jit(volatility_scale_python)
