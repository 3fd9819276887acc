import numpy as np
import pytest
from random_bars import drifting_market

from alphapulse.market.surrogates import surrogate_market
from alphapulse.search.dimensions import FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null import holdout as holdout_test
from alphapulse.sweep.null.holdout import holdout_values, needed
from alphapulse.sweep.null.search import value_of
from alphapulse.sweep.worker import evaluate_batch

SPACE = SearchSpace((IntDimension("strategy.ma_window", 5, 60), FloatDimension("engine.stop.multiplier", 1.0, 5.0)))
MODULE = """
import numpy as np

def bounded(close, window: int = 5):
    return np.r_[np.zeros(window), np.sign(close[window:] - close[:-window])]

class Bounded:
    def __init__(self, window: int = 5):
        self.window = window

    def target(self, bars):
        return bounded(bars.close, self.window)

    def atr(self, bars):
        return bars.high - bars.low

def endless(close, window: int = 5):
    return np.sign(close - np.cumsum(close) / np.arange(1, len(close) + 1))
"""


@pytest.fixture(scope="module")
def holdout():
    return drifting_market(first=450)


@pytest.mark.parametrize("robustness", [None, "plateau"])
def test_holdout_values_are_those_of_the_setting_alone_after_the_same_warm_up(holdout, robustness):
    def experiment(robustness=None):
        return Experiment(SPACE, resolve("long_short"), {"volatility_source": "realized"}, robustness=robustness)

    setting = np.array([20.0, 2.0])
    values = holdout_values(holdout, experiment(robustness), setting, range(5))
    assert len(set(values)) == 5
    for s, value in enumerate(values):
        surrogate = surrogate_market(holdout, s, first=450)
        assert value == evaluate_batch(surrogate, experiment(), setting[None]).trials.values[0, 0]
    assert holdout_values(holdout, experiment(), setting, [3, 1]) == [values[3], values[1]]
    assert value_of(holdout, experiment(), setting) not in values


def test_surrogates_have_as_much_of_a_long_warm_up_as_the_setting_decides_by(holdout, tmp_path, monkeypatch):
    (tmp_path / "decides_by.py").write_text(MODULE)
    space, setting = SearchSpace((IntDimension("strategy.window", 5, 60),)), np.array([60.0])
    bounded = Experiment(space, resolve("decides_by.Bounded", str(tmp_path)))
    assert needed(holdout, bounded, setting) is holdout
    monkeypatch.setattr(holdout_test, "SHORTEST_WARM_UP", 50)
    lean = needed(holdout, bounded, setting)
    assert (lean.first, lean.n_scored) == (100, 150)
    assert holdout_values(lean, bounded, setting, range(5)) == holdout_values(holdout, bounded, setting, range(5))
    assert needed(holdout, Experiment(space, resolve("decides_by.endless", str(tmp_path))), setting) is holdout
