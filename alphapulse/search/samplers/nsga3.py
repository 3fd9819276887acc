"""NSGA-III: a population that spreads over reference directions, for more objectives than NSGA-II tells apart."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from alphapulse.compiling import jit
from alphapulse.search.feasibility import INFEASIBLE
from alphapulse.search.samplers._pareto import non_domination_rank
from alphapulse.search.samplers.nsga2 import NSGAIISampler
from alphapulse.search.space import SearchSpace
from alphapulse.typing import Float64Array2D, Int64Array1D


class NSGAIIISampler(NSGAIISampler):
    """NSGA-III [1]_: as NSGA-II, but survivors of the last front are those nearest to empty reference directions.

    The directions are those of Das and Dennis with `dividing_parameter` parts, as Optuna's.

    References
    ----------
    .. [1] Deb, Jain, IEEE Transactions on Evolutionary Computation 18, 2014.
    """

    name: ClassVar[str] = "nsga3"

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        directions: Sequence[str],
        generation_size: int | None = None,
        population_size: int | None = None,
        dividing_parameter: int | None = None,
    ) -> None:
        super().__init__(
            space, seed=seed, directions=directions, generation_size=generation_size, population_size=population_size
        )
        self._references = reference_directions(self.n_objectives, dividing_parameter or 3)

    def _survivors(self, generation: int, losses: Float64Array2D) -> Int64Array1D:
        rank = non_domination_rank(losses)
        order = np.argsort(rank, kind="stable")
        last = rank[order[self.population_size - 1]]
        sure = np.flatnonzero(rank < last)
        candidates = np.flatnonzero(rank == last)
        n_wanted = self.population_size - len(sure)
        if n_wanted == len(candidates) or not (losses[candidates] < INFEASIBLE).all():
            return np.sort(np.concatenate([sure, candidates[:n_wanted]]))
        considered = np.concatenate([sure, candidates])
        normal = _normalise(losses[considered])
        draws = self.uniforms(generation, n_wanted, stream=3)
        chosen = _fill_niches(normal, len(sure), n_wanted, self._references, draws)
        return np.sort(np.concatenate([sure, considered[chosen]]))


def reference_directions(n_objectives: int, n_parts: int) -> Float64Array2D:
    """Return the points (n, n_objectives) of the simplex whose coordinates are multiples of 1/n_parts."""
    bars = combinations(range(n_parts + n_objectives - 1), n_objectives - 1)
    edges = [(-1, *b, n_parts + n_objectives - 1) for b in bars]
    return np.array([[(e[i + 1] - e[i] - 1) / n_parts for i in range(n_objectives)] for e in edges], dtype=np.float64)


@jit
def _normalise(losses: Any) -> Any:
    """Return losses (n, m) with the ideal point at 0 and the intercepts of the hyperplane of extremes at 1."""
    n, m = losses.shape
    ideal, worst = np.empty(m), np.empty(m)
    for j in range(m):
        ideal[j], worst[j] = np.inf, -np.inf
        for i in range(n):
            ideal[j] = min(ideal[j], losses[i, j])
            worst[j] = max(worst[j], losses[i, j])
    shifted = losses - ideal
    system = np.empty((m, m + 1))
    for axis in range(m):
        nearest, least = 0, np.inf
        for i in range(n):
            reach = 0.0
            for j in range(m):
                reach = max(reach, shifted[i, j] * (1.0 if j == axis else 1e6))
            if reach < least:
                nearest, least = i, reach
        system[axis, :m] = shifted[nearest]
        system[axis, m] = 1.0
    solved = _solve(system)
    for j in range(m):
        intercept = 1.0 / system[j, m] if solved and system[j, m] > 0.0 else worst[j] - ideal[j]
        # Degenerate extremes give no plane; then the worst value of each objective stands in.
        if not (intercept > 1e-12 and intercept < np.inf):
            intercept = worst[j] - ideal[j]
        if intercept > 0.0:
            shifted[:, j] /= intercept
    return shifted


@jit
def _solve(system: Any) -> Any:
    """Solve (m, m | 1) in place by Gaussian elimination with pivots; the answer is the last column. False: singular."""
    m = system.shape[0]
    for c in range(m):
        pivot = c
        for r in range(c + 1, m):
            if abs(system[r, c]) > abs(system[pivot, c]):
                pivot = r
        if abs(system[pivot, c]) < 1e-12:
            return False
        for k in range(m + 1):
            system[c, k], system[pivot, k] = system[pivot, k], system[c, k]
        for r in range(m):
            if r != c:
                factor = system[r, c] / system[c, c]
                for k in range(c, m + 1):
                    system[r, k] -= factor * system[c, k]
    for c in range(m):
        system[c, m] /= system[c, c]
    return True


@jit
def _fill_niches(normal: Any, n_sure: Any, n_wanted: Any, references: Any, draws: Any) -> Any:
    """Return n_wanted places >= n_sure of points normal (n, m), each from the emptiest niche; draws break ties."""
    n, m = normal.shape
    n_references = references.shape[0]
    niche, distance = np.zeros(n, np.int64), np.full(n, np.inf)
    for i in range(n):
        for r in range(n_references):
            along, length = 0.0, 0.0
            for j in range(m):
                along += normal[i, j] * references[r, j]
                length += references[r, j] * references[r, j]
            square = 0.0
            for j in range(m):
                gap = normal[i, j] - along / length * references[r, j]
                square += gap * gap
            if square < distance[i]:
                niche[i], distance[i] = r, square
    counts = np.zeros(n_references, np.int64)
    for i in range(n_sure):
        counts[niche[i]] += 1
    taken = np.zeros(n, np.bool_)
    out = np.empty(n_wanted, np.int64)
    for w in range(n_wanted):
        left = np.zeros(n_references, np.int64)
        for i in range(n_sure, n):
            left[niche[i]] += 0 if taken[i] else 1
        emptiest, n_ties = n + 1, 0
        for r in range(n_references):
            if left[r] > 0 and counts[r] < emptiest:
                emptiest, n_ties = counts[r], 0
            if left[r] > 0 and counts[r] == emptiest:
                n_ties += 1
        pick = int(draws[w] * n_ties)
        chosen_niche = 0
        for r in range(n_references):
            if left[r] > 0 and counts[r] == emptiest:
                if pick == 0:
                    chosen_niche = r
                    break
                pick -= 1
        best, nearest = -1, np.inf
        for i in range(n_sure, n):
            if not taken[i] and niche[i] == chosen_niche and (best < 0 or distance[i] < nearest):
                best, nearest = i, distance[i]
        taken[best] = True
        counts[chosen_niche] += 1
        out[w] = best
    return out
