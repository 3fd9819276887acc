"""Every point of a finite space once, in an order shuffled by the seed."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from alphapulse.compiling import jit
from alphapulse.errors import ConfigError
from alphapulse.search.samplers._base import Sampler, given
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array1D, Float64Array2D

N_ROUNDS = 6
LARGEST_GRID = 2**62


class GridSampler(Sampler):
    """The whole product, each point once, as Optuna's GridSampler shuffles it.

    The order is a keyed permutation computed point by point, so that a grid of 10**15 points takes no memory and a
    prefix of it is a random sample without replacement.

    Raises
    ------
    ConfigError
        If a dimension is continuous, or the grid has more than 2**62 points.
    """

    name: ClassVar[str] = "grid"

    def __init__(
        self, space: SearchSpace, *, seed: int, directions: Sequence[str], generation_size: int | None = None
    ) -> None:
        super().__init__(space, seed=seed, directions=directions, generation_size=given(generation_size, 4096))
        for d in space.dimensions:
            if d.is_continuous:
                low, high = d.bounds
                raise ConfigError(
                    f"search=grid needs a finite space, but {d.key} is continuous in [{low:g}, {high:g}]; "
                    f"give it a step: {d.key}=range({low:g},{high:g},STEP)."
                )
        self.n_points: int = space.size or 1
        if self.n_points > LARGEST_GRID:
            raise ConfigError(
                f"search=grid takes at most 2**62 points, but the space has {self.n_points:.3g}; use search=random."
            )
        half_bits = 1
        while 4**half_bits < self.n_points:
            half_bits += 1
        self._half_bits = half_bits
        philox = np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, 1 << 48], dtype=np.uint64)))
        self._round_keys = philox.integers(0, 2**64, size=N_ROUNDS, dtype=np.uint64)

        self._first = np.empty((0, len(space)))
        self._moved: list[tuple[Float64Array1D, Float64Array1D]] = []

    def enqueue(self, points: Float64Array2D) -> bool:
        """Move points (k, p) of the grid, each different, to its beginning; none is proposed twice.

        A key that is inactive, NaN, has its lowest value there.
        """
        points = np.where(np.isnan(points), self.encoding.low, points)
        places = self.between(0, len(points))
        enqueued, before = {tuple(row) for row in points.tolist()}, {tuple(row) for row in places.tolist()}
        # What stood at the beginning goes to the places that the points leave.
        left = [row for row in points if tuple(row.tolist()) not in before]
        displaced = [row for row in places if tuple(row.tolist()) not in enqueued]
        self._first, self._moved = points, list(zip(left, displaced, strict=True))
        return True

    def propose(self, generation: int) -> Float64Array2D:
        """Return the parameters (m, p) of a generation; no rows once the grid is exhausted."""
        first = generation * self.generation_size
        own = self.between(first, first + self.generation_size)
        proposed = own.copy()
        for point, displaced in self._moved:
            proposed[(own == point).all(axis=1)] = displaced
        points = self._first[first : first + len(own)]
        proposed[: len(points)] = points
        return proposed

    def between(self, first: int, last: int) -> Float64Array2D:
        """Return the points of the places [first, last) of the shuffled grid, as far as it goes."""
        last = min(last, self.n_points)
        encoding = self.encoding
        points: Float64Array2D = _points(
            first, max(last, first), self.n_points, self._half_bits, self._round_keys, encoding.low, encoding.high,
            encoding.step, encoding.size,
        )  # fmt: skip
        return points


@jit
def _permute(place: Any, n_points: Any, half_bits: Any, round_keys: Any) -> Any:
    """Return the place that `place` is shuffled to: a Feistel network, walked until it falls below n_points."""
    mask = (np.uint64(1) << np.uint64(half_bits)) - np.uint64(1)
    x = np.uint64(place)
    while True:
        left, right = x >> np.uint64(half_bits), x & mask
        for r in range(round_keys.size):
            # The finaliser of SplitMix64 as the round function.
            h = (right ^ round_keys[r]) * np.uint64(0xBF58476D1CE4E5B9)
            h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            h = h ^ (h >> np.uint64(31))
            left, right = right, (left ^ h) & mask
        x = (left << np.uint64(half_bits)) | right
        if x < np.uint64(n_points):
            return np.int64(x)


@jit
def _points(
    first: Any, last: Any, n_points: Any, half_bits: Any, round_keys: Any, low: Any, high: Any, step: Any, size: Any
) -> Any:
    p = low.size
    out = np.empty((last - first, p))
    for i in range(last - first):
        rest = _permute(first + i, n_points, half_bits, round_keys)
        for j in range(p - 1, -1, -1):
            out[i, j] = min(low[j] + np.float64(rest % size[j]) * step[j], high[j])
            rest //= size[j]
    return out
