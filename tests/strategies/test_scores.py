import pickle

import numpy as np
import pytest

from alphapulse.errors import StrategyError
from alphapulse.strategies.scores import is_path, resolve_score

KNOWN = ("sharpe_ratio", "max_drawdown", "n_trades")
COLUMNS = {name: np.array([1.0, 2.0, np.nan]) * (place + 1) for place, name in enumerate(KNOWN)}

MODULE = """
import numpy as np
import factors

def score(sharpe_ratio, max_drawdown, weight=factors.WEIGHT):
    return sharpe_ratio - weight * np.abs(max_drawdown)

def of_all(metrics):
    assert set(metrics) == {"sharpe_ratio", "max_drawdown", "n_trades"}
    return metrics["n_trades"] > 4

def greedy(n_trades):
    n_trades[:] = 0
    return n_trades

def asks(sharpe, n_trades):
    return n_trades

def nothing(weight=1):
    return weight

def stars(*n_trades):
    return n_trades

def one(n_trades):
    return n_trades.sum()

def words(n_trades):
    return np.array(["a"] * len(n_trades))

class Score:
    pass

WEIGHT = 3
"""


@pytest.fixture
def folder(write_module):
    write_module("WEIGHT = 2.0", "factors")
    return write_module(MODULE)


def test_function_is_given_what_it_names(folder):
    score = resolve_score("my_module.score", KNOWN, folder)
    assert score.names == ("sharpe_ratio", "max_drawdown")
    np.testing.assert_array_equal(score.evaluate(COLUMNS), [-3.0, -6.0, np.nan])
    of_all = resolve_score("my_module.of_all", KNOWN, folder)
    np.testing.assert_array_equal(of_all.evaluate(COLUMNS), [0.0, 1.0, 0.0])
    assert of_all.evaluate(COLUMNS).dtype == np.float64


def test_function_travels_as_its_path_and_is_what_it_was(folder, write_module):
    score = resolve_score("my_module.score", KNOWN, folder)
    again = pickle.loads(pickle.dumps(score))
    assert again.evaluate(COLUMNS)[0] == -3.0
    # What it imports belongs to it.
    shipped = pickle.dumps(score)
    write_module("WEIGHT = 5.0", "factors")
    assert resolve_score("my_module.score", KNOWN, folder).evaluate(COLUMNS)[0] == -9.0
    assert pickle.loads(shipped).evaluate(COLUMNS)[0] == -3.0


def test_function_cannot_change_the_metrics(folder):
    with pytest.raises(ValueError, match="read-only"):
        resolve_score("my_module.greedy", KNOWN, folder).evaluate(COLUMNS)
    assert COLUMNS["n_trades"][0] == 3.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("asks", "asks for 'sharpe', which is no metric; did you mean 'sharpe_ratio'"),
        ("nothing", "asks for no metric"),
        ("stars", "takes [*]n_trades"),
        ("Score", "is of type type; an objective is a function"),
        ("WEIGHT", "is of type int"),
        ("scor", "has no 'scor'; did you mean 'score'"),
    ],
)
def test_what_is_no_objective_is_refused(folder, name, words):
    with pytest.raises(StrategyError, match=words):
        resolve_score(f"my_module.{name}", KNOWN, folder)


def test_module_that_is_not_there_is_refused(folder):
    with pytest.raises(StrategyError, match="No module 'my_modul'"):
        resolve_score("my_modul.score", KNOWN, folder)


@pytest.mark.parametrize("name", ["one", "words"])
def test_one_number_a_trial_is_returned(folder, name):
    with pytest.raises(ValueError, match=rf"`my_module.{name}` must return an array \(n_trials,\) of numbers"):
        resolve_score(f"my_module.{name}", KNOWN, folder).evaluate(COLUMNS)


def test_is_path():
    assert [is_path(text) for text in ("a.b", "a.b.c", "a", "a.b - c", "1.5", "a.")] == [True, True, *[False] * 4]
