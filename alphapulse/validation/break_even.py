"""The commission at which an edge is gone."""

import math
from collections.abc import Callable


def break_even_commission(
    mean_excess: Callable[[float], float], *, highest: float = 0.05, tolerance: float = 1e-6
) -> float | None:
    """Return the commission at which `mean_excess` falls to zero, by bisection.

    Parameters
    ----------
    mean_excess : callable
        It turns a commission [1] (fraction of traded value) into a mean return per bar, or a Sharpe ratio; NaN (ruin,
        no trades) counts as no edge. It need not be smooth: rebalancing bands make it jump.
    highest : float
        Largest commission tried [1].
    tolerance : float
        The answer may be off by this much [1].

    Returns
    -------
    float or None
        Highest commission found with an edge, within `tolerance` of one without [1]. 0 if there is none even at
        no commission; None if there still is at `highest`.

    Raises
    ------
    ValueError
        If `0 < tolerance < highest` does not hold.
    """
    if not 0 < tolerance < highest:
        raise ValueError(f"`0 < tolerance < highest` must hold, but got tolerance={tolerance}, highest={highest}.")
    if not _has_edge(mean_excess(0.0)):
        return 0.0
    # Upwards by doubling first: the lowest crossing is the one that a rising commission meets.
    low, high = 0.0, min(1e-4, highest)
    while _has_edge(mean_excess(high)):
        if high >= highest:
            return None
        low, high = high, min(2 * high, highest)
    while high - low > tolerance:
        middle = (low + high) / 2
        if _has_edge(mean_excess(middle)):
            low = middle
        else:
            high = middle
    return low


def _has_edge(mean: float) -> bool:
    return not math.isnan(mean) and mean > 0
