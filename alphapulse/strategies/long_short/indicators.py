"""What the long_short strategy looks at."""

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.bars import Bars
from alphapulse.strategies.indicators import realized_volatility, rsi, sma
from alphapulse.strategies.long_short.params import LongShortParams
from alphapulse.typing import Float64Array1D

CLOSE = ("close",)
VOLATILITY = ("close", "volatility")


def volatility_python(
    close: Float64Array1D, index: Float64Array1D, window: int, periods_per_year: float
) -> Float64Array1D:
    """Return the volatility (n_bars,) [percent]: realized over `window` bars, or with window 0 the index itself."""
    if window == 0:
        return np.copy(index)
    return realized_volatility(close, window, periods_per_year)


volatility = jit(volatility_python)


def volatility_window(params: LongShortParams) -> int:
    """Return the window that `volatility` is told [bars]; 0 stands for the index."""
    return params.realized_window if params.volatility_source == "realized" else 0


def moving_average(bars: Bars, params: LongShortParams) -> Float64Array1D:
    """Return the moving average of the close (n_bars,) [quote]."""
    average: Float64Array1D = bars.indicator(sma, *CLOSE, params.ma_window)
    return average


def strength(bars: Bars, params: LongShortParams) -> Float64Array1D:
    """Return the RSI of the close (n_bars,) [0 to 100]."""
    index: Float64Array1D = bars.indicator(rsi, *CLOSE, params.rsi_window)
    return index


def market_volatility(bars: Bars, params: LongShortParams) -> Float64Array1D:
    """Return the volatility that scales positions (n_bars,) [percent]."""
    percent: Float64Array1D = bars.indicator(volatility, *VOLATILITY, volatility_window(params), bars.periods_per_year)
    return percent


def lookback(params: LongShortParams) -> int:
    """Return the bars until every indicator is defined [bars]; n changes need n + 1 bars."""
    realized = volatility_window(params)
    return max(params.ma_window, params.rsi_window + 1, params.atr_window, realized + 1 if realized else 0)
