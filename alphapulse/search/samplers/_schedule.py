"""How many trials each generation has, and which ones."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

SHARE = 32
"""A generation that grows is this part of the trials before it: what it does not know yet is little then."""


@dataclass(frozen=True)
class Schedule:
    """The sizes of the generations of a study, a function of nothing but these two numbers.

    Attributes
    ----------
    least, most : int
        The first generation has `least` trials; the others a thirty-second of the trials before them, within
        [least, most]. Where the two are the same, all generations are of one size.
    """

    least: int
    most: int

    @cached_property
    def _firsts(self) -> tuple[int, ...]:
        """First trials of the generations up to the first one that has `most` trials."""
        firsts = [0]
        while (size := self._growing(firsts[-1])) < self.most:
            firsts.append(firsts[-1] + size)
        return tuple(firsts)

    def _growing(self, first: int) -> int:
        return min(max(first // SHARE, self.least), self.most)

    def size(self, generation: int) -> int:
        """Return how many trials a generation has."""
        return self._growing(self.first_trial(generation))

    def first_trial(self, generation: int) -> int:
        """Return the number of the first trial of a generation, which is that of the trials before it."""
        last = len(self._firsts) - 1
        if generation <= last:
            return self._firsts[generation]
        return self._firsts[last] + (generation - last) * self.most

    def n_whole(self, n_trials: int) -> int:
        """Return how many generations the first `n_trials` trials fill."""
        last = len(self._firsts) - 1
        if n_trials < self._firsts[last]:
            return bisect_right(self._firsts, n_trials) - 1
        return last + (n_trials - self._firsts[last]) // self.most
