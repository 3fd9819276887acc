"""What is run of what samplers propose: given points first, and nothing that breaks a constraint."""

import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from alphapulse.errors import ConfigError
from alphapulse.search.choosing import LAG, SAMPLERS, make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
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


def ruled(space, *constraints):
    return replace(space, rules=read_rules(constraints, (), dict.fromkeys([*space.keys, "fixed"], 40)))


NARROW = ruled(SPACE, "window < 100 and weight * 100 < window", "window != fixed")


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "grid"])
@pytest.mark.parametrize("points", [None, np.array([[41.0, -1.0], [42.0, 0.0], [43.0, 0.1], [44.0, 0.2], [45.0, 0.3]])])
def test_nothing_that_breaks_a_constraint_is_proposed(name, points):
    straight = run(make(name, points, NARROW, generation_size=4), 8)
    window, weight = np.concatenate(straight).T
    assert ((window < 100) & (weight * 100 < window) & (window != 40)).all()
    assert [len(proposed) for proposed in straight] == [4] * 8
    again = run(make(name, points, NARROW, generation_size=4), 8)
    np.testing.assert_array_equal(again, straight)
    resumed = make(name, points, NARROW, generation_size=4)
    if resumed.needs_history:
        for g in range(6):
            resumed.tell(g, straight[g], np.stack([-abs(straight[g]).sum(axis=1)] * resumed.n_objectives, axis=1))
    for g in (6, 7):
        np.testing.assert_array_equal(resumed.propose(g), straight[g])
    if points is not None:
        np.testing.assert_array_equal(np.concatenate(straight)[:5], points)


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_samplers_that_learn_nothing_are_filtered_in_order(name):
    proposed = np.concatenate([make(name, None, NARROW, generation_size=64).propose(g) for g in (0, 1)])
    plain = np.concatenate([make(name, None, generation_size=64).propose(g) for g in range(20)])
    np.testing.assert_array_equal(proposed, plain[NARROW.fits(plain)][:128])


def test_sampler_that_learns_keeps_what_fits():
    sampler, plain = make("tpe", None, NARROW), make("tpe", None)
    proposed, other = sampler.propose(0), plain.propose(0)
    fits = NARROW.fits(other)
    assert 0 < fits.sum() < len(other)
    np.testing.assert_array_equal(proposed[fits], other[fits])


def test_grid_has_each_fitting_point_once():
    space = ruled(GRID, "window > 3 or kind == 'b'", "kind != None")
    points = np.array([[4.0, 0.0], [1.0, 1.0]])
    sampler = make("grid", points, space, generation_size=4)
    assert sampler.reason == "grid has 30 points, 17 after constraints."
    proposed = np.concatenate([sampler.propose(g) for g in range(6)])
    np.testing.assert_array_equal(proposed[:2], points)
    every = [(w, k) for w in range(1, 11) for k in (0, 1) if w > 3 or k == 1]
    assert sorted(map(tuple, proposed)) == every
    np.testing.assert_array_equal(sampler.propose(1), proposed[4:8])
    assert len(sampler.propose(9)) == 0


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "cmaes", "nsga2"])
def test_constraints_that_leave_nothing_are_refused(name):
    with pytest.raises(ConfigError, match=r"one in 10,000 settings .* but less keep window \* weight > 249.9;"):
        make(name, None, ruled(SPACE, "window * weight > 249.9"))


def test_grid_without_a_point_is_refused():
    with pytest.raises(ConfigError, match="less keep window > 10"):
        make("grid", None, ruled(GRID, "window > 10"))


def test_rare_settings_are_found():
    # One draw in a thousand: the sampler's own attempts do not find them.
    space = ruled(SearchSpace((FloatDimension("a", 0.0, 1.0), FloatDimension("b", 0.0, 1.0))), "abs(a - b) < 0.0005")
    for name in ("tpe", "random", "cmaes", "optuna"):
        proposed = np.concatenate(run(make(name, None, space, generation_size=4), 4))
        assert (abs(proposed[:, 0] - proposed[:, 1]) < 0.0005).all()


def test_more_points_than_a_generation_are_in_flight_as_such():
    points = np.column_stack([np.arange(20.0, 60.0), np.linspace(-1, 1, 40)])
    straight = run(make("tpe", points, generation_size=16), 6)
    resumed = make("tpe", points, generation_size=16)
    for g in range(2):
        resumed.tell(g, straight[g], -abs(straight[g]).sum(axis=1, keepdims=True))
    for g in (2, 3):
        np.testing.assert_array_equal(resumed.propose(g), straight[g])
        resumed.tell(g, straight[g], -abs(straight[g]).sum(axis=1, keepdims=True))


LOGGED = SearchSpace((IntDimension("window", 1, 60, log=True), CategoricalDimension("kind", ("a", "b", None))))


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("grid", "optuna", "cmaes", "gp")])
@pytest.mark.parametrize("size", [7, 64])
@pytest.mark.parametrize(
    "space", [GRID, LOGGED, ruled(GRID, "window > 3 or kind == 'b'")], ids=["grid", "log", "ruled"]
)
def test_setting_of_a_finite_space_is_tried_once(name, size, space):
    points = np.array([[4.0, 0.0], [1.0, 1.0], [10.0, 1.0]])
    n = 7 * 3 + 3 if space.rules.constraints else space.size
    sampler = make(name, points, space, generation_size=size)
    straight = run(sampler, n // size + 1)
    every = np.concatenate(straight)
    np.testing.assert_array_equal(every[:3], points)
    assert len(every) == len(np.unique(every, axis=0)) == n
    assert len(straight[-1]) < size or n % size == 0
    again = run(make(name, points, space, generation_size=size), len(straight))
    np.testing.assert_array_equal(np.concatenate(again), every)
    n_told = len(straight) // 2
    resumed = make(name, points, space, generation_size=size)
    if resumed.needs_history:
        for g in range(n_told):
            resumed.tell(g, straight[g], np.stack([-abs(straight[g]).sum(axis=1)] * resumed.n_objectives, axis=1))
    np.testing.assert_array_equal(resumed.propose(n_told), straight[n_told])


@pytest.mark.parametrize("name", ["cmaes", "gp"])
def test_numbers_of_a_finite_space_are_tried_once(name):
    space = SearchSpace((IntDimension("a", 1, 9), FloatDimension("b", 0.0, 1.0, step=0.25)))
    every = np.concatenate(run(make(name, None, space, generation_size=6), 9))
    assert len(every) == len(np.unique(every, axis=0)) == 45
