import numpy as np
import pytest

from alphapulse.backtesting.batch import FAILED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.errors import ConfigError
from alphapulse.study.trials import Trials
from alphapulse.sweep.objectives import check_functions, objective_values, own_objectives

MODULE = """
import numpy as np

def score(sharpe_ratio):
    return sharpe_ratio * 2

def ranked(sharpe_ratio):
    return sharpe_ratio - sharpe_ratio.mean()

def total(sharpe_ratio):
    return sharpe_ratio.sum()

def wrong(metrics):
    return metrics["sharp"]

def picky(sharpe_ratio):
    if (sharpe_ratio > 1).any():
        raise RuntimeError("too\\ngood")
    return np.where(sharpe_ratio < -1, np.inf, sharpe_ratio)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_scores.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return lambda *objectives: own_objectives(objectives)


def made_trials(n=12):
    rng = np.random.default_rng(1)
    trials = Trials.blank(np.zeros((n, 1)), 1)
    trials.metrics[:] = rng.normal(size=trials.metrics.shape)
    trials.metrics[:, METRICS.index("sharpe_ratio")] = np.linspace(-1.5, 1.5, n)
    trials.metrics[2] = np.nan
    trials.status[2] = FAILED
    return trials


def test_objectives_are_metrics_expressions_and_functions(own):
    objectives = ("cagr", "sharpe_ratio - 2*abs(max_drawdown)", "own_scores.score")
    trials = made_trials()
    values = objective_values(objectives, own(*objectives), trials)
    metrics = dict(zip(METRICS, trials.metrics.T, strict=True))
    np.testing.assert_array_equal(values[:, 0], metrics["cagr"])
    np.testing.assert_array_equal(values[:, 1], metrics["sharpe_ratio"] - 2 * np.abs(metrics["max_drawdown"]))
    np.testing.assert_array_equal(values[:, 2], metrics["sharpe_ratio"] * 2)
    assert trials.errors == {}


def test_function_that_raises_fails_its_trials_alone(own):
    trials = made_trials()
    values = objective_values(("own_scores.picky",), own("own_scores.picky"), trials)[:, 0]
    sharpe = trials.metrics[:, METRICS.index("sharpe_ratio")]
    guilty = np.flatnonzero(sharpe > 1)
    assert 0 < len(guilty) < 12
    assert list(trials.errors) == guilty.tolist()
    assert trials.errors[int(guilty[0])] == "The objective raised RuntimeError: too\ngood"
    np.testing.assert_array_equal(values, np.where(np.abs(sharpe) > 1, np.nan, sharpe))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ranked", "must look at each trial alone"),
        ("total", r"must return an array \(n_trials,\) of numbers, one a trial, but returned float64 \(\)"),
        ("wrong", "own_scores.wrong raises KeyError: 'sharp'"),
    ],
)
def test_functions_are_refused_before_a_search(own, name, words):
    metrics = np.delete(made_trials().metrics, 2, axis=0)
    with pytest.raises(ConfigError, match=words):
        check_functions(own(f"own_scores.{name}"), metrics)


def test_functions_that_raise_for_some_trials_pass(own):
    check_functions(own("own_scores.picky", "own_scores.score", "cagr / volatility"), made_trials().metrics)
