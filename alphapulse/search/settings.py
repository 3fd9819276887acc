"""Which settings of a space may still be tried: those that keep the rules and, where they can be counted, are new."""

import numpy as np

from alphapulse.errors import ConfigError
from alphapulse.search.samplers._base import Sampler
from alphapulse.search.samplers.grid import GridSampler
from alphapulse.search.space import SearchSpace
from alphapulse.typing import BoolArray1D, Float64Array2D

LEAST_SHARE = 10_000
"""A space of which less than one in so many draws fits is refused."""

MOST_COUNTED = 2**20
"""Settings of a finite space that are remembered one by one; in a larger one a setting may come twice."""

SPARE = 15
"""Stream of the uniform draws that step in for a sampler."""

WALKED = 4096
"""Points of a grid that are looked at together."""


class Settings:
    """The settings of a space, each to be tried once where there are at most `MOST_COUNTED`.

    Parameters
    ----------
    sampler : Sampler
        It tells the space and the seed. One that keeps the rules itself, or counts off a grid, may have any setting.

    Attributes
    ----------
    are_counted : bool
        Whether settings are remembered.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._space = sampler.space
        self._walk = (sampler.seed, sampler.directions)
        size = sampler.space.size
        is_distinct = sampler.keeps_rules or isinstance(sampler, GridSampler)
        self.are_counted = size is not None and size <= MOST_COUNTED and not is_distinct
        self._is_taken = np.zeros(size if self.are_counted and size else 0, dtype=np.bool_)
        self._n_walked = 0

    def take(self, parameters: Float64Array2D) -> BoolArray1D:
        """Return which trials (n, p) fit and were not taken, of equal ones the first (n,); from now on they are."""
        fits = self._space.fits(parameters)
        if not self.are_counted or not len(parameters):
            return fits
        codes = self._space.codes(parameters)
        rows = np.flatnonzero(fits & ~self._is_taken[codes])
        rows = rows[np.unique(codes[rows], return_index=True)[1]]
        self._is_taken[codes[rows]] = True
        new = np.zeros(len(parameters), dtype=np.bool_)
        new[rows] = True
        return new

    def take_next(self, n: int) -> Float64Array2D:
        """Return the next settings (<= n, p) of the grid, shuffled by the seed, that fit and were not taken."""
        seed, directions = self._walk
        grid = GridSampler(self._space, seed=seed, directions=directions)
        found = np.empty((0, len(self._space)))
        while len(found) < n and self._n_walked < grid.n_points:
            points = grid.between(self._n_walked, self._n_walked + WALKED)
            is_new = self._space.fits(points) & ~self._is_taken[self._space.codes(points)]
            new = points[is_new][: n - len(found)]
            self._is_taken[self._space.codes(new)] = True
            found = np.concatenate([found, new])
            if len(found) < n:
                self._n_walked += WALKED
        return found


def count_settings(space: SearchSpace) -> int | None:
    """Return how many settings of a space keep its rules; None where they are too many to count."""
    if space.size is None or space.size > MOST_COUNTED:
        return None
    if not space.rules.constraints:
        return space.size
    grid = GridSampler(space, seed=0, directions=())
    return sum(int(space.fits(grid.between(first, first + 2**16)).sum()) for first in range(0, grid.n_points, 2**16))


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
        If they leave nothing, or less than one in `LEAST_SHARE` draws of a space that cannot be counted.
    """
    space = sampler.space
    if not space.rules.constraints:
        return ""
    n_settings = count_settings(space)
    if n_settings == 0:
        raise too_tight(space)
    if n_settings is None:
        n = 2 * LEAST_SHARE
        fits = space.fits(sampler.encoding.decode(sampler.uniforms(0, n, len(space), stream=SPARE)))
        if fits.sum() * LEAST_SHARE < n:
            raise too_tight(space)
    is_told = isinstance(sampler, GridSampler) and n_settings is not None
    return f"grid has {space.size:,} points, {n_settings:,} after constraints." if is_told else ""


def too_tight(space: SearchSpace) -> ConfigError:
    """Return the error for constraints that leave next to nothing of a space."""
    texts = "; ".join(constraint.text for constraint in space.rules.constraints)
    return ConfigError(
        f"`constraints` must leave at least one in {LEAST_SHARE:,} settings of the space, but less keep {texts}; "
        "change the bounds of the keys, or write fewer constraints"
    )
