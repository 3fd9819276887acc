"""Batches of trials without Ray and without a database."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from alphapulse.backtesting.metrics import METRICS
from alphapulse.market.calendar import calendar_blocks, starts_period
from alphapulse.market.market import Market
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.rules import read_rules
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.base import Bars
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.validation import make_bootstrap, worst_fold_sharpe

SPACE = SearchSpace(
    (
        IntDimension("strategy.ma_window", 5, 60),
        FloatDimension("strategy.reversion_weight", 0.0, 1.0),
        CategoricalDimension("engine.stop.kind", ("none", "percent", "atr")),
        FloatDimension("engine.commission", 1e-5, 1e-2, log=True),
    )
)
FIXED = {"volatility_source": "realized"}

MODULE = """
import numpy as np

def picky(close, window: int = 5, kind: str = "good"):
    if kind == "raise":
        raise RuntimeError("no luck\\nwith this")
    if kind == "nan":
        return np.full(len(close), np.nan)
    if kind == "flat":
        return np.zeros(len(close))
    return np.where(np.arange(len(close)) % window == 0, 1.0, 0.0)
"""


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(5)
    n, first = 1200, 80
    close = 100 * np.cumprod(1 + rng.normal(0.0003, 0.01, n))
    open_ = close * (1 + rng.normal(0, 0.003, n))
    timestamp = np.datetime64("2001-01-01", "ns").astype(np.int64) + np.arange(n) * 86_400 * 10**9
    bars = Bars(
        "X", "1d", timestamp, open_, np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996, close,
        np.ones(n), np.full(n, np.nan),
    )  # fmt: skip
    block_end, unit = calendar_blocks(timestamp, first=first)
    week, month = (starts_period(timestamp, period, first=first) for period in ("week", "month"))
    return Market(bars, first, block_end, unit, week, month, "x")


@pytest.fixture(scope="module")
def experiment(market):
    sizes = np.diff(market.block_end, prepend=market.first)
    bootstrap = make_bootstrap(sizes, n_bootstrap=20, seed=1)
    return Experiment(SPACE, resolve("long_short"), FIXED, bootstrap=bootstrap)


def parameters_of(n_trials, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.integers(5, 61, n_trials),
            rng.random(n_trials),
            rng.integers(0, 3, n_trials),
            10 ** rng.uniform(-5, -2, n_trials),
        ]
    ).astype(float)


def test_evaluate_batch_does_not_depend_on_its_size(market, experiment):
    parameters = parameters_of(700)
    whole = evaluate_batch(market, experiment, parameters)
    for size in (1, 7, 256):
        rows = range(0, 60 if size == 1 else 700, size)
        parts = [evaluate_batch(market, experiment, parameters[row : row + size]) for row in rows]
        n = sum(len(part.trials) for part in parts)
        for name in ("parameters", "metrics", "values", "status"):
            got = np.concatenate([getattr(part.trials, name) for part in parts])
            np.testing.assert_array_equal(got, getattr(whole.trials, name)[:n], err_msg=name)
        for name in ("sums", "squares"):
            got = np.concatenate([getattr(part.kept, name) for part in parts])
            np.testing.assert_array_equal(got, getattr(whole.kept, name)[:n], err_msg=name)
        if n == len(parameters):
            assert max(part.observed for part in parts) == whole.observed
            np.testing.assert_array_equal(np.max([part.maxima for part in parts], axis=0), whole.maxima)


def test_values_are_the_metrics_of_the_configuration(market, experiment):
    row = np.array([20.0, 0.25, 1.0, 0.001])
    strategy, engine = experiment.values(row)
    assert strategy == {"volatility_source": "realized", "ma_window": 20, "reversion_weight": 0.25}
    assert (engine.stop.kind, engine.commission) == ("percent", 0.001)
    fixed = Experiment(SearchSpace(()), experiment.definition, strategy, engine)
    np.testing.assert_array_equal(
        evaluate_batch(market, fixed, np.empty((1, 0))).trials.metrics,
        evaluate_batch(market, experiment, row[None, :]).trials.metrics,
    )


def test_failures_are_outcomes_with_a_reason(market, tmp_path):
    (tmp_path / "picky_module.py").write_text(MODULE)
    kinds = ("good", "raise", "nan", "flat")
    space = SearchSpace(
        (
            CategoricalDimension("strategy.kind", kinds),
            CategoricalDimension("engine.commission", (0.001, 0.7)),
        )
    )
    experiment = Experiment(space, resolve("picky_module.picky", str(tmp_path)))
    parameters = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [0, 1], [0, 0]], dtype=float)
    result = evaluate_batch(market, experiment, parameters)
    kept, result = result.kept, result.trials
    assert set(result.errors) == {1, 2, 3, 4}
    assert "no luck with this" in result.errors[1]
    assert "NaN" in result.errors[2] or "nan" in result.errors[2]
    assert "`sharpe_ratio` is undefined" in result.errors[3]
    assert "engine.commission" in result.errors[4]
    assert not any("\n" in text for text in result.errors.values())
    assert np.isnan(result.values[1:5]).all()
    np.testing.assert_array_equal(result.status, [0, 2, 2, 0, 2, 0])
    np.testing.assert_array_equal(result.metrics[0], result.metrics[5])
    np.testing.assert_array_equal(kept.trials, [0, 5])


def test_block_moments_are_returned_where_asked(market, experiment):
    parameters = parameters_of(50)
    whole = evaluate_batch(market, experiment, parameters)
    limit = np.sort(whole.trials.values[:, 0])[-5]
    asked = np.zeros(50, dtype=bool)
    asked[[2, 30]] = True
    result = evaluate_batch(market, experiment, parameters, keep=asked, threshold=limit)
    expected = np.flatnonzero(asked | (whole.trials.values[:, 0] >= limit))
    np.testing.assert_array_equal(result.kept.trials, expected)
    np.testing.assert_array_equal(result.kept.sums, whole.kept.sums[expected])


def test_worst_fold_is_the_search_value(market, experiment):
    parameters = parameters_of(20)
    plain = evaluate_batch(market, experiment, parameters)
    robust = evaluate_batch(market, replace(experiment, robustness="worst_fold"), parameters)
    sizes = np.diff(market.block_end, prepend=market.first)
    worst = worst_fold_sharpe(plain.kept.sums, plain.kept.squares, sizes, 5) * np.sqrt(market.bars.periods_per_year)
    np.testing.assert_array_equal(robust.trials.values[:, 0], worst)
    assert (robust.trials.values < plain.trials.values).all()
    np.testing.assert_array_equal(robust.trials.metrics, plain.trials.metrics)


def test_plateau_is_the_median_of_a_trial_and_its_neighbours(market, experiment):
    space = SearchSpace((IntDimension("strategy.ma_window", 10, 30, step=5),))
    one = replace(experiment, space=space)
    windows = np.arange(10.0, 31.0, 5.0)[:, None]
    plain = evaluate_batch(market, one, windows).trials.values[:, 0]
    robust = evaluate_batch(market, replace(one, robustness="plateau"), windows).trials.values[:, 0]
    expected = [np.sort(plain[[max(i - 1, 0), i, min(i + 1, 4)]])[1] for i in range(5)]
    np.testing.assert_array_equal(robust, expected)
    ruled = replace(space, rules=read_rules(["strategy.ma_window <= 20"], [], {"strategy.ma_window": 10}))
    kept = evaluate_batch(market, replace(one, space=ruled, robustness="plateau"), windows[:3]).trials.values[:, 0]
    np.testing.assert_array_equal(kept, [np.sort(plain[[max(i - 1, 0), i, min(i + 1, 2)]])[1] for i in range(3)])


def test_several_objectives_fail_together(market, experiment):
    both = replace(experiment, objectives=("sharpe_ratio", "max_drawdown"), directions=("maximize", "maximize"))
    result = evaluate_batch(market, both, parameters_of(10)).trials
    places = [METRICS.index("sharpe_ratio"), METRICS.index("max_drawdown")]
    np.testing.assert_array_equal(result.values, result.metrics[:, places])


def test_experiment_pickles_small(experiment):
    assert len(pickle.dumps(experiment)) < 20_000


CONDITIONAL = SearchSpace(
    (
        CategoricalDimension("engine.stop.kind", ("none", "percent", "atr")),
        FloatDimension("engine.stop.percent", 0.02, 0.2),
        IntDimension("strategy.rsi_window", 10, 20, step=5),
    )
)


def test_what_is_inactive_has_the_value_that_it_has_unswept(market, experiment):
    fixed = replace(experiment, strategy=FIXED | {"rsi_window": 7})
    conditions = {
        "engine.stop.percent": 'engine.stop.kind == "percent"',
        "strategy.rsi_window": 'engine.stop.kind != "none"',
    }
    values = {"engine.stop.kind": "atr", "engine.stop.percent": 0.05, "strategy.rsi_window": 7}
    rules = read_rules([], [], values, when=conditions, swept=CONDITIONAL.keys)
    conditional = replace(fixed, space=replace(CONDITIONAL, rules=rules))
    rows = np.array([[0, np.nan, np.nan], [1, 0.1, 15], [2, np.nan, 10]])
    result = evaluate_batch(market, conditional, rows).trials
    free = replace(fixed, space=CONDITIONAL)
    same = evaluate_batch(market, free, np.array([[0, 0.03, 20], [1, 0.1, 15], [2, 0.03, 10]])).trials
    np.testing.assert_array_equal(result.metrics[1:], same.metrics[1:])
    for row in range(3):
        strategy, engine = conditional.values(rows[row])
        alone = evaluate_batch(
            market, replace(fixed, space=SearchSpace(()), strategy=strategy, engine=engine), np.empty((1, 0))
        )
        np.testing.assert_array_equal(alone.trials.metrics[0], result.metrics[row])
    assert conditional.values(rows[0])[0]["rsi_window"] == 7
    # On a plateau what is inactive has no neighbours: without a stop a trial is its own.
    robust = evaluate_batch(market, replace(conditional, robustness="plateau"), rows).trials.values[:, 0]
    assert robust[0] == result.values[0, 0]
    around = [evaluate_batch(market, conditional, np.array([[2, np.nan, w]])).trials.values[0, 0] for w in (10, 10, 15)]
    assert robust[2] == np.median(around)
    less = evaluate_batch(
        market, replace(conditional, robustness="plateau", directions=("minimize",)), rows
    ).trials.values[:, 0]
    np.testing.assert_array_equal(less[[0, 2]], robust[[0, 2]])
