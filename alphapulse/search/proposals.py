"""What a study runs of what its sampler thinks of: given points first, and nothing that breaks a constraint."""

from typing import Any

import numpy as np

from alphapulse.errors import ConfigError
from alphapulse.search.samplers._base import HistorySampler, Sampler
from alphapulse.search.samplers.grid import GridSampler
from alphapulse.search.space import SearchSpace
from alphapulse.typing import BoolArray1D, Float64Array2D

N_OWN_ATTEMPTS = 16
"""Times that a sampler which learns draws a generation again before uniform draws take the places that are left."""

LEAST_SHARE = 10_000
"""A space of which less than one in so many draws fits is refused."""

SPARE = 15
"""Stream of the uniform draws that step in for a sampler."""

MOST_COUNTED = 2**20
"""Points of a finite space that are counted one by one; of larger ones a sample is looked at."""


class Proposals:
    """A sampler as a study runs it: in all that is not said here it is the sampler.

    Given points stand in place of its own first proposals, one for one, so that a study has as many trials as before.
    What a sampler that learns nothing proposes is filtered in order. One that learns draws again where a proposal
    breaks a constraint, in the same place of its generation and by other random numbers, `N_OWN_ATTEMPTS` times; what
    is still missing is drawn uniformly. Both are pure functions of seed and history, as the sampler is.

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
        self._is_ruled = bool(sampler.space.rules.constraints) and not sampler.keeps_rules
        self._n_told: dict[int, int] = {}
        self._settled = -1
        self._in_order = _InOrder(sampler)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._sampler, name)

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation."""
        sampler = self._sampler
        if not isinstance(sampler, HistorySampler):
            own = self._in_order.propose(generation) if self._is_ruled else sampler.propose(generation)
            return self._given_first(generation, own)
        before = generation - 1
        if before > self._settled and self._n_told.get(before, 0) < sampler.schedule.size(before):
            # A resumed study was told less than it had proposed: what is in flight is proposed again.
            self.propose(before)
        proposed = self._given_first(generation, sampler.propose(generation))
        if self._is_ruled:
            proposed = self._without_broken(generation, proposed)
        sampler.settle(generation, proposed)
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

    def _without_broken(self, generation: int, proposed: Float64Array2D) -> Float64Array2D:
        """Return proposals with others of the sampler, or uniform draws, in place of those that break a constraint."""
        sampler = self._sampler
        assert isinstance(sampler, HistorySampler)
        proposed = proposed.copy()
        broken = np.flatnonzero(~sampler.space.fits(proposed))
        for attempt in range(1, N_OWN_ATTEMPTS + 1):
            if len(broken) == 0:
                return proposed
            again = sampler.redraw(generation, attempt)[broken]
            fits = sampler.space.fits(again)
            proposed[broken[fits]] = again[fits]
            broken = broken[~fits]
        if len(broken):
            proposed[broken] = spare_settings(sampler, generation, len(broken))
        return proposed


class _InOrder:
    """What a sampler that learns nothing proposes and fits, numbered from 0 on."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._start_again()

    def _start_again(self) -> None:
        self._first = 0
        self._kept = np.empty((0, len(self._sampler.space)))
        self._next_chunk = self._n_drawn = 0
        self._is_exhausted = False

    def propose(self, generation: int) -> Float64Array2D:
        """Return the fitting parameters (m, p) of a generation."""
        size = self._sampler.generation_size
        first = generation * size
        if first < self._first:
            self._start_again()
        while self._first + len(self._kept) < first + size and not self._is_exhausted:
            self._draw(first)
        return self._kept[first - self._first :][:size]

    def _draw(self, first: int) -> None:
        """Keep what fits of the next proposals, and nothing that stands before the number `first`."""
        sampler = self._sampler
        drawn = sampler.propose(self._next_chunk)
        self._next_chunk += 1
        self._n_drawn += len(drawn)
        self._is_exhausted = len(drawn) < sampler.generation_size
        kept = np.concatenate([self._kept, drawn[sampler.space.fits(drawn)]])
        n_passed = min(max(first - self._first, 0), len(kept))
        self._first, self._kept = self._first + n_passed, kept[n_passed:]
        n_fitting = self._first + len(self._kept)
        if self._n_drawn > 2 * LEAST_SHARE and n_fitting * LEAST_SHARE < self._n_drawn:
            raise too_tight(sampler.space)


def spare_settings(sampler: Sampler, generation: int, n: int) -> Float64Array2D:
    """Return the first `n` uniform draws (n, p) that fit, the same for the same seed and generation.

    Raises
    ------
    ConfigError
        If there are not so many among `LEAST_SHARE` draws for each.
    """
    space = sampler.space
    parameters = sampler.encoding.decode(sampler.uniforms(generation, LEAST_SHARE * n, len(space), stream=SPARE))
    fitting: Float64Array2D = parameters[space.fits(parameters)][:n]
    if len(fitting) < n:
        raise too_tight(space)
    return fitting


def check_rules(sampler: Sampler) -> str:
    """Return what the constraints leave of a grid as a sentence, empty for other samplers.

    Raises
    ------
    ConfigError
        If they leave nothing, or less than one in `LEAST_SHARE` draws.
    """
    space = sampler.space
    if not space.rules.constraints:
        return ""
    if isinstance(sampler, GridSampler) and sampler.n_points <= MOST_COUNTED:
        n_fitting = sum(
            int(space.fits(chunk).sum())
            for first in range(0, sampler.n_points, 2**16)
            for chunk in [sampler.between(first, first + 2**16)]
        )
        if n_fitting == 0:
            raise too_tight(space)
        return f"grid has {sampler.n_points:,} points, {n_fitting:,} after constraints."
    n = 2 * LEAST_SHARE
    fits: BoolArray1D = space.fits(sampler.encoding.decode(sampler.uniforms(0, n, len(space), stream=SPARE)))
    if fits.sum() * LEAST_SHARE < n:
        raise too_tight(space)
    return ""


def too_tight(space: SearchSpace) -> ConfigError:
    """Return the error for constraints that leave next to nothing of a space."""
    texts = "; ".join(constraint.text for constraint in space.rules.constraints)
    return ConfigError(
        f"`constraints` must leave at least one in {LEAST_SHARE:,} settings of the space, but less keep {texts}; "
        "change the bounds of the keys, or write fewer constraints"
    )
