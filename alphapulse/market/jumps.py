"""Prices that cannot be right: nonsense, spikes that come and go, and jumps that stay, as an unadjusted split does.

A move is measured in the series' own: the robust scale (1.4826 times the median of absolute log returns that are not 0)
of its stretch of `BLOCK` bars and of the whole series, whichever is larger. No move below the least of its kind counts,
so that the crash of 1987, -20.5 % at 1 % a day, is none of these.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from alphapulse.typing import BoolArray1D, Float64Array1D

BLOCK = 250
# Bars that are looked at together, so that a long history takes little memory beside itself.
PART = 1 << 16
# In scales of the series; the largest moves of indices and shares, and of the VIX, stay below 25 of them.
MOST_SCALES = 25.0
# Log ratios: a jump of less than 7 for 5 is no split, a spike of less than a quarter may be a real one.
LEAST_JUMP, LEAST_SPIKE, LEAST_WICK = np.log(1.4), np.log(1.25), np.log(2.0)
# A price that is off by more than this is a spike though the close is sound.
MOST_WICK = np.log(9.0)
# A spike lasts so many bars at most, and then less than this share of it is left.
LONGEST_SPIKE, LEFT_OF_SPIKE = 5, 0.25
# Beyond these no price of anything has been quoted; away from its neighbours by this ratio none is real.
LOWEST, HIGHEST, NONSENSE = 1e-12, 1e12, np.log(500.0)


@dataclass(frozen=True)
class Faults:
    """Which bars cannot be right.

    Attributes
    ----------
    nonsense, spike : (n_bars,) bool
        Bars with a price that is none, and bars out of line with those before and after them.
    wick : (n_bars,) bool
        Bars of which one price is far off, by less than `MOST_WICK`, while the close is not.
    jump : (n_bars,) bool
        First bars of a level from which prices do not come back.
    size : (n_bars,) float64
        By what a bar is off: its price over the close before it, the one that is furthest away [1]; NaN of sound bars.
    """

    nonsense: BoolArray1D
    spike: BoolArray1D
    wick: BoolArray1D
    jump: BoolArray1D
    size: Float64Array1D


def find_faults(open_: Float64Array1D, high: Float64Array1D, low: Float64Array1D, close: Float64Array1D) -> Faults:
    """Return which bars of a series cannot be right.

    Parameters
    ----------
    open_, high, low, close : (n_bars,) float64
        Prices [quote], positive and finite.
    """
    n_bars = len(close)
    none = np.zeros(n_bars, dtype=bool)
    if n_bars < 2:
        return Faults(none, none, none, none, np.full(n_bars, np.nan))
    moves = np.diff(np.log(close))
    scale = _scale(moves)
    nonsense = none.copy()
    for price in (open_, high, low, close):
        nonsense |= (price > HIGHEST) | (price < LOWEST)
    spike, jump = _spikes(moves, scale)
    # A last bar far from all others has had no time to come back.
    if abs(moves[-1]) > NONSENSE:
        nonsense[-1], jump[-1] = True, False
    wick = none.copy()
    for first in range(0, n_bars, PART):
        part = slice(first, first + PART)
        before = close[np.maximum(np.arange(first, min(first + PART, n_bars)) - 1, 0)]
        off = _wicks(open_[part], high[part], low[part], close[part], before)
        # The move that leads to the bar; the first bar has that of the second.
        at = scale[np.maximum(np.arange(first, first + len(off)) - 1, 0)]
        wick[part] = off > np.maximum(LEAST_WICK, MOST_SCALES * at)
        spike[part] |= wick[part] & (off > MOST_WICK)
    spike &= ~nonsense
    wick &= ~(spike | nonsense)
    jump &= ~(spike | nonsense)
    size = np.full(n_bars, np.nan)
    faulty = np.flatnonzero(nonsense | spike | wick | jump)
    before = close[np.maximum(faulty - 1, 0)]
    furthest = np.stack([open_[faulty], high[faulty], low[faulty], close[faulty]])
    place = np.argmax(np.abs(np.log(furthest) - np.log(before)), axis=0)
    size[faulty] = furthest[place, np.arange(len(faulty))] / before
    return Faults(nonsense, spike, wick, jump, size)


def _scale(moves: Float64Array1D) -> Float64Array1D:
    """Return the robust scale around each move (n_moves,)."""
    size = np.abs(moves)

    def robust(part: Float64Array1D) -> float:
        part = part[part > 0.0]
        return 1.4826 * float(np.median(part)) if len(part) else 0.0

    n_blocks = max(len(moves) // BLOCK, 1)
    bounds = np.linspace(0, len(moves), n_blocks + 1).astype(int)
    blocks = np.array([robust(size[first:last]) for first, last in itertools.pairwise(bounds)])
    return np.repeat(np.maximum(blocks, robust(size)), np.diff(bounds))


def _spikes(moves: Float64Array1D, scale: Float64Array1D) -> tuple[BoolArray1D, BoolArray1D]:
    """Return bars whose closes go away and come back, and first bars of a new level (n_bars,)."""
    n_moves = len(moves)
    spike, jump = np.zeros(n_moves + 1, dtype=bool), np.zeros(n_moves + 1, dtype=bool)
    large = np.flatnonzero(np.abs(moves) > np.maximum(LEAST_SPIKE, MOST_SCALES * scale))
    for place in large.tolist():
        if spike[place] or spike[place + 1]:
            # Part of a spike, or the way back from one.
            continue
        gone = abs(moves[place])
        for length in range(1, LONGEST_SPIKE + 1):
            back = place + length
            if back >= n_moves:
                break
            left = abs(moves[place : back + 1].sum())
            if left < LEFT_OF_SPIKE * gone and abs(moves[back]) > 0.5 * gone:
                spike[place + 1 : back + 1] = True
                break
        jump[place + 1] = not spike[place + 1] and gone > LEAST_JUMP
    return spike, jump


def _wicks(
    open_: Float64Array1D, high: Float64Array1D, low: Float64Array1D, close: Float64Array1D, before: Float64Array1D
) -> Float64Array1D:
    """Return how far the high, low or open of each bar is from where it and its neighbour traded [log ratio].

    `before` are the closes before the bars.
    """
    top, bottom = np.maximum(np.maximum(open_, close), before), np.minimum(np.minimum(open_, close), before)
    off = np.log(np.maximum(high / top, bottom / low))
    alone: Float64Array1D = np.minimum(np.abs(np.log(open_ / close)), np.abs(np.log(open_ / before)))
    return np.maximum(off, alone)
