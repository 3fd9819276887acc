"""Which settings of a space may still be tried: those that keep the rules and, where they can be counted, are new."""

from collections.abc import Iterator

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
    """The settings of a space, each to be tried once where there are at most `MOST_COUNTED`, or those of them that no
    continuous key tells apart.

    Parameters
    ----------
    sampler : Sampler
        It tells the space and the seed. One that keeps the rules itself, or counts off a grid, may have any setting.

    Attributes
    ----------
    are_remembered : bool
        Whether settings that can come twice are remembered.
    are_counted : bool
        Whether all of them can, so that the space may be exhausted.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._space = sampler.space
        self._walk = (sampler.seed, sampler.directions)
        self._is_grid = isinstance(sampler, GridSampler)
        n_codes = sampler.space.n_codes
        is_distinct = sampler.keeps_rules or self._is_grid
        self.are_remembered = n_codes is not None and n_codes <= MOST_COUNTED and not is_distinct
        self.are_counted = self.are_remembered and sampler.space.size is not None
        self._is_taken = np.zeros(n_codes if self.are_remembered and n_codes else 0, dtype=np.bool_)
        self._n_walked = 0

    def take(self, parameters: Float64Array2D) -> BoolArray1D:
        """Return which trials (n, p) fit and were not taken, of equal ones the first (n,); from now on they are."""
        fits = self._space.fits(parameters)
        if self._is_grid:
            fits &= self._space.represents(parameters)
        if not self.are_remembered or not len(parameters):
            return fits
        codes = self._space.codes(self._space.masked(parameters))
        new = fits & (codes < 0)
        rows = np.flatnonzero(fits & ~new)
        rows = rows[~self._is_taken[codes[rows]]]
        rows = rows[np.unique(codes[rows], return_index=True)[1]]
        self._is_taken[codes[rows]] = True
        new[rows] = True
        return new

    def take_next(self, n: int) -> Float64Array2D:
        """Return the next settings (<= n, p) of the grid, shuffled by the seed, that fit and were not taken."""
        seed, directions = self._walk
        grid = GridSampler(self._space, seed=seed, directions=directions)
        found = np.empty((0, len(self._space)))
        while len(found) < n and self._n_walked < grid.n_points:
            points = grid.between(self._n_walked, self._n_walked + WALKED)
            points = self._space.masked(points[self._space.represents(points)])
            is_new = self._space.fits(points) & ~self._is_taken[self._space.codes(points)]
            new = points[is_new][: n - len(found)]
            self._is_taken[self._space.codes(new)] = True
            found = np.concatenate([found, new])
            if len(found) < n:
                self._n_walked += WALKED
        return found


def count_settings(space: SearchSpace) -> int | None:
    """Return how many different settings of a space keep its rules; None where they are too many to count."""
    if space.size is None or space.size > MOST_COUNTED:
        return None
    if not space.rules.constraints and not space.is_conditional:
        return space.size
    return sum(int(space.fits(points).sum()) for points in _settings(space))


def _settings(space: SearchSpace) -> Iterator[Float64Array2D]:
    """Yield the different settings (n, p) of a finite space, whatever its constraints say, in pieces."""
    grid = GridSampler(space, seed=0, directions=())
    for first in range(0, grid.n_points, 2**16):
        points = grid.between(first, first + 2**16)
        yield space.masked(points[space.represents(points)])


def spare_settings(sampler: Sampler, generation: int, n: int) -> Float64Array2D:
    """Return the first `n` uniform draws (n, p) that fit, the same for the same seed and generation.

    Raises
    ------
    ConfigError
        If there are not so many among `LEAST_SHARE` draws for each.
    """
    space = sampler.space
    parameters = _drawn(sampler, generation, LEAST_SHARE * n)
    fits = space.fits(parameters)
    if space.is_conditional and space.size is None and space.n_codes is not None:
        # One without a continuous key may have been tried.
        fits &= space.codes(parameters) < 0
    fitting: Float64Array2D = parameters[fits][:n]
    if len(fitting) < n:
        raise too_tight(space)
    return fitting


def _drawn(sampler: Sampler, generation: int, n: int) -> Float64Array2D:
    """Return uniform draws (n, p), what is inactive in them left out."""
    uniforms = sampler.uniforms(generation, n, len(sampler.space), stream=SPARE)
    return sampler.space.masked(sampler.encoding.decode(uniforms))


def check_rules(sampler: Sampler) -> str:
    """Return what the rules leave of a grid as a sentence, empty for other samplers.

    Raises
    ------
    ConfigError
        If the constraints leave nothing, or less than one in `LEAST_SHARE` draws of a space that cannot be counted, or
        if a key is active in none of what is looked at.
    """
    space = sampler.space
    if not space.rules.constraints and not space.is_conditional:
        return ""
    is_counted = space.size is not None and space.size <= MOST_COUNTED
    pieces = _settings(space) if is_counted else [_drawn(sampler, 0, 2 * LEAST_SHARE)]
    n_looked_at = n_fitting = 0
    is_ever_active = np.zeros(len(space), dtype=np.bool_)
    for points in pieces:
        fitting = points[space.fits(points)]
        n_looked_at, n_fitting = n_looked_at + len(points), n_fitting + len(fitting)
        is_ever_active |= ~np.isnan(fitting).all(axis=0)
    if n_fitting * LEAST_SHARE < (1 if is_counted else n_looked_at):
        raise too_tight(space)
    for key in np.array(space.keys)[~is_ever_active].tolist():
        raise ConfigError(
            f"`when` of {key} must hold in some setting, but {space.rules.when[key].text} does in none of "
            f"{n_fitting:,}; change it, or leave the key out of the space"
        )
    if not isinstance(sampler, GridSampler) or not is_counted:
        return ""
    distinct = f", {n_looked_at:,} distinct" if space.is_conditional else ""
    after = f", {n_fitting:,} after constraints" if space.rules.constraints else ""
    return f"grid has {space.size:,} points{distinct}{after}."


def too_tight(space: SearchSpace) -> ConfigError:
    """Return the error for constraints that leave next to nothing of a space."""
    texts = "; ".join(constraint.text for constraint in space.rules.constraints)
    return ConfigError(
        f"`constraints` must leave at least one in {LEAST_SHARE:,} settings of the space, but less keep {texts}; "
        "change the bounds of the keys, or write fewer constraints"
    )
