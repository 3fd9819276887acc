"""Null sweeps: how often the whole search finds something as good where there is nothing to find.

A search is repeated on surrogate markets, which keep what a market gives to everybody and hold no order that could be
timed (`alphapulse.market.surrogates`). Its p-value is the share of markets, its own among them, on which it did as well
or better. This is the permutation test of the whole training process [1]_: it charges a search for all that
it tries, however it chooses what to try. The test is sequential [2]_, so that chance is recognised early.

References
----------
.. [1] Masters, Permutation and Randomization Tests for Trading System Development, 2018.
.. [2] Besag and Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.surrogates import permute_bars, surrogate_generator
from alphapulse.typing import BoolArray1D

MOST_AS_GOOD = 10
"""Surrogates as good as the market after which a test ends: p is near enough to tell that it is large."""

MOST_FAILED = 3
"""Surrogates on which the search failed after which a test ends without p: what knows its market was not tested."""

FEWER = (39, 19)
"""Numbers of null sweeps to fall back on; 19 are the fewest whose p can be .05."""

FEWEST_SECONDS = 120.0
"""Time that null sweeps may take where the search itself was short [s]."""

FEWEST_HOLDOUT_SURROGATES = 999

LEVEL = 0.05


@dataclass(frozen=True)
class NullSweeps:
    """Outcome of some null sweeps.

    Attributes
    ----------
    p : float
        Chance that a search of a market without timing does as well [1]; NaN while `stopped` is "budget".
    p_ledger : float
        The same times the ledger's factor, at most 1.
    n_done : int
        Number of surrogates that count.
    n_wanted : int
        Number of surrogates fixed before the first.
    n_as_good : int
        Those on which the search did at least as well.
    stopped : {"exceedances", "complete", "failed", "budget"}
        Why there are no more: `MOST_AS_GOOD` were as good, all are done, the search failed on `MOST_FAILED`, or time
        was up before either.
    observed : float
        Best value on the market itself; NaN if the search had none.
    values : tuple of float
        Best value on each surrogate that counts, in order; see `failed_value`.
    n_failed : int
        Those of them on which the search failed, and which count as as good.
    """

    p: float
    p_ledger: float
    n_done: int
    n_wanted: int
    n_as_good: int
    stopped: Literal["exceedances", "complete", "failed", "budget"]
    observed: float
    values: tuple[float, ...]
    n_failed: int = 0


def failed_value(*, maximize: bool = True) -> float:
    """Return what stands for a surrogate whose trials failed as they did not on the market: as good as anything.

    Nobody knows what the search would have found there; that it is worse must not be taken for granted.
    """
    return math.inf if maximize else -math.inf


def weigh_null_sweeps(
    values: Sequence[float], observed: float, *, n_wanted: int, maximize: bool = True, factor: float = 1.0
) -> NullSweeps:
    """Return what the best values on surrogates say of the one on the market.

    With l surrogates done when the h-th was as good, p = h/l; with all S done before, p = (1 + number as good)/(1 + S).
    A surrogate on which the search failed counts as one that was as good; after `MOST_FAILED` of them there is no p.

    Parameters
    ----------
    values : sequence of float
        Best value on surrogates 0, 1, ...; NaN for a search without one, `failed_value` for one that failed. Those
        beyond the end of the test are left out, so that it does not matter how many were under way.
    observed : float
        Best value on the market.
    n_wanted : int
        Number S of surrogates, fixed before the first was looked at; see `n_null_sweeps`.
    maximize : bool
        Whether larger values are better.
    factor : float
        What the ledger multiplies p with [1].
    """
    exceeds = as_good(values[:n_wanted], observed, maximize=maximize)
    fails = np.asarray(values[:n_wanted], dtype=np.float64) == failed_value(maximize=maximize)
    ends = np.flatnonzero(np.cumsum(exceeds) == MOST_AS_GOOD)
    breaks = np.flatnonzero(np.cumsum(fails) == MOST_FAILED)
    last = min(int(found[0]) for found in (ends, breaks, [len(exceeds) - 1]) if len(found))
    n_done = last + 1
    n_as_good = int(np.count_nonzero(exceeds[:n_done]))
    n_failed = int(np.count_nonzero(fails[:n_done]))
    stopped: Literal["exceedances", "complete", "failed", "budget"] = "complete"
    p = monte_carlo_p(n_as_good, n_done)
    if n_failed == MOST_FAILED:
        stopped, p = "failed", math.nan
    elif len(ends):
        stopped, p = "exceedances", n_as_good / n_done
    elif n_done < n_wanted or n_wanted == 0:
        stopped, p = "budget", math.nan
    counted = tuple(float(value) for value in values[:n_done])
    p_ledger = min(p * factor, 1.0)
    return NullSweeps(p, p_ledger, n_done, n_wanted, n_as_good, stopped, float(observed), counted, n_failed)


def as_good(values: Sequence[float], observed: float, *, maximize: bool = True) -> BoolArray1D:
    """Return whether each of `values` (n,) is at least as good as `observed`; NaN, no value, is the worst there is."""
    sign = 1.0 if maximize else -1.0
    scores = np.nan_to_num(sign * np.asarray(values, dtype=np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    good: BoolArray1D = scores >= (-np.inf if math.isnan(observed) else sign * observed)
    return good


def monte_carlo_p(n_as_good: int, n: int) -> float:
    """Return (1 + n_as_good) / (1 + n): what was observed is one of the n + 1 draws that chance could have made."""
    return (1 + n_as_good) / (1 + n)


def n_null_sweeps(
    n_null: int, *, seconds_each: float, seconds: float, factor: float = 1.0, level: float = LEVEL
) -> int:
    """Return how many null sweeps a study has, to be fixed before the first of them.

    Parameters
    ----------
    n_null : int
        Number asked for; raised to the fewest with which p times `factor` can come to `level`. 0 asks for none.
    seconds_each : float
        Time of a null sweep, with all processors at work [s].
    seconds : float
        Time that they may take, see `null_seconds` [s].
    factor : float
        What the ledger multiplies p with [1].
    level : float
        p-value that an edge needs [1].

    Returns
    -------
    int
        The full number if there is time for it, else 39, else 19, else 0.
    """
    full = max(n_null, fewest_draws(factor, level)) if n_null > 0 else 0
    choices = [full, *(n for n in FEWER if n < full)]
    return next((n for n in choices if n * seconds_each <= seconds), 0)


def fewest_draws(factor: float = 1.0, level: float = LEVEL) -> int:
    """Return the fewest draws with which the smallest p-value there can be, times `factor`, comes to `level`."""
    n = max(math.floor(factor / level) - 2, 1)
    while monte_carlo_p(0, n) * factor > level:
        n += 1
    return n


def null_seconds(search_seconds: float, given: float | None = None) -> float:
    """Return the time that null sweeps may take [s]: as `given`, or twice the search, at least two minutes."""
    return max(2.0 * search_seconds, FEWEST_SECONDS) if given is None else given


def n_holdout_surrogates(n_openings: int) -> int:
    """Return the surrogates that the test on a hold-out draws: enough for the `n_openings`-th look to come to .05."""
    return max(FEWEST_HOLDOUT_SURROGATES, 20 * n_openings - 1)


def holdout_p(values: Sequence[float], observed: float, *, maximize: bool = True) -> float:
    """Return the p-value of a setting on a hold-out, from its values on all surrogates of it; NaN without a value."""
    if math.isnan(observed):
        return math.nan
    return monte_carlo_p(int(np.count_nonzero(as_good(values, observed, maximize=maximize))), len(values))


def null_sweeps(
    bars: Bars,
    search: Callable[[Bars], float],
    *,
    n_wanted: int = 99,
    block: int = 1,
    seed: int = 0,
    maximize: bool = True,
    factor: float = 1.0,
) -> NullSweeps:
    """Test any search for chance: run it on `bars`, and on the same bars in random order.

    The steps are those of the permutation test of the training process in [1]_:

    1. run `search` on the bars and keep its best value;
    2. permute the bars, so that whatever timing they held is gone (`permute_bars`), and run the whole search again;
    3. repeat, and count the permutations with a best value at least as good.

    The market itself counts as one permutation: p = (1 + count) / (1 + n_wanted). Once 10 permutations are as good,
    after l of them, the test ends with p = 10 / l.

    Parameters
    ----------
    bars : Bars
        What the search sees; its first bar is where all permutations start.
    search : callable
        Takes bars and returns the best value that it finds, NaN if it finds none. All that it chooses it must choose
        anew in each call, or p says nothing of it.
    n_wanted : int
        Number of permutations, at least 19 for a p of .05.
    block : int
        Length of the pieces that stay together [bars]; longer ones are blind to timing shorter than themselves.
    seed : int
        Of the permutations; permutation s depends on seed, `block` and s alone.
    maximize : bool
        Whether larger values are better.
    factor : float
        What the ledger multiplies p with [1].

    Returns
    -------
    NullSweeps

    References
    ----------
    .. [1] Masters, Permutation and Randomization Tests for Trading System Development, 2018.
    """
    observed = search(bars)
    values: list[float] = []
    while True:
        weighed = weigh_null_sweeps(values, observed, n_wanted=n_wanted, maximize=maximize, factor=factor)
        if len(values) == n_wanted or weighed.stopped != "budget":
            return weighed
        rng = surrogate_generator(f"seed {seed}", block, len(values))
        values.append(search(permute_bars(bars, rng, block)))
