"""How much prices moved: what strategies look at, and what sizes are made of."""

import numpy as np

from alphapulse.compiling import jit
from alphapulse.numerics import log
from alphapulse.typing import Float64Array1D


def realized_volatility_python(close: Float64Array1D, window: int, periods_per_year: float) -> Float64Array1D:
    """Return the annualised standard deviation (ddof=1) of the last `window` log returns of `close` [percent].

    The first value is at bar `window`. Undefined for a window of 1, and where a return of the window is NaN. Each
    window is summed on its own, in two passes: nothing drifts, and a flat window gives 0 exactly.
    """
    n_bars = len(close)
    volatility = np.full(n_bars, np.nan)
    if window < 2:
        return volatility
    returns = np.full(n_bars, np.nan)
    for t in range(1, n_bars):
        if close[t] > 0.0 and close[t - 1] > 0.0:
            returns[t] = log(close[t] / close[t - 1])
    scale = 100.0 * np.sqrt(periods_per_year)
    for t in range(window, n_bars):
        total = 0.0
        for i in range(t - window + 1, t + 1):
            total += returns[i]
        mean = total / window
        squares = 0.0
        for i in range(t - window + 1, t + 1):
            squares += (returns[i] - mean) * (returns[i] - mean)
        volatility[t] = scale * np.sqrt(squares / (window - 1))
    return volatility


realized_volatility = jit(realized_volatility_python)
