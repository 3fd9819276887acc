"""The choice of the sampler, and what it refuses, in one line each."""

import pytest

from alphapulse.errors import ConfigError
from alphapulse.search.choosing import SAMPLERS, choose_sampler, find_sampler, make_sampler
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.samplers._base import HistorySampler
from alphapulse.search.space import SearchSpace

INT = IntDimension("strategy.ma_window", 10, 250)
FLOAT = FloatDimension("engine.slippage", 1e-5, 1e-2, log=True)
CHOICE = CategoricalDimension("strategy.kind", ("a", "b"))


@pytest.mark.parametrize("name", SAMPLERS)
def test_make_sampler_returns_the_named_one(name):
    n = 2 if name.startswith("nsga") else 1
    sampler = make_sampler(name, SearchSpace((INT,)), seed=0, n_objectives=n, directions=["maximize"] * n)
    assert sampler.name == name
    assert sampler.reason == ""
    assert sampler.needs_history == issubclass(find_sampler(name), HistorySampler)


@pytest.mark.parametrize(
    ("name", "dimensions", "options", "message"),
    [
        ("tpee", (INT,), {}, r"Unknown search 'tpee'; did you mean 'tpe'\?"),
        ("grid", (INT, FLOAT), {}, r"engine.slippage is continuous .* engine.slippage=range\(1e-05,0.01,STEP\)"),
        ("grid", tuple(IntDimension(f"k{i}", 0, 10**6) for i in range(4)), {}, r"2\*\*62"),
        ("cmaes", (INT, CHOICE), {}, "strategy.kind is a choice; use search=tpe"),
        ("gp", (INT, CHOICE), {}, "strategy.kind is a choice"),
        ("tpe", (), {}, "needs a swept key"),
        ("tpe", (INT,), {"generation_size": 0}, "generation_size >= 1"),
        ("tpe", (INT,), {"population": 3}, "has no option 'population'"),
        ("nsga2", (INT,), {"population_size": 1}, "population_size >= 2"),
    ],
)
def test_make_sampler_refuses_in_one_line(name, dimensions, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_sampler(name, SearchSpace(dimensions), seed=0, options=options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cmaes", "gp"])
def test_single_objective_samplers_refuse_two(name):
    with pytest.raises(ConfigError, match="takes one objective, but got 2"):
        make_sampler(name, SearchSpace((INT,)), seed=0, n_objectives=2, directions=["maximize", "minimize"])


def test_options_of_none_are_the_samplers_own():
    sampler = make_sampler("tpe", SearchSpace((INT,)), seed=0, options={"generation_size": None, "multivariate": None})
    assert sampler.generation_size == make_sampler("tpe", SearchSpace((INT,)), seed=0).generation_size


@pytest.mark.parametrize(
    ("dimensions", "n_objectives", "n_trials", "chosen"),
    [
        ((INT, CHOICE), 1, 2000, "grid"),
        ((INT, FLOAT, CHOICE), 1, 2000, "tpe"),
        ((INT, FLOAT), 1, 100, "gp"),
        ((FLOAT, FloatDimension("x", 0, 1)), 1, 2000, "cmaes"),
        ((INT, FLOAT), 1, 1_000_000, "qmc"),
        ((INT, FLOAT), 2, 2000, "nsga2"),
        ((INT, FLOAT), 4, 2000, "nsga3"),
    ],
)
def test_auto_chooses_and_says_why(dimensions, n_objectives, n_trials, chosen):
    space = SearchSpace(dimensions)
    name, reason = choose_sampler(space, n_objectives=n_objectives, n_trials=n_trials)
    assert name == chosen
    assert reason.startswith(f"search=auto chose {chosen}: ")
    directions = ["maximize"] * n_objectives
    sampler = make_sampler("auto", space, seed=0, n_objectives=n_objectives, directions=directions, n_trials=n_trials)
    assert (sampler.name, sampler.reason) == (chosen, reason)


def test_auto_counts_what_constraints_leave():
    window = IntDimension("window", 1, 100)
    space = SearchSpace((window,), read_rules(["window <= 20"], [], {"window": 1}))
    assert choose_sampler(space, n_objectives=1, n_trials=50)[0] == "grid"
    assert choose_sampler(SearchSpace((window,)), n_objectives=1, n_trials=50)[0] != "grid"
