"""NSGA-II: a population that spreads over the Pareto front."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from alphapulse.compiling import jit
from alphapulse.errors import ConfigError
from alphapulse.search.samplers._base import HistorySampler, given
from alphapulse.search.samplers._pareto import crowding_distance, non_domination_rank
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D, Int64Array1D

CROSSOVER_PROBABILITY = 0.9
SWAPPING_PROBABILITY = 0.5


class NSGAIISampler(HistorySampler):
    """NSGA-II [1]_ with Optuna's defaults: uniform crossover, mutation of one key a child on average.

    The population is the best of all trials told so far; each generation is bred from it. It misses the generation in
    flight, which delays selection by one step and changes nothing else, so one population takes the whole budget.
    Failed trials are dominated by all others.

    Parameters
    ----------
    population_size : int, default 50
        Survivors, and trials of a generation unless `generation_size` is set.

    References
    ----------
    .. [1] Deb, Pratap, Agarwal, Meyarivan, IEEE Transactions on Evolutionary Computation 6, 2002.
    """

    name: ClassVar[str] = "nsga2"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        population_size: int | None = None,
    ) -> None:
        self.population_size = given(population_size, 50)
        if self.population_size < 2:
            raise ConfigError(f"`search.population_size >= 2` must hold, but got {population_size}.")
        super().__init__(
            space, seed=seed, directions=directions, generation_size=given(generation_size, self.population_size)
        )
        self._parameters = np.empty((0, len(space)))
        self._losses = np.empty((0, self.n_objectives))

    def _absorb(self, generation: int, parameters: Float64Array2D, losses: Float64Array2D) -> None:
        parameters = np.concatenate([self._parameters, parameters])
        losses = np.concatenate([self._losses, losses])
        if len(losses) > self.population_size:
            kept = self._survivors(generation, losses)
            parameters, losses = parameters[kept], losses[kept]
        self._parameters, self._losses = parameters, losses

    def _survivors(self, generation: int, losses: Float64Array2D) -> Int64Array1D:
        """Return the places (population_size,) that stay."""
        rank = non_domination_rank(losses)
        order = np.lexsort((-crowding_distance(losses, rank), rank))
        return np.sort(order[: self.population_size])

    def _draw(self, generation: int) -> Float64Array2D:
        m, p = self.generation_size, len(self.space)
        mutants = self.encoding.decode(self.uniforms(generation, m, p))
        if len(self._losses) < 2:
            return mutants
        children: Float64Array2D = _breed(
            self._parameters, self._losses, mutants, self.uniforms(generation, m, 5, stream=1),
            self.uniforms(generation, m, 2, p, stream=2),
        )  # fmt: skip
        return children


@jit
def _breed(parameters: Any, losses: Any, mutants: Any, picks: Any, coins: Any) -> Any:
    """Return children (m, p); picks (m, 5) choose parents by two tournaments, coins (m, 2, p) swap and mutate."""
    n, p = parameters.shape
    m = mutants.shape[0]
    out = np.empty((m, p))
    for i in range(m):
        first = _tournament(losses, int(picks[i, 0] * n), int(picks[i, 1] * n))
        second = _tournament(losses, int(picks[i, 2] * n), int(picks[i, 3] * n))
        crossed = picks[i, 4] < CROSSOVER_PROBABILITY
        for j in range(p):
            swapped = crossed and coins[i, 0, j] < SWAPPING_PROBABILITY
            out[i, j] = parameters[second if swapped else first, j]
            if coins[i, 1, j] * p < 1.0:
                out[i, j] = mutants[i, j]
    return out


@jit
def _tournament(losses: Any, a: Any, b: Any) -> Any:
    """Return b if it dominates a, else a."""
    better = False
    for j in range(losses.shape[1]):
        if losses[b, j] > losses[a, j]:
            return a
        better = better or losses[b, j] < losses[a, j]
    return b if better else a
