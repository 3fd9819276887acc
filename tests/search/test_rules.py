"""What must hold between keys: a user's constraints and a strategy's own."""

import pickle

import numpy as np
import pytest

from alphapulse.errors import ConfigError
from alphapulse.search.dimensions import CategoricalDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace

VALUES = {"strategy.fast": 20, "strategy.slow": 100, "engine.stop.kind": "atr", "engine.allow_short": True}


def test_constraints_of_the_strategy_are_over_its_parameters():
    rules = read_rules(["strategy.slow <= 200"], ["max(fast, 1) < slow"], VALUES)
    assert [c.text for c in rules.constraints] == ["max(strategy.fast, 1) < strategy.slow", "strategy.slow <= 200"]
    assert rules.fixed == {"strategy.fast": 20, "strategy.slow": 100}
    assert pickle.loads(pickle.dumps(rules)) == rules


def test_a_constraint_counts_once():
    rules = read_rules(["strategy.fast < strategy.slow"] * 2, ["fast < slow"], VALUES)
    assert len(rules.constraints) == 1


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (
            "strategy.fats < strategy.slow",
            "`constraints` must be made of known names, but got 'strategy.fats' .* did you",
        ),
        ("strategy.fast - strategy.slow", "`constraints` must compare something"),
        ("strategy.fast <", "`constraints` must be an expression, but got 'strategy.fast <'"),
        ("open('x') == 1", r"open\(\) is no function here"),
    ],
)
def test_mistakes_are_named(constraint, words):
    with pytest.raises(ConfigError, match=words):
        read_rules([constraint], [], VALUES)


def test_mistake_of_a_strategy_names_it():
    with pytest.raises(ConfigError, match="`constraints of Cross` must be made of known names, but got 'fats'"):
        read_rules([], ["fats < slow"], VALUES, origin="Cross")


def test_space_tells_what_fits():
    space = SearchSpace(
        (IntDimension("strategy.fast", 1, 200), CategoricalDimension("engine.stop.kind", ("none", "atr"))),
        read_rules(["strategy.fast < strategy.slow or engine.stop.kind == 'atr'"], [], VALUES),
    )
    rows = np.array([[99.0, 0.0], [100.0, 0.0], [100.0, 1.0]])
    assert space.fits(rows).tolist() == [True, False, True]
    assert space.fits(rows[:0]).tolist() == []
    assert space.broken(rows[0]) is None
    assert space.broken(rows[1]) == "strategy.fast < strategy.slow or engine.stop.kind == 'atr'"


def test_space_without_rules_takes_everything():
    space = SearchSpace((IntDimension("strategy.fast", 1, 200),))
    assert space.fits(np.array([[1.0], [2.0]])).all()
