"""What CMA-ES makes of results that are a generation late."""

import numpy as np
import pytest

from alphapulse.search.choosing import LAG, make_sampler
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace


def run(space: SearchSpace, loss, *, n_generations: int) -> list[np.ndarray]:
    """Return the proposals, two generations in flight."""
    sampler = make_sampler("cmaes", space, seed=0, directions=("minimize",))
    proposals: list[np.ndarray] = []
    for g in range(n_generations):
        if g >= LAG:
            sampler.tell(g - LAG, proposals[g - LAG], loss(proposals[g - LAG])[:, None])
        proposals.append(sampler.propose(g))
    return proposals


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_converges_though_results_are_late(scale):
    space = SearchSpace(tuple(FloatDimension(f"x{i}", -1, 1) for i in range(6)))
    weights = np.geomspace(1.0, scale, 6)

    def bowl(x: np.ndarray) -> np.ndarray:
        return (weights * (x - 0.3) ** 2).sum(axis=1)

    proposals = run(space, bowl, n_generations=130)
    assert max(bowl(x).max() for x in proposals[-20:]) < 1e-3
    assert bowl(proposals[-1]).min() < 1e-6


def test_starts_again_once_converged_though_a_stepped_key_keeps_its_margin():
    space = SearchSpace((IntDimension("window", 0, 9), FloatDimension("threshold", 0, 1)))
    proposals = run(space, lambda x: np.abs(x[:, 0] - 6.0) + (x[:, 1] - 0.3) ** 2, n_generations=200)
    spread = np.array([np.ptp(x[:, 1]) for x in proposals])
    converged = int(np.argmax(spread < 1e-6))
    assert converged > 0
    assert spread[converged:].max() > 0.1
