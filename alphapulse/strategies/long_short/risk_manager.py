"""How risk shrinks a position: less of the signal in high volatility, and the range that an atr stop is set by.

    scale = high_volatility_scale if volatility > volatility_threshold, else 1, also where unknown

The volatility is the joined index [percent], or with `volatility_source: realized` the standard deviation (ddof=1) of
the last `realized_window` log returns times sqrt(periods_per_year), in percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from alphapulse.compiling import jit
from alphapulse.market.volatility import realized_volatility
from alphapulse.strategies.indicators import atr
from alphapulse.strategies.long_short.bounds import Invariant, at_least, one_of
from alphapulse.strategies.long_short.indicators import Look, Rows
from alphapulse.typing import Float64Array1D, Float64Array2D

VolatilitySource = Literal["index", "realized"]
RiskView: TypeAlias = tuple[Float64Array1D, float, float]


@dataclass(frozen=True)
class RiskParams:
    """What shrinks it.

    Attributes
    ----------
    atr_window : int
        Window of the average true range of a stop [bars].
    volatility_source : {"index", "realized"}
        The volatility index of the data, or the annualised standard deviation of log returns.
    realized_window : int
        This many returns are behind a realized volatility [bars].
    volatility_threshold : float
        Volatility above which positions are scaled [percent].
    high_volatility_scale : float
        Signals are multiplied by it above that volatility [1].
    """

    atr_window: int = at_least(14, 1)
    volatility_source: VolatilitySource = one_of("index", get_args(VolatilitySource))  # noqa: RUF009
    realized_window: int = at_least(21, 2)
    volatility_threshold: float = at_least(25.0, 0)
    high_volatility_scale: float = at_least(0.5, 0)


RELATIONS: tuple[Invariant, ...] = ()


def volatility_python(
    close: Float64Array1D, index: Float64Array1D, window: int, periods_per_year: float
) -> Float64Array1D:
    """Return the volatility (n_bars,) [percent]: realized over `window` bars, or with window 0 the index itself."""
    if window == 0:
        return np.copy(index)
    return realized_volatility(close, window, periods_per_year)


volatility = jit(volatility_python)


def _volatility_window(params: Any) -> Any:
    """Return the window that `volatility` is told [bars]; 0 stands for the index."""
    return np.where(np.asarray(params.volatility_source) == "realized", params.realized_window, 0)


LOOKS: Mapping[str, Look] = {
    "volatility": Look(volatility, ("close", "volatility"), _volatility_window, is_of_changes=True, is_annual=True),
}

STOP_LOOK = Look(atr, ("high", "low", "close"), attrgetter("atr_window"))
"""The average true range [quote] of an atr stop."""


def volatility_scale_python(volatility: float, threshold: float, high_scale: float) -> float:
    """Return what a signal is multiplied by [1]: `high_scale` above `threshold` [percent], 1 if unknown (NaN)."""
    return high_scale if volatility > threshold else 1.0


volatility_scale = jit(volatility_scale_python)


def view_risk_python(rows: tuple[Rows, ...], settings: Float64Array2D, trial: int, start: int, stop: int) -> RiskView:
    """Return what `scale_at` needs of one trial for bars [start, stop).

    Parameters
    ----------
    rows : tuple of Rows
        In the order of `LOOKS`.
    settings : (n_trials, n_settings) float64
        The numbers of `RiskParams`, in their order.
    trial, start, stop : int
    """
    ((volatilities, volatility_row),) = rows
    threshold, high_scale = settings[trial, 0], settings[trial, 1]
    return volatilities[volatility_row[trial]][start:stop], threshold, high_scale


view_risk = jit(view_risk_python)


def scale_at_python(t: int, view: RiskView) -> float:
    """Return what the signal of the bar at place `t` of a view is multiplied by [1]."""
    volatility, threshold, high_scale = view
    return volatility_scale(volatility[t], threshold, high_scale)


scale_at = jit(scale_at_python)
