"""What a study runs of what its sampler thinks of: given points first, nothing against the rules, nothing twice."""

from typing import Any

import numpy as np

from alphapulse.search.samplers._base import HistorySampler, Sampler
from alphapulse.search.settings import LEAST_SHARE, Settings, spare_settings, too_tight
from alphapulse.typing import Float64Array2D

MOST_IN_VAIN = 3
"""Attempts that may bring nothing new in a space that can be counted, where what is left is known."""


class Proposals:
    """A sampler as a study runs it: in all that is not said here it is the sampler.

    Given points stand in place of its own first proposals. What a sampler that learns nothing proposes is filtered in
    order. One that learns draws again where a proposal breaks a constraint or was made before, in the same place of its
    generation and by other random numbers, up to `n_attempts` times; for what is still missing stand uniform draws,
    or what is left of a space that can be counted. All of it is a pure function of seed and history, as the sampler is.

    Where keys are inactive, what is proposed has NaN for them; the sampler itself has a number there,
    see `HistorySampler.completed`.

    Parameters
    ----------
    sampler : Sampler
    points : (k, p) float64
        Parameters that are proposed first; they keep the constraints.

    Raises
    ------
    ConfigError
        While proposing, if less than one in `LEAST_SHARE` draws fits.
    """

    def __init__(self, sampler: Sampler, points: Float64Array2D) -> None:
        self._sampler = sampler
        self._points = points
        self._settings = Settings(sampler)
        self._settings.take(points)
        rules = sampler.space.rules
        self._is_filtered = bool(rules.constraints or rules.when) or self._settings.are_counted
        self._in_order = _InOrder(sampler, points)
        self.in_order = self._is_filtered and not self._in_order.is_shifted
        self._n_told: dict[int, int] = {}
        self._settled = -1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._sampler, name)

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation; fewer where nothing is left of the space."""
        sampler = self._sampler
        if not isinstance(sampler, HistorySampler):
            if self._is_filtered:
                return self._in_order.propose(generation)
            return self._given_first(generation, sampler.propose(generation))
        before = generation - 1
        if before > self._settled and self._n_told.get(before, 0) < sampler.schedule.size(before):
            # A resumed study was told less than it had proposed: what is in flight is proposed again.
            self.propose(before)
        proposed = self._given_first(generation, sampler.space.masked(sampler.propose(generation)))
        if self._is_filtered:
            proposed = self._others_in_place(sampler, generation, proposed)
        sampler.settle(generation, sampler.completed(proposed))
        self._settled = generation
        return proposed

    def tell(
        self,
        generation: int,
        parameters: Float64Array2D,
        values: Float64Array2D,
        violations: Float64Array2D | None = None,
    ) -> None:
        """Give the results of (a further part of) a generation, as `Sampler.tell` takes them."""
        told = {number: n for number, n in self._n_told.items() if number >= generation - 1}
        self._n_told = told | {generation: told.get(generation, 0) + len(parameters)}
        if generation > self._settled:
            self._settings.take(parameters)
        if isinstance(self._sampler, HistorySampler):
            parameters = self._sampler.completed(parameters)
        self._sampler.tell(generation, parameters, values, violations)

    def _given_first(self, generation: int, proposed: Float64Array2D) -> Float64Array2D:
        """Return proposals with the given points in place of the first of all."""
        first = self._sampler.schedule.first_trial(generation)
        points = self._points[first : first + len(proposed)]
        if len(points) == 0:
            return proposed
        proposed = proposed.copy()
        proposed[: len(points)] = points
        return proposed

    def _others_in_place(self, sampler: HistorySampler, generation: int, proposed: Float64Array2D) -> Float64Array2D:
        """Return proposals with others in place of those that cannot be run; without them where there are none."""
        proposed = proposed.copy()
        n_given = min(max(len(self._points) - sampler.schedule.first_trial(generation), 0), len(proposed))
        own = np.arange(n_given, len(proposed))
        missing = own[~self._settings.take(proposed[own])]
        n_in_vain = 0
        for attempt in range(1, sampler.n_attempts + 1):
            if len(missing) == 0:
                return proposed
            if self._settings.are_counted and n_in_vain == MOST_IN_VAIN:
                break
            again = sampler.space.masked(sampler.redraw(generation, attempt)[missing])
            taken = self._settings.take(again)
            proposed[missing[taken]] = again[taken]
            n_in_vain += not taken.any()
            missing = missing[~taken]
        if len(missing) == 0:
            return proposed
        if not self._settings.are_counted:
            proposed[missing] = spare_settings(sampler, generation, len(missing))
            return proposed
        left = self._settings.take_next(len(missing))
        proposed[missing[: len(left)]] = left
        return np.delete(proposed, missing[len(left) :], axis=0)


class _InOrder:
    """Given points, then what a sampler that learns nothing proposes and can be run, numbered from 0 on.

    Attributes
    ----------
    is_shifted : bool
        Whether all of that can be run, so that trial n is the sampler's own n - k where k points are given.
    """

    def __init__(self, sampler: Sampler, points: Float64Array2D) -> None:
        self._sampler = sampler
        self._points = points
        is_endless = not sampler.needs_history and sampler.n_points is None and not Settings(sampler).are_remembered
        self.is_shifted = is_endless and not sampler.space.is_conditional and sampler.space.always_fits
        self._drawn: dict[int, Float64Array2D] = {}
        self._start_again()

    def _start_again(self) -> None:
        self._settings = Settings(self._sampler)
        self._settings.take(self._points)
        self._first, self._kept = 0, self._points
        self._next_chunk = self._n_drawn = self._n_in_vain = 0
        self._is_exhausted = False

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation."""
        size = self._sampler.generation_size
        first = generation * size
        if self.is_shifted:
            return self._shifted(first, first + size)
        if first < self._first:
            self._start_again()
        while self._first + len(self._kept) < first + size and not self._is_exhausted:
            found = self._found()
            kept = np.concatenate([self._kept, found])
            n_passed = min(max(first - self._first, 0), len(kept))
            self._first, self._kept = self._first + n_passed, kept[n_passed:]
        return self._kept[first - self._first :][:size]

    def _shifted(self, first: int, stop: int) -> Float64Array2D:
        """Return the trials [first, stop)."""
        size, n_given = self._sampler.generation_size, len(self._points)
        start, end = max(first - n_given, 0), max(stop - n_given, 0)
        numbers = range(start // size, -(-end // size))
        self._drawn = {n: self._drawn[n] if n in self._drawn else self._sampler.propose(n) for n in numbers}
        own = np.concatenate([self._points[:0], *self._drawn.values()])
        shift = start - numbers.start * size
        return np.concatenate([self._points[first:stop], own[shift : shift + end - start]])

    def _found(self) -> Float64Array2D:
        """Return further settings, at most a generation of them."""
        sampler, size = self._sampler, self._sampler.generation_size
        if self._settings.are_counted and self._n_in_vain >= LEAST_SHARE:
            left = self._settings.take_next(size)
            self._is_exhausted = len(left) < size
            return left
        drawn = sampler.propose(self._next_chunk)
        self._next_chunk += 1
        self._is_exhausted = len(drawn) < size
        found = sampler.space.masked(drawn[self._settings.take(drawn)])
        self._n_drawn += len(drawn)
        self._n_in_vain = 0 if len(found) else self._n_in_vain + len(drawn)
        n_found = self._first + len(self._kept) + len(found)
        is_rare = self._n_drawn > 2 * LEAST_SHARE and n_found * LEAST_SHARE < self._n_drawn
        if is_rare and not self._settings.are_counted:
            raise too_tight(sampler.space)
        return found
