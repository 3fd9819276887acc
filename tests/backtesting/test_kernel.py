"""The compiled kernel against the plain engine, on markets and settings drawn to be awkward."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_engine import run_reference, week_and_month_starts

from alphapulse.backtesting import batch
from alphapulse.backtesting.batch import EngineColumns, Recording, simulate_batch
from alphapulse.backtesting.market import Market
from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.backtesting.models import EngineParams, StopParams
from alphapulse.backtesting.trial import ArrayTargets, run_trial
from alphapulse.strategies.base import Bars

DAY = 86_400 * 10**9
FRIDAY = np.datetime64("2021-01-29", "ns").astype(np.int64)
N_TRIALS = 12


def make_market(open_, high, low, close, first=0, spacing=DAY, periods_per_year=252.0, block=7):
    """A market of daily bars from a Friday at the end of a month, cut into blocks of `block` bars."""
    n = len(close)
    timestamp = FRIDAY + np.arange(n) * spacing
    week, month = week_and_month_starts(timestamp.astype("datetime64[ns]"))
    unknown = np.full(n, np.nan)
    arrays = [np.asarray(x, dtype=np.float64) for x in (open_, high, low, close)]
    for array in arrays:
        array.flags.writeable = False
    bars = Bars("X", "1d", timestamp, *arrays, volume=unknown, volatility=unknown, periods_per_year=periods_per_year)
    ends = np.unique(np.r_[np.arange(first + block, n, block), n]).astype(np.int64)
    return Market(bars, first, ends, "week", week, month, "")


def draw_prices(rng, n, kind):
    """Open, high, low and close of a market with gaps, halts, flat stretches, crashes or jumps."""
    scale = {"calm": 0.005, "wild": 0.08, "gaps": 0.02, "halts": 0.02, "crash": 0.03, "squeeze": 0.03}[kind]
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, scale, n)))
    if kind == "crash":
        close[rng.integers(n) :] *= rng.uniform(0.05, 0.5)
    if kind == "squeeze":
        close[rng.integers(n) :] *= rng.uniform(2.0, 5.0)
    open_ = np.r_[close[0], close[:-1]]
    if kind != "halts":
        open_ = open_ * np.exp(rng.normal(0, scale * (3.0 if kind == "gaps" else 0.3), n))
    high = np.maximum(open_, close) * (1 + rng.exponential(scale / 2, n))
    low = np.minimum(open_, close) / (1 + rng.exponential(scale / 2, n))
    if kind == "halts":
        for start in rng.integers(0, n, 3):
            for row in (open_, high, low, close):
                row[start : start + 5] = close[start]
    return open_, high, low, close


def draw_target(rng, n):
    """A target that holds, flips, flickers, saturates or is small."""
    kind = rng.integers(6)
    if kind == 0:
        return rng.choice([-1.0, 0.0, 1.0], n)
    if kind == 1:
        return np.repeat(rng.choice([-1.0, 0.0, 0.5, 1.0], n), 4)[:n]
    if kind == 2:
        return np.where(rng.random(n) < 0.2, 0.0, rng.choice([0.3, 0.35, 0.31], n))
    if kind == 3:
        return rng.normal(0, 3, n)
    if kind == 4:
        return np.cumsum(rng.normal(0, 0.1, n))
    return np.full(n, rng.choice([-3.0, -1.0, 0.04, 1.0, 3.0]))


def draw_engine(rng, execution=None):
    return EngineParams(
        initial_capital=float(rng.choice([100_000.0, 1.0, 12_345.67])),
        execution=str(execution or rng.choice(["next_open", "next_close", "same_close"])),
        commission=float(rng.choice([0.0, 0.001, 0.05])),
        slippage=float(rng.choice([0.0, 0.0005, 0.01])),
        stop_slippage=float(rng.choice([0.0, 0.002])),
        rebalance_band=float(rng.choice([0.0, 0.05, 0.3])),
        rebalance_frequency=str(rng.choice(["bar", "bar", "week", "month"])),
        short_borrow_rate=float(rng.choice([0.0, 0.05])),
        cash_rate=float(rng.choice([0.0, 0.03])),
        max_leverage=float(rng.choice([1.0, 3.0, 0.7])),
        reentry=str(rng.choice(["new_signal", "immediate"])),
        stop=StopParams(
            kind=str(rng.choice(["none", "percent", "atr"])),
            percent=float(rng.choice([0.0, 0.01, 0.05])),
            multiplier=float(rng.choice([0.5, 2.0])),
            trailing=bool(rng.random() < 0.5),
        ),
        risk_free_rate=float(rng.choice([0.0, 0.02])),
        periods_per_year=None if rng.random() < 0.5 else 365.0,
    )


def columns_of(engines):
    values = [engine.values for engine in engines]
    swept = {name: [v[name] for v in values] for name in values[0] if name != "periods_per_year"}
    columns = EngineColumns.build(EngineParams(), swept, len(engines))
    columns.values["periods_per_year"][:] = [v["periods_per_year"] or math.nan for v in values]
    return columns


def block_of(targets, atr, rows):
    return ArrayTargets(np.column_stack(targets), atr, np.asarray(rows, dtype=np.int64))


def reference_run(market, target, atr, engine):
    bars = market.bars
    return run_reference(
        *(x.tolist() for x in (bars.open, bars.high, bars.low, bars.close, target, atr)),
        engine,
        engine.periods_per_year or bars.periods_per_year,
        market.first,
        market.week_start,
        market.month_start,
    )


def assert_agrees(market, outcome, place, result, expected, engine):
    """`result` (BacktestResult) and row `place` of `outcome` say what the plain engine says."""
    close = market.bars.close[market.first :]
    np.testing.assert_allclose(result.equity, expected.equity, rtol=1e-12, atol=0)
    np.testing.assert_allclose(result.returns, expected.returns, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(result.allocation, expected.allocation, rtol=1e-12, atol=1e-15)
    assert len(result.trades) == len(expected.fills)
    if expected.fills:
        times = market.bars.timestamp[[fill[0] for fill in expected.fills]]
        np.testing.assert_array_equal(result.trades["timestamp"].dt.as_unit("ns").astype(np.int64), times)
        assert result.trades["reason"].tolist() == [fill[1] for fill in expected.fills]
        for column, i in (("price", 2), ("units", 3), ("cost", 4)):
            np.testing.assert_allclose(result.trades[column], [f[i] for f in expected.fills], rtol=1e-12, atol=1e-15)
    identity = np.array(expected.cash) + np.array(expected.units) * close
    np.testing.assert_allclose(result.equity, identity, rtol=1e-12, atol=1e-9)
    assert result.ruined == expected.ruined == (outcome.status[place] == batch.RUINED)

    metrics = dict(zip(METRICS, outcome.metrics[place], strict=True))
    np.testing.assert_array_equal(list(metrics.values()), list(result.metrics.values()))
    n, periods = len(close), engine.periods_per_year or market.bars.periods_per_year
    assert metrics["n_trades"] == len(expected.fills)
    assert metrics["exposure"] == expected.n_exposed / n
    assert metrics["costs_paid"] == pytest.approx(expected.costs, rel=1e-12)
    assert metrics["turnover"] == pytest.approx(expected.turnover * periods / n, rel=1e-12)
    benchmark = batch.benchmark_returns(market.bars, market.first)[market.first :]
    plain = metrics_of_returns(
        np.array(expected.returns), benchmark, risk_free_rate=engine.risk_free_rate, periods_per_year=periods
    )
    for name, value in plain.items():
        assert metrics[name] == pytest.approx(value, rel=1e-7, abs=1e-9, nan_ok=True), name
    begin = np.r_[market.first, market.block_end[:-1]] - market.first
    sums = [math.fsum(expected.returns[a:b]) for a, b in zip(begin, market.block_end - market.first, strict=True)]
    np.testing.assert_allclose(outcome.block_sums[place], sums, rtol=1e-9, atol=1e-14)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    first=st.integers(0, 5),
    kind=st.sampled_from(["calm", "wild", "gaps", "halts", "crash", "squeeze"]),
)
def test_simulate_batch_matches_reference(seed, n, first, kind):
    rng = np.random.default_rng(seed)
    market = make_market(*draw_prices(rng, n + first, kind), first=first)
    engines = [draw_engine(rng) for _ in range(N_TRIALS)]
    targets = [draw_target(rng, n + first) for _ in engines]
    atr = np.abs(rng.normal(2.0, 1.0, (2, n + first)))
    atr[:, : rng.integers(0, 4)] = np.nan
    rows = rng.integers(0, 2, N_TRIALS)
    outcome = simulate_batch(market, block_of(targets, atr, rows), columns_of(engines))
    for place, engine in enumerate(engines):
        result = run_trial(market, targets[place], atr[rows[place]], engine)
        expected = reference_run(market, targets[place], atr[rows[place]], engine)
        assert_agrees(market, outcome, place, result, expected, engine)
