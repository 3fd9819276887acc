"""Independent uniform draws."""

from collections.abc import Sequence
from typing import ClassVar

from alphapulse.search.samplers._base import Sampler, given
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D


class RandomSampler(Sampler):
    """Uniform over the space (over the logarithm where `log`), with replacement."""

    name: ClassVar[str] = "random"

    def __init__(
        self, space: SearchSpace, *, seed: int, directions: Sequence[str], generation_size: int | None = None
    ) -> None:
        super().__init__(space, seed=seed, directions=directions, generation_size=given(generation_size, 4096))

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (generation_size, p) of a generation."""
        return self.encoding.decode(self.uniforms(generation, self.generation_size, len(self.space)))
