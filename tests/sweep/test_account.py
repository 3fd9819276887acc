"""Trials of an account in a worker: the engine's numbers, whatever batch they are in, and failures by their own."""

from dataclasses import replace

import numpy as np
import pytest
from made_accounts import cointegrated_account, drifting_account
from reference_account import run_reference_account

from alphapulse.backtesting.batch import FAILED, OK
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.params import EngineParams
from alphapulse.market.surrogates import surrogate_market
from alphapulse.reports.curves import backtest_trial
from alphapulse.search.dimensions import CategoricalDimension, FloatDimension, IntDimension
from alphapulse.search.space import SearchSpace
from alphapulse.strategies.portfolio import checked_ranges, checked_targets
from alphapulse.strategies.resolve import resolve
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.null.search import SearchPlan, null_search
from alphapulse.sweep.worker import evaluate_batch
from alphapulse.validation.spa import make_bootstrap

SPACE = SearchSpace(
    (
        IntDimension("strategy.momentum_window", 10, 60),
        CategoricalDimension("strategy.top", (1, 2)),
        FloatDimension("engine.stop.multiplier", 1.0, 5.0),
        FloatDimension("engine.max_net_leverage", 0.2, 1.0),
    )
)
ENGINE = EngineParams(by_symbol={"LATE": {"commission": 0.002, "lot": 1.0}}, rebalance_frequency="week")

MODULE = """
import numpy as np

def picky(bars, symbols, window: int = 5):
    if window == 7:
        raise RuntimeError("not this one")
    return np.full((len(bars), len(symbols)), np.nan if window == 8 else 0.2)
"""


@pytest.fixture(scope="module")
def market():
    return drifting_account()


@pytest.fixture(scope="module")
def experiment(market):
    sizes = np.diff(market.block_end, prepend=market.first)
    return Experiment(
        SPACE, resolve("rotation"), {"rising": False}, ENGINE, bootstrap=make_bootstrap(sizes, n_bootstrap=20)
    )


@pytest.fixture(scope="module")
def parameters():
    rng = np.random.default_rng(3)
    columns = rng.integers(10, 61, 90), rng.integers(0, 2, 90), rng.uniform(1, 5, 90), rng.uniform(0.2, 1, 90)
    return np.column_stack(columns).astype(float)


def test_a_trial_is_what_plain_python_says(market, experiment, parameters):
    batch = evaluate_batch(market, experiment, parameters)
    assert (batch.trials.status == OK).all()
    for row in (0, 40):
        values, engine = experiment.values(parameters[row])
        strategy = experiment.definition.build(values)
        target, ranges = checked_targets(strategy, market.bars), checked_ranges(strategy, market.bars)
        wanted = run_reference_account(market, target, ranges, engine)
        metrics = dict(zip(METRICS, batch.trials.metrics[row], strict=True))
        assert metrics["total_return"] == pytest.approx(wanted.equity[-1] / 100_000.0 - 1.0, rel=1e-10)
        assert metrics["n_trades"] == len(wanted.closed)
        returns = np.array(wanted.returns)
        assert metrics["sharpe_ratio"] == pytest.approx(
            returns.mean() / returns.std(ddof=1) * np.sqrt(market.bars.periods_per_year), rel=1e-9
        )
        sums = np.add.reduceat(returns, np.r_[0, market.block_end[:-1] - market.first])
        np.testing.assert_allclose(batch.kept.sums[row], sums, rtol=1e-9, atol=1e-12)
        result, bought = backtest_trial(market, experiment, parameters[row])
        np.testing.assert_allclose(result.equity, wanted.equity, rtol=1e-12)
        assert [result.metrics[name] for name in METRICS] == batch.trials.metrics[row].tolist()
        assert result.trades["symbol"].tolist() == [trade.symbol for trade in wanted.trades]
        np.testing.assert_allclose(
            result.trades["net_profit"], [trade.profit for trade in wanted.trades], rtol=1e-9, atol=1e-7
        )
        assert {p.symbol: p.units for p in result.positions} == pytest.approx(
            {n: u for n, u in zip(market.bars.symbols, wanted.units[-1], strict=True) if u}
        )
        assert bought.name == "LONG, LATE, DEAD"


def test_a_trial_does_not_depend_on_its_batch(market, experiment, parameters):
    whole = evaluate_batch(market, experiment, parameters)
    order = np.random.default_rng(1).permutation(len(parameters))
    again = evaluate_batch(market, experiment, parameters[order])
    for name in ("metrics", "values"):
        np.testing.assert_array_equal(getattr(again.trials, name), getattr(whole.trials, name)[order])
    np.testing.assert_array_equal(again.kept.sums, whole.kept.sums[order])
    alone = evaluate_batch(market, experiment, parameters[13:14])
    np.testing.assert_array_equal(alone.trials.metrics[0], whole.trials.metrics[13])
    assert whole.observed == evaluate_batch(market, experiment, parameters).observed


def test_a_failure_is_that_of_its_own_trials(market, tmp_path):
    (tmp_path / "picky_many.py").write_text(MODULE)
    space = SearchSpace((IntDimension("strategy.window", 2, 20),))
    experiment = Experiment(space, resolve("picky_many.picky", str(tmp_path)), {})
    trials = evaluate_batch(market, experiment, np.array([[5.0], [7.0], [8.0], [9.0]])).trials
    assert (trials.status == FAILED).tolist() == [False, True, True, False]
    assert trials.errors[1] == "RuntimeError: not this one (picky_many.py, line 6)"
    assert trials.errors[2].startswith("ValueError: `targets` must be finite, but got nan for LONG at 2010-01-12")


def test_null_searches_run_on_joint_surrogates(market, experiment):
    plan = SearchPlan("random", 30, 1, {"generation_size": 10})
    found = [null_search(market, experiment, plan, s) for s in (0, 1, 0)]
    assert found[0] == found[2] != found[1]
    surrogate = surrogate_market(market, 0)
    assert surrogate.bars.symbols == market.bars.symbols
    assert surrogate.first == market.first


@pytest.mark.slow
def test_a_planted_pair_beats_its_surrogates():
    market = cointegrated_account()
    space = SearchSpace(
        (
            IntDimension("strategy.hedge_window", 60, 120),
            FloatDimension("strategy.entry", 1.0, 3.0),
            FloatDimension("strategy.exit", 0.0, 0.8),
        )
    )
    experiment = Experiment(space, resolve("pairs"), {}, EngineParams(stop={"kind": "none"}))
    plan = SearchPlan("random", 60, 1, {"generation_size": 20})
    rng = np.random.default_rng(0)
    columns = rng.integers(60, 121, 60), rng.uniform(1, 3, 60), rng.uniform(0, 0.8, 60)
    best = np.nanmax(evaluate_batch(market, experiment, np.column_stack(columns)).trials.values)
    nulls = [null_search(market, replace(experiment, bootstrap=None), plan, s) for s in range(19)]
    assert best > max(nulls)
