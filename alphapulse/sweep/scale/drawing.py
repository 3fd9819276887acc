"""Trials of a search that needs no results, drawn by their numbers wherever they run."""

import pickle

import numpy as np

from alphapulse.search.choosing import Sampler
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.typing import Float64Array2D


class Drawing:
    """Draws trials by their numbers; the generation drawn last is kept.

    Parameters
    ----------
    sampler : Sampler
        One whose generations are all of one size, and none of them needs results. Where it has an order, `in_order`,
        numbers far back take the time of all before them.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._number = -1
        self._drawn = np.empty((0, len(sampler.space)))

    def between(self, first: int, stop: int) -> Float64Array2D:
        """Return the parameters of the trials [first, stop) (n, n_dimensions), as far as the space goes."""
        size = self._sampler.generation_size
        parts = [self._drawn[:0]]
        for number in range(first // size, -(-stop // size)):
            if number != self._number:
                self._drawn = np.ascontiguousarray(self._sampler.propose(number), dtype=np.float64)
                self._number = number
            start = number * size
            parts.append(self._drawn[max(first - start, 0) : stop - start])
        return np.concatenate(parts) if len(parts) > 2 else parts[-1]


_held: tuple[Experiment, bytes, Drawing] | None = None


def drawing_of(experiment: Experiment, search: bytes) -> Drawing:
    """Return what draws the trials of a search, a pickled `SearchPlan`; made once a process."""
    global _held
    if _held is None or _held[0] is not experiment or _held[1] != search:
        plan: SearchPlan = pickle.loads(search)
        _held = (experiment, search, Drawing(plan.start(experiment, plan.seed)))
    return _held[2]


def count_distinct(sampler: Sampler, n_trials: int, most: int = 2**22) -> int:
    """Return how many different settings the first `n_trials` trials of a search that needs no results have.

    They are drawn again, several times where codes of more than `most` of them would have to be held at once.
    """
    space = sampler.space
    if space.n_codes is None or space.n_codes >= 2**62 or sampler.n_points is not None:
        # Nothing continuous comes twice, and nothing on a grid.
        return n_trials
    n_parts = -(-n_trials // most)
    size, n_distinct = sampler.generation_size, 0
    for part in range(n_parts):
        drawing, codes = Drawing(sampler), [np.empty(0, dtype=np.int64)]
        for first in range(0, n_trials, size):
            found = space.codes(drawing.between(first, min(first + size, n_trials)))
            n_distinct += int(np.count_nonzero(found < 0)) if part == 0 else 0
            codes.append(found[(found >= 0) & (found % n_parts == part)])
        n_distinct += len(np.unique(np.concatenate(codes)))
    return n_distinct
