"""Scrambled Sobol points: a random search without clumps and gaps."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from alphapulse.errors import ConfigError
from alphapulse.search.samplers._base import Sampler, given
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D

N_BITS = 32


class QMCSampler(Sampler):
    """Points of a Sobol sequence, scrambled by the seed; scipy's are made of integers, so their bits are fixed.

    Raises
    ------
    ConfigError
        If the space has more dimensions than direction numbers are known for, or the sequence ends (2**32 points).
    """

    name: ClassVar[str] = "qmc"

    def __init__(
        self, space: SearchSpace, *, seed: int, directions: Sequence[str], generation_size: int | None = None
    ) -> None:
        super().__init__(space, seed=seed, directions=directions, generation_size=given(generation_size, 4096))
        # Half a second to import, which only this sampler should pay.
        from scipy.stats import qmc

        if len(space) > qmc.Sobol.MAXDIM:
            raise ConfigError(
                f"search=qmc takes at most {qmc.Sobol.MAXDIM} swept keys, but got {len(space)}; use search=random."
            )
        self._sequence = qmc.Sobol(len(space), scramble=True, bits=N_BITS, rng=np.random.default_rng([seed % 2**64, 2]))

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (generation_size, p) of a generation."""
        first = generation * self.generation_size
        if first + self.generation_size > 2**N_BITS:
            raise ConfigError(f"search=qmc has 2**{N_BITS} points, all of them proposed; use search=random.")
        if self._sequence.num_generated > first:
            self._sequence.reset()
        if self._sequence.num_generated < first:
            self._sequence.fast_forward(first - self._sequence.num_generated)
        return self.encoding.decode(_draw(self._sequence, self.generation_size))


def _draw(sequence: object, n: int) -> Float64Array2D:
    """Return the next n points; scipy warns where n is no power of two, which is the user's choice of size."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        points: Float64Array2D = sequence.random(n)  # type: ignore[attr-defined]
    return points
