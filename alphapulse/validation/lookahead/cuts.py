"""Where the look-ahead gate cuts: all over the bars, at the turns of the calendar, and where a peek would have paid."""

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.timeframes import DAY
from alphapulse.typing import Float64Array1D, Int64Array1D

FEWEST_EARLY = 30


def spread_cuts(n_bars: int, lookback: int, n_cuts: int, rng: np.random.Generator) -> list[int]:
    """Return cuts (numbers of bars that stay), a third of them inside the warm-up, rising."""
    # A strategy that does not tell its lookback has a warm-up all the same.
    warm_up = min(max(lookback + 1, FEWEST_EARLY), n_bars - 1)
    n_early = max(1, n_cuts // 3)
    early = {1, min(2, n_bars - 1), min(max(lookback, 1), n_bars - 1), warm_up}
    early |= set(rng.integers(1, warm_up + 1, max(0, n_early - len(early))).tolist())
    late = {n_bars - 1, *rng.integers(warm_up, n_bars, max(0, n_cuts - len(early) - 1)).tolist()}
    return sorted(early | late)


def calendar_cuts(bars: Bars, rng: np.random.Generator, n_each: int = 3) -> list[int]:
    """Return cuts just before a new day (of intraday bars), week, month, quarter and year."""
    day = bars.timestamp // DAY
    month = bars.timestamp.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    cuts: set[int] = set()
    # The epoch was a Thursday, so that weeks of Monday begin at day 4.
    for unit in (day, (day + 3) // 7, month, month // 3, month // 12):
        turns = np.flatnonzero(np.diff(unit)) + 1
        if 0 < len(turns) < len(bars) - 1:
            cuts |= set(rng.choice(turns, min(n_each, len(turns)), replace=False).tolist())
    return sorted(cuts)


def hole_cuts(bars: Bars, rng: np.random.Generator, n_each: int = 4) -> list[int]:
    """Return cuts right after bars on which a series is unknown, where filling backwards would show."""
    cuts: set[int] = set()
    for column in (bars.volume, bars.volatility, *bars.others.values()):
        holes = np.flatnonzero(np.isnan(column[:-1])) + 1
        if 0 < len(holes) < len(bars) - 1:
            cuts |= {int(holes[-1]), *rng.choice(holes, min(n_each, len(holes)), replace=False).tolist()}
    return sorted(cuts)


def telling_cuts(bars: Bars, target: Float64Array1D, n_each: int = 6) -> list[int]:
    """Return cuts right after the bars whose decision is most likely to come from later bars.

    They are the decisions that the next bars paid best, the ones against the bars around them, the rarest ones,
    and those before the largest moves: a peek at few bars pays, or it would not be worth hiding.
    """
    n_bars = len(bars)
    known = np.nan_to_num(target, nan=0.0, posinf=0.0, neginf=0.0)
    change = np.abs(np.diff(known, prepend=known[:1]))
    suspects: list[Int64Array1D] = []
    for horizon in (1, 5):
        if n_bars <= horizon + 1:
            continue
        ahead = np.zeros(n_bars)
        ahead[:-horizon] = bars.close[horizon:] / bars.close[:-horizon] - 1.0
        suspects += [_largest(known * ahead, n_each), _largest(change * np.abs(ahead), n_each)]
        suspects.append(_largest(np.abs(ahead), n_each // 2))
    lone = np.zeros(n_bars)
    lone[1:-1] = np.where(known[:-2] == known[2:], change[1:-1], 0.0)
    suspects.append(_largest(lone, n_each))
    values, inverse, counts = np.unique(known, return_inverse=True, return_counts=True)
    if len(values) < n_bars // 2:
        suspects.append(_largest(1.0 / counts[inverse], n_each))
    return sorted({int(t) + 1 for found in suspects for t in found if t + 1 < n_bars})


def _largest(score: Float64Array1D, count: int) -> Int64Array1D:
    """Return the places of the `count` largest positive scores."""
    # A sort of what may be among them; of a long history all else is left where it is.
    least = np.partition(score, -count)[-count] if count < len(score) else -np.inf
    among = np.flatnonzero(score >= least)
    places = among[np.argsort(-score[among], kind="stable")[:count]]
    found: Int64Array1D = places[score[places] > 0.0]
    return found
