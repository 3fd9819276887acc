"""Points that are proposed first, by whatever sampler."""

import pickle
from itertools import product

import numpy as np
import pytest

from alphapulse.search.choosing import LAG, SAMPLERS, make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace

SPACE = SearchSpace((IntDimension("window", 10, 250), FloatDimension("weight", -1.0, 1.0)))
GRID = SearchSpace((IntDimension("window", 1, 10), CategoricalDimension("kind", ("a", "b", None))))
POINTS = np.array([[10.0, 0.5], [250.0, -1.0], [40.0, 1.0], [41.0, 1.0], [42.0, 1.0]])


def make(name, points, space=SPACE, **options):
    n = 2 if name.startswith("nsga") else 1
    return make_sampler(
        name, space, seed=3, n_objectives=n, directions=["maximize"] * n, options=options, enqueued=points
    )


def run(sampler, n_generations):
    proposals = []
    for g in range(n_generations):
        if g >= LAG:
            told = proposals[g - LAG]
            sampler.tell(g - LAG, told, np.stack([-abs(told).sum(axis=1)] * sampler.n_objectives, axis=1))
        proposals.append(sampler.propose(g))
    return proposals


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("grid", "optuna")])
def test_points_come_first_and_the_rest_is_the_samplers(name):
    size = 3
    sampler, plain = make(name, POINTS, generation_size=size), make(name, None, generation_size=size)
    assert (sampler.name, sampler.needs_history, sampler.generation_size) == (name, plain.needs_history, size)
    first, other = sampler.propose(0), plain.propose(0)
    np.testing.assert_array_equal(first, POINTS[:3])
    second = np.array(sampler.propose(1))
    np.testing.assert_array_equal(second[:2], POINTS[3:])
    np.testing.assert_array_equal(second[2:], plain.propose(1)[2:])
    assert other.shape == first.shape


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "grid"])
def test_resumed_search_goes_on_as_if_it_was_never_cut(name):
    straight = run(make(name, POINTS, generation_size=4), 6)
    resumed = make(name, POINTS, generation_size=4)
    if resumed.needs_history:
        for g in range(4):
            resumed.tell(g, straight[g], np.stack([-abs(straight[g]).sum(axis=1)] * resumed.n_objectives, axis=1))
    for g in (4, 5):
        np.testing.assert_array_equal(resumed.propose(g), straight[g])


@pytest.mark.parametrize("size", [1, 4, 7, 64])
@pytest.mark.parametrize("n_points", [0, 1, 5, 30])
def test_grid_has_each_point_once(size, n_points):
    every = np.array(list(product(range(1, 11), range(3))), dtype=np.float64)
    points = np.random.default_rng(n_points).permutation(every)[:n_points]
    sampler = make("grid", points, GRID, generation_size=size)
    proposed = np.concatenate([sampler.propose(g) for g in range(30 // size + 1)])
    np.testing.assert_array_equal(proposed[:n_points], points)
    assert sorted(map(tuple, proposed)) == sorted(map(tuple, every))
    assert len(sampler.propose(40)) == 0


def test_sampler_with_points_can_be_shipped():
    sampler = pickle.loads(pickle.dumps(make("random", POINTS)))
    np.testing.assert_array_equal(sampler.propose(0)[:5], POINTS)
    assert not hasattr(sampler, "no_such_thing")
