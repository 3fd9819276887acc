import numpy as np
import pytest

from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace
from alphapulse.study.trials import Trials
from alphapulse.sweep import duplicates
from alphapulse.sweep.duplicates import Duplicates

SPACE = SearchSpace(
    (
        IntDimension("strategy.window", 10, 40, step=10),
        CategoricalDimension("strategy.kind", ("a", "b")),
        FloatDimension("strategy.weight", 0.1, 0.3, step=0.1),
    )
)


def parameters_of(rng, n_trials):
    return np.column_stack(
        [
            rng.choice([10.0, 20.0, 30.0, 40.0], n_trials),
            rng.choice([0.0, 1.0], n_trials),
            rng.choice([0.1, 0.1 + 0.1, 0.1 + 2 * 0.1], n_trials),
        ]
    )


def outcome(parameters):
    """Made-up trials, their outcome a function of their parameters."""
    trials = Trials.blank(parameters, 1)
    trials.metrics[:, 0], trials.metrics[:, 1] = parameters.sum(axis=1), parameters.prod(axis=1)
    trials.values[:, 0] = trials.metrics[:, 0] * 2
    trials.status[:] = parameters[:, 0] > 30
    trials.errors = dict.fromkeys(np.flatnonzero(parameters[:, 0] == 20).tolist(), "twenty")
    return trials


def run_generation(table, parameters):
    trials = Trials.blank(parameters, 1)
    answers = table.find(parameters)
    table.fill(answers, trials)
    trials.put(answers.run, outcome(parameters[answers.run]))
    trials.answer(answers.same, trials[answers.first])
    table.expect(parameters)
    table.record(trials)
    return answers, trials


@pytest.mark.parametrize("capacity", [2**17, 8])
def test_answers_are_what_a_run_gives(monkeypatch, capacity):
    monkeypatch.setattr(duplicates, "CAPACITY", capacity)
    rng = np.random.default_rng(1)
    table = Duplicates(SPACE, 1)
    n_run = 0
    for _ in range(20):
        parameters = parameters_of(rng, 30)
        answers, trials = run_generation(table, parameters)
        n_run += len(answers.run)
        expected = outcome(parameters)
        for name in ("metrics", "values", "status"):
            np.testing.assert_array_equal(getattr(trials, name), getattr(expected, name))
        assert trials.errors == expected.errors
        covered = np.sort(np.concatenate([answers.run, answers.known, answers.same]))
        np.testing.assert_array_equal(covered, np.arange(30))
    assert n_run == SPACE.size if capacity > SPACE.size else n_run < 600


def test_continuous_space_runs_everything():
    space = SearchSpace((FloatDimension("strategy.x", 0.0, 1.0),))
    table = Duplicates(space, 1)
    answers = table.find(np.zeros((5, 1)))
    assert len(answers.run) == 5
    assert not table.finite


def test_log_integers_have_codes_of_their_own():
    space = SearchSpace((IntDimension("strategy.x", 2, 9, log=True),))
    table = Duplicates(space, 1)
    if table.finite:
        assert len(table.find(np.arange(2.0, 10.0)[:, None]).run) == 8


def test_settings_without_their_continuous_key_are_answered():
    space = SearchSpace(
        (CategoricalDimension("strategy.kind", ("a", "b", "c")), FloatDimension("strategy.x", 0.0, 1.0))
    )
    values = {"strategy.kind": "a", "strategy.x": 0.5}
    rules = read_rules([], [], values, when={"strategy.x": 'strategy.kind == "c"'}, swept=space.keys)
    table = Duplicates(space.ruled(rules), 1)
    rows = np.array([[0, np.nan], [2, 0.5], [0, np.nan], [2, 0.5], [1, np.nan]])
    first, _ = run_generation(table, rows)
    assert (first.run.tolist(), first.same.tolist(), first.first.tolist()) == ([0, 1, 3, 4], [2], [0])
    second, trials = run_generation(table, rows[::-1].copy())
    assert (second.run.tolist(), second.known.tolist()) == ([1, 3], [0, 2, 4])
    np.testing.assert_array_equal(trials.parameters, rows[::-1])
