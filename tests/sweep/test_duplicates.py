import numpy as np
import pytest

from alphapulse.search.space import Dimension, SearchSpace
from alphapulse.sweep import duplicates
from alphapulse.sweep.duplicates import Duplicates

SPACE = SearchSpace(
    (
        Dimension("strategy.window", "int", 10, 40, step=10.0),
        Dimension("strategy.kind", "categorical", choices=("a", "b")),
        Dimension("strategy.weight", "float", 0.1, 0.3, step=0.1),
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
    """A made-up outcome of each trial, a function of its parameters."""
    metrics = np.column_stack([parameters.sum(axis=1), parameters.prod(axis=1)])
    return metrics, metrics[:, :1] * 2, (parameters[:, 0] > 30).astype(np.int8)


def run_generation(table, parameters):
    n = len(parameters)
    metrics, values, status = np.full((n, 2), np.nan), np.full((n, 1), np.nan), np.zeros(n, dtype=np.int8)
    errors = {}
    answers = table.find(parameters)
    table.fill(answers, metrics, values, status, errors)
    ran = outcome(parameters[answers.run])
    for column, part in zip((metrics, values, status), ran, strict=True):
        column[answers.run] = part
        column[answers.same] = column[answers.first]
    for row in answers.run.tolist():
        if parameters[row, 0] == 20:
            errors[row] = "twenty"
    for row, first in zip(answers.same.tolist(), answers.first.tolist(), strict=True):
        if first in errors:
            errors[row] = errors[first]
    table.record(parameters, metrics, values, status, errors)
    return answers, metrics, values, status, errors


@pytest.mark.parametrize("capacity", [2**17, 8])
def test_answers_are_what_a_run_gives(monkeypatch, capacity):
    monkeypatch.setattr(duplicates, "CAPACITY", capacity)
    rng = np.random.default_rng(1)
    table = Duplicates(SPACE, 2, 1)
    n_run = 0
    for _ in range(20):
        parameters = parameters_of(rng, 30)
        answers, metrics, values, status, errors = run_generation(table, parameters)
        n_run += len(answers.run)
        for got, expected in zip((metrics, values, status), outcome(parameters), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert errors == {row: "twenty" for row in range(30) if parameters[row, 0] == 20}
        covered = np.sort(np.concatenate([answers.run, answers.known, answers.same]))
        np.testing.assert_array_equal(covered, np.arange(30))
    assert n_run == SPACE.size if capacity > SPACE.size else n_run < 600


def test_continuous_space_runs_everything():
    space = SearchSpace((Dimension("strategy.x", "float", 0.0, 1.0),))
    table = Duplicates(space, 2, 1)
    answers = table.find(np.zeros((5, 1)))
    assert len(answers.run) == 5
    assert not table.finite


def test_log_integers_have_codes_of_their_own():
    space = SearchSpace((Dimension("strategy.x", "int", 2, 9, log=True),))
    table = Duplicates(space, 1, 1)
    if table.finite:
        assert len(table.find(np.arange(2.0, 10.0)[:, None]).run) == 8
