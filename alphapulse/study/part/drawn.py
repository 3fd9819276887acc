"""Which trials of a study stand for all where a part of them is stored: a random sample by their numbers alone."""

import numpy as np

from alphapulse.typing import BoolArray1D, Float64Array1D, Int64Array1D

N_BEST = 10_000
"""Best trials by the first objective that are stored."""

N_DRAWN = 100_000
"""Trials that are drawn, on average: each with the same chance, whatever it is worth."""

N_BLOCKS = 10_000
"""Those of them that keep their block moments, on average."""

HASH = np.uint64(0xBF58476D1CE4E5B9)


def chances(numbers: Int64Array1D) -> Float64Array1D:
    """Return a number in [0, 1) for each trial (n,): a hash of its number, as good as chance."""
    hashed = numbers.astype(np.uint64) * HASH
    hashed ^= hashed >> np.uint64(31)
    hashed *= np.uint64(0x94D049BB133111EB)
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def is_drawn(numbers: Int64Array1D, n_planned: int, n: int | None = None) -> BoolArray1D:
    """Return which trials are drawn (n_numbers,), about `n` of `n_planned`, by default `N_DRAWN`.

    Those that are drawn of more trials, or fewer of them, are drawn here as well.
    """
    drawn: BoolArray1D = chances(numbers) * n_planned < (N_DRAWN if n is None else n)
    return drawn
