"""Whether two answers about the same bars are of one adjustment."""

import numpy as np

from alphapulse.typing import Float64Array1D

# Fewer bars than this prove nothing: a revision looks like a split.
FEWEST_SHARED = 3
# The smallest split there is, 21 for 20, moves prices by 5 %; stores and feeds round to less than a thousandth.
SMALLEST_SPLIT = 0.02
ROUNDING = 2e-3
# A split of which the feed has not adjusted the prices before it, against a day's own move.
LARGEST_MOVE = 0.25


def split_between(stored: Float64Array1D, fetched: Float64Array1D) -> float | None:
    """Return stored over fetched closes where most bars differ by one factor that is not 1 [1], else None.

    Parameters
    ----------
    stored, fetched : (n_bars,) float64
        Closes of the same bars [quote].
    """
    if len(stored) < FEWEST_SHARED:
        return None
    ratio = stored / fetched
    factor = float(np.median(ratio))
    alike = np.mean(np.abs(ratio / factor - 1.0) < ROUNDING)
    return factor if alike > 0.5 and abs(factor - 1.0) > SMALLEST_SPLIT else None


def is_unadjusted(before: float, after: float, split: float) -> bool:
    """Return whether the closes around an ex-date still jump by the split itself.

    Parameters
    ----------
    before, after : float
        Closes of the last bar before and the first on the ex-date [quote].
    split : float
        New shares for an old one [1].
    """
    size = abs(np.log(split))
    return bool(size > SMALLEST_SPLIT and abs(np.log(after / before) + np.log(split)) < LARGEST_MOVE * size)
