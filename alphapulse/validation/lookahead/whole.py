"""A history too long to be asked about often: the whole of it a few times, the rest in segments that start anywhere.

What only a long history shows, such as a mean of all of it or a decision made of bars far ahead, shows in one answer to
another future as in a hundred. What happens at a date shows in a segment that has the date, as well as in the whole, at
a price that does not grow with the history.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from alphapulse.errors import LookAheadError
from alphapulse.market.bars import Bars
from alphapulse.strategies.columns import timestamp_text
from alphapulse.strategies.resolve import StrategyDefinition
from alphapulse.typing import Float64Array1D
from alphapulse.validation.lookahead.answers import PARTS, TARGET, Series, ask, difference
from alphapulse.validation.lookahead.cuts import calendar_cuts, hole_cuts, telling_cuts
from alphapulse.validation.lookahead.futures import FUTURES

# Each future once, in another third of the bars.
WHOLE = ("collapsing", "removed", "soaring")
N_ANYWHERE = 12
# Of a segment, what lies after its cut [1].
LATER = 0.25


def check_whole(
    definition: StrategyDefinition, point: Mapping[str, Any], bars: Bars, rng: np.random.Generator
) -> Float64Array1D:
    """Raise if what was decided in a long history changes with its future; return the targets (n_bars,).

    No more is held than the bars, one other future of them, and the answers to both.

    Raises
    ------
    LookAheadError
        If the past moves.
    """
    n_bars = len(bars)
    reference = ask(definition, point, bars)
    for third, future in enumerate(WHOLE):
        cut = int(rng.integers(max(third * n_bars // 3, 1), (third + 1) * n_bars // 3))
        other = FUTURES[future](bars, cut, rng)
        for part in PARTS:
            _compare(definition, bars, reference, ask(definition, point, other, (part,)), part, cut, future)
    target: Float64Array1D = reference[TARGET].reshape(n_bars, -1)[:, 0]
    return target


def _compare(
    definition: StrategyDefinition, bars: Bars, reference: Series, answer: Series, part: str, cut: int, future: str
) -> None:
    for name, got in answer.items():
        name = "stop atr" if part == "atr" and "stop atr" in reference else name
        if name not in reference:
            raise LookAheadError(f"{definition.name} names its indicators differently on other bars: `{name}`.")
        moved = difference(reference[name][:cut], got[:cut], exact=future != "removed")
        if moved.any():
            where, last = timestamp_text(bars, int(np.argmax(moved))), timestamp_text(bars, cut - 1)
            change = "removed" if future == "removed" else f"replaced ({future})"
            raise LookAheadError(
                f"{definition.name} sees the future: `{name}` at bar {where} changes when the bars after {last} are "
                f"{change}; compute each bar from bars up to it only."
            )


def segments(
    bars: Bars, target: Float64Array1D, length: int, rng: np.random.Generator
) -> Iterator[tuple[Bars, list[int]]]:
    """Return stretches of `length` bars with the places in them to cut at: where a peek would show, and anywhere.

    Parameters
    ----------
    target : (n_bars,) float64
        Decisions over the whole history.
    length : int
        Bars of a segment, a warm-up among them; not more than there are.
    """
    n_bars = len(bars)
    cuts = {*calendar_cuts(bars, rng, 2), *hole_cuts(bars, rng, 2), *telling_cuts(bars, target, 4)}
    waiting = sorted(cuts | set(rng.integers(1, n_bars, N_ANYWHERE).tolist()))
    while waiting:
        stop = min(max(waiting[0] + int(LATER * length), length), n_bars)
        inside = [cut for cut in waiting if cut <= max(stop - int(LATER * length), waiting[0])]
        waiting = waiting[len(inside) :]
        yield bars[stop - length : stop], [cut - (stop - length) for cut in inside]
