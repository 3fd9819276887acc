"""Batches: columns, failures, modes and blocks."""

import math
import pickle

import numpy as np
import pytest

from alphapulse.backtesting.batch import FAILED, OK, EngineColumns, benchmark_returns, simulate_batch
from alphapulse.backtesting.metrics import METRICS, N_METRICS
from alphapulse.backtesting.models import EngineParams
from alphapulse.backtesting.trial import ArrayTargets, run_trial
from alphapulse.market.calendar import calendar_blocks, starts_period
from alphapulse.market.market import Market
from alphapulse.strategies.base import Bars

N = 400


@pytest.fixture(scope="module")
def market():
    rng = np.random.default_rng(0)
    timestamp = np.arange(N, dtype=np.int64) * 86_400 * 10**9
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, N)))
    unknown = np.full(N, np.nan)
    arrays = close, close * 1.01, close * 0.99, close
    bars = Bars("X", "1d", timestamp, *arrays, volume=unknown, volatility=unknown)
    ends, unit = calendar_blocks(timestamp, first=30)
    starts = [starts_period(timestamp, name, first=30) for name in ("week", "month")]
    return Market(bars, 30, ends, unit, *starts, "")


def targets_of(columns):
    return ArrayTargets(np.stack(columns), np.ones((1, N)), np.zeros(len(columns), dtype=np.int64))


def test_build_lays_out_fixed_and_swept_fields():
    columns = EngineColumns.build(
        EngineParams(commission=0.002),
        {
            "stop.multiplier": np.array([1.0, 2.0]),
            "execution": ["next_open", "same_close"],
            "stop.trailing": [True, False],
        },
        2,
    )
    assert columns.values["commission"].tolist() == [0.002, 0.002]
    assert columns.values["stop.multiplier"].tolist() == [1.0, 2.0]
    assert columns.values["execution"].tolist() == [0.0, 2.0]
    assert columns.values["stop.trailing"].tolist() == [1.0, 0.0]
    assert np.isnan(columns.values["periods_per_year"]).all()
    assert pickle.loads(pickle.dumps(columns)).n_trials == 2


@pytest.mark.parametrize(
    ("swept", "match"),
    [
        ({"comission": [0.1]}, "Unknown engine field"),
        ({"commission": [0.1, 0.2]}, "must have 1 values"),
        ({"commission": [-0.6]}, "engine.commission"),
        ({"commission": [math.nan]}, "engine.commission"),
        ({"execution": ["now"]}, "engine.execution"),
        ({"stop.kind": ["both"]}, "engine.stop.kind"),
        ({"maintenance_margin": [0.5], "max_leverage": [2.0]}, "lower one of them"),
    ],
)
def test_build_refuses(swept, match):
    with pytest.raises(ValueError, match=match):
        EngineColumns.build(EngineParams(), swept, 1)


def test_rows_are_the_trials_in_their_order(market):
    # Modes are simulated in groups; the rows must come back in place.
    rng = np.random.default_rng(1)
    k = 130
    targets = targets_of([rng.choice([-1.0, 0.0, 1.0], N) for _ in range(k)])
    executions = rng.choice(["next_open", "next_close", "same_close"], k).tolist()
    frequencies = rng.choice(["bar", "week", "month"], k).tolist()
    swept = {"execution": executions, "rebalance_frequency": frequencies}
    outcome = simulate_batch(market, targets, EngineColumns.build(EngineParams(), swept, k))
    for i in (0, 1, 63, 64, 129):
        params = EngineParams(execution=executions[i], rebalance_frequency=frequencies[i])
        alone = run_trial(market, targets.target[i], targets.atr[0], params)
        np.testing.assert_array_equal([alone.metrics[name] for name in METRICS], outcome.metrics[i])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [29, 30, 200, N - 1])
def test_targets_that_are_not_finite_fail_their_trial_alone(market, value, place):
    good = np.ones(N)
    bad = good.copy()
    bad[place] = value
    outcome = simulate_batch(market, targets_of([good, bad, good]), EngineColumns.build(EngineParams(), n_trials=3))
    assert outcome.status.tolist() == [OK, FAILED, OK]
    assert np.isnan(outcome.metrics[1]).all()
    assert np.isnan(outcome.block_sums[1]).all()
    np.testing.assert_array_equal(outcome.metrics[0], outcome.metrics[2])
    with pytest.raises(ValueError, match="`target` must be finite"):
        run_trial(market, bad, None, EngineParams())


def test_targets_that_are_not_needed_may_be_nan(market):
    target = np.ones(N)
    target[:29] = math.nan
    columns = EngineColumns.build(EngineParams())
    assert simulate_batch(market, targets_of([target]), columns).status[0] == OK
    target[29] = math.nan
    same_close = EngineColumns.build(EngineParams(execution="same_close"))
    assert simulate_batch(market, targets_of([target]), same_close).status[0] == OK


def test_trials_without_targets_fail(market):
    targets = targets_of([np.ones(N), np.zeros(N)])
    targets.failures = {1: "window longer than the data"}
    outcome = simulate_batch(market, targets, EngineColumns.build(EngineParams(), n_trials=2))
    assert outcome.status.tolist() == [OK, FAILED]


def test_block_moments_add_up_to_the_metrics(market):
    rng = np.random.default_rng(2)
    targets = targets_of([rng.choice([-1.0, 0.0, 1.0], N) for _ in range(5)])
    outcome = simulate_batch(market, targets, EngineColumns.build(EngineParams(), n_trials=5))
    n = market.n_scored
    mean = outcome.block_sums.sum(axis=1) / n
    deviation = np.sqrt((outcome.block_squares.sum(axis=1) - n * mean**2) / (n - 1))
    np.testing.assert_allclose(
        mean / deviation * math.sqrt(252), outcome.metrics[:, METRICS.index("sharpe_ratio")], rtol=1e-9
    )
    assert outcome.block_sums.shape == (5, market.n_blocks)


def test_benchmark_starts_against_the_bar_before_the_first(market):
    returns = benchmark_returns(market.bars, market.first)
    close = market.bars.close
    assert returns[market.first] == close[30] / close[29] - 1
    assert not returns[: market.first].any()
    assert benchmark_returns(market.bars, 0)[0] == 0.0


def test_a_flat_trial_has_no_sharpe_ratio(market):
    metrics = simulate_batch(market, targets_of([np.zeros(N)]), EngineColumns.build(EngineParams())).metrics[0]
    values = dict(zip(METRICS, metrics, strict=True))
    assert values["total_return"] == values["exposure"] == values["n_trades"] == values["beta"] == 0.0
    assert all(math.isnan(values[name]) for name in ("sharpe_ratio", "win_rate", "profit_factor", "calmar_ratio"))


def test_no_trials_no_rows(market):
    outcome = simulate_batch(
        market,
        ArrayTargets(np.empty((0, N)), np.ones((1, N)), np.empty(0, np.int64)),
        EngineColumns.build(EngineParams(), n_trials=0),
    )
    assert outcome.metrics.shape == (0, N_METRICS)
