"""The compiled kernel against the plain engine, on markets and settings drawn to be awkward."""

import importlib
import math
import pkgutil
import re

import numpy as np
import pytest
import reference_engine
from drawn_engines import draw_engine, draw_full_engine, draw_prices, draw_target, make_market
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher
from numba.extending import _Intrinsic
from reference_engine import run_reference

from alphapulse.backtesting import batch, kernel
from alphapulse.backtesting.batch import EngineColumns, simulate_batch
from alphapulse.backtesting.metrics import METRICS, metrics_of_returns
from alphapulse.backtesting.params import EngineParams
from alphapulse.backtesting.recording import Recording
from alphapulse.backtesting.trial import ArrayTargets, run_trial

N_TRIALS = 12
OF_MOMENTS = {
    "sharpe_ratio", "volatility", "skewness", "kurtosis", "value_at_risk_95", "information_ratio", "alpha", "beta",
}  # fmt: skip


def columns_of(engines):
    values = [engine.values for engine in engines]
    swept = {name: [v[name] for v in values] for name in values[0] if name not in ("periods_per_year", "funding")}
    columns = EngineColumns.build(EngineParams(), swept, len(engines))
    columns.values["periods_per_year"][:] = [v["periods_per_year"] or math.nan for v in values]
    return columns


def block_of(targets, atr, rows):
    return ArrayTargets(np.stack(targets), atr, np.asarray(rows, dtype=np.int64))


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


def varies(returns):
    """Whether sums of powers keep the variance: their error grows with the square of mean over deviation."""
    return np.std(returns) > 0.01 * abs(np.mean(returns))


def assert_trades_agree(market, result, expected):
    """The round trips of `result`, their sum and the open position are those of the plain engine."""
    money = max(expected.equity) + abs(expected.trades[0].equity if expected.trades else 0.0)
    assert len(result.trades) == len(expected.trades)
    if not expected.trades:
        assert result.position is None
        return
    last = len(market.bars) - 1
    exits = [last if trade.exit_bar is None else trade.exit_bar for trade in expected.trades]
    for column, places in (("timestamp", [t.entry_bar for t in expected.trades]), ("exit_timestamp", exits)):
        times = result.trades[column].dt.as_unit("ns").astype(np.int64)
        np.testing.assert_array_equal(times, market.bars.timestamp[places])
    assert result.trades["reason"].tolist() == [trade.reason for trade in expected.trades]
    assert (result.trades["side"] == "long").tolist() == [trade.direction > 0 for trade in expected.trades]
    np.testing.assert_allclose(
        result.trades["net_profit"], [t.profit for t in expected.trades], rtol=1e-10, atol=1e-12 * money
    )
    np.testing.assert_allclose(result.trades["price"], [t.entry_price for t in expected.trades], rtol=1e-12)
    closed = expected.closed
    units = {fill[0]: fill[3] for fill in expected.fills}
    assert (result.trades["reason"] != "end").sum() == len(closed)
    assert_prices_agree(
        result.trades["exit_price"].to_numpy()[: len(closed)],
        [t.exit_price for t in closed],
        [t.reason == "liquidation" for t in closed],
        [units[t.exit_bar] for t in closed],
        money,
    )
    assert result.n_both == expected.n_both
    assert (result.position is None) == (expected.units[-1] == 0.0)
    if result.position is not None:
        got = [result.position.stop, result.position.take_profit]
        for value, wanted in zip(got, expected.trades[-1].levels, strict=True):
            assert (value is None) == (wanted is None)
            assert value is None or value == pytest.approx(wanted, rel=1e-12)


def assert_prices_agree(got, wanted, liquidated, units, money):
    """Prices agree; one of a liquidation is money over units, as exact as the money."""
    within = 1e-12 * np.abs(wanted) + np.where(liquidated, 1e-14 * money / np.abs(units), 0.0)
    assert (np.abs(got - np.array(wanted)) <= within).all(), (got, wanted)


def assert_agrees(market, outcome, place, result, expected, engine):
    """`result` (BacktestResult) and row `place` of `outcome` say what the plain engine says."""
    close = market.bars.close[market.first :]
    # Equity carries the rounding of what was held before a fall: a few units in the last place of its maximum.
    ulps = 1e-14 * max(engine.initial_capital, *expected.equity)
    np.testing.assert_allclose(result.equity, expected.equity, rtol=1e-12, atol=ulps)
    # A quotient of equities is as exact as they are: after a fall, to the rounding of what there was before it.
    equity = np.array([engine.initial_capital, *expected.equity])
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = 2 * (1e-12 + ulps / np.abs(equity))
    worst = ulps / np.abs(equity[equity != 0.0]).min()
    for got, wanted, within in (
        (result.returns, expected.returns, exact[:-1] + exact[1:]),
        (result.allocation, expected.allocation, exact[1:]),
    ):
        away = np.abs(np.asarray(got) - wanted)
        assert (np.nan_to_num(away) <= within * (1 + np.abs(wanted))).all(), (away, within)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert len(result.fills) == len(expected.fills)
    if expected.fills:
        times = market.bars.timestamp[[fill[0] for fill in expected.fills]]
        np.testing.assert_array_equal(result.fills["timestamp"].dt.as_unit("ns").astype(np.int64), times)
        assert result.fills["reason"].tolist() == [fill[1] for fill in expected.fills]
        scale = max(abs(f[3]) for f in expected.fills)
        _, reasons, prices, units, _ = zip(*expected.fills, strict=True)
        liquidated = [reason == "liquidation" for reason in reasons]
        assert_prices_agree(result.fills["price"].to_numpy(), prices, liquidated, units, max(expected.equity))
        for column, i, atol in (("units", 3, 1e-13 * scale), ("cost", 4, 1e-13 * scale * close.max())):
            np.testing.assert_allclose(result.fills[column], [f[i] for f in expected.fills], rtol=1e-12, atol=atol)
    assert_trades_agree(market, result, expected)
    identity = np.array(expected.cash) + np.array(expected.units) * close
    np.testing.assert_allclose(result.equity, identity, rtol=1e-12, atol=ulps)
    assert result.ruined == expected.ruined == (outcome.status[place] == batch.RUINED)

    metrics = dict(zip(METRICS, outcome.metrics[place], strict=True))
    np.testing.assert_array_equal(list(metrics.values()), [result.metrics[name] for name in METRICS])
    n, periods = len(close), engine.periods_per_year or market.bars.periods_per_year
    money = max(expected.equity) + engine.initial_capital
    for name, value in expected.trade_metrics().items():
        near = 1e-12 * (money if name == "expectancy" else 1.0)
        if name in ("profit_factor", "payoff") and np.isfinite(value):  # as exact as the losses it is divided by
            losses = -sum(trade.profit for trade in expected.closed if trade.profit < 0)
            near = 1e-9 + (1e-12 * money * abs(value) / losses if losses else 0.0)
        assert metrics[name] == pytest.approx(value, rel=1e-9, abs=near, nan_ok=True), name
    assert metrics["exposure"] == expected.n_exposed / n
    assert metrics["costs_paid"] == pytest.approx(expected.costs, rel=1e-12, abs=1e-12 * money)
    assert metrics["turnover"] == pytest.approx(expected.turnover * periods / n, rel=1e-9 + 2 * worst)
    benchmark = batch.benchmark_returns(market.bars, market.first)[market.first :]
    plain = metrics_of_returns(
        np.array(expected.returns), benchmark, risk_free_rate=engine.rate_of_cash, periods_per_year=periods
    )
    for name, value in plain.items():
        if name in OF_MOMENTS and not (varies(expected.returns) and varies(np.subtract(expected.returns, benchmark))):
            continue
        assert metrics[name] == pytest.approx(value, rel=1e-7 + 2 * worst, abs=1e-9 + worst, nan_ok=True), name
    begin = np.r_[market.first, market.block_end[:-1]] - market.first
    sums = [math.fsum(expected.returns[a:b]) for a, b in zip(begin, market.block_end - market.first, strict=True)]
    np.testing.assert_allclose(outcome.block_sums[place], sums, rtol=1e-9, atol=1e-14 + n * worst)


@pytest.mark.parametrize("draw", [draw_engine, draw_full_engine])
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    first=st.integers(0, 5),
    kind=st.sampled_from(["calm", "wild", "gaps", "halts", "crash", "squeeze"]),
)
def test_simulate_batch_matches_reference(draw, seed, n, first, kind):
    rng = np.random.default_rng(seed)
    market = make_market(*draw_prices(rng, n + first, kind), first=first)
    engines = [draw(rng) for _ in range(N_TRIALS)]
    targets = [draw_target(rng, n + first) for _ in engines]
    atr = np.abs(rng.normal(2.0, 1.0, (2, n + first)))
    atr[:, : rng.integers(0, 4)] = np.nan
    rows = rng.integers(0, 2, N_TRIALS)
    outcome = simulate_batch(market, block_of(targets, atr, rows), columns_of(engines))
    for place, engine in enumerate(engines):
        result = run_trial(market, targets[place], atr[rows[place]], engine)
        expected = reference_run(market, targets[place], atr[rows[place]], engine)
        assert_agrees(market, outcome, place, result, expected, engine)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_simulate_batch_matches_reference_over_long_markets(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 400))
    market = make_market(*draw_prices(rng, n, rng.choice(["calm", "wild", "gaps", "halts", "crash", "squeeze"])))
    engines = [draw_engine(rng) for _ in range(N_TRIALS)]
    targets = [draw_target(rng, n) for _ in engines]
    atr = np.abs(rng.normal(2.0, 1.0, (1, n)))
    outcome = simulate_batch(market, block_of(targets, atr, np.zeros(N_TRIALS)), columns_of(engines))
    for place, engine in enumerate(engines):
        result = run_trial(market, targets[place], atr[0], engine)
        assert_agrees(market, outcome, place, result, reference_run(market, targets[place], atr[0], engine), engine)


def run(prices, target, atr=None, first=0, **engine):
    market = make_market(*prices, first=first)
    return run_trial(market, np.asarray(target, dtype=float), atr, EngineParams(**engine))


def test_run_trial_four_bars_by_hand():
    open_ = [100.0, 100.0, 105.0, 95.0]
    high = [100.0, 112.0, 106.0, 96.0]
    low = [100.0, 95.0, 88.0, 94.0]
    close = [100.0, 110.0, 92.0, 95.0]
    result = run(
        (open_, high, low, close), [1, 1, 1, -1], initial_capital=1000.0, commission=0.01, slippage=0.0,
        stop={"kind": "percent", "percent": 0.10},
    )  # fmt: skip
    # Bought 1000/1.01 at 100; stopped at 90 with 1 % costs; the same direction is ignored at the next open.
    bought = 1000 / 1.01
    assert result.equity.tolist() == pytest.approx([1000.0, bought * 1.1, bought * 0.9 * 0.99, bought * 0.9 * 0.99])
    assert result.fills["reason"].tolist() == ["order", "stop"]
    assert result.fills["side"].tolist() == ["buy", "sell"]
    assert result.fills["price"].tolist() == [100.0, 90.0]
    assert result.fills["cost"].tolist() == pytest.approx([bought * 0.01, bought * 0.009])
    assert result.metrics["costs_paid"] == pytest.approx(bought * 0.019)
    assert result.metrics["exposure"] == 0.5
    assert result.metrics["turnover"] == pytest.approx((bought / 1000 + 1.0) * 252 / 4)


def test_next_close_opens_the_other_way_in_the_bar_of_the_stop():
    prices = [100.0, 100.0, 80.0, 80.0]
    result = run((prices, prices, prices, prices), [1, -1, -1, 0], execution="next_close", stop={"kind": "percent"})
    assert result.fills["reason"].tolist() == ["order", "stop", "order"]
    assert result.fills["timestamp"].diff().dt.days.tolist()[1:] == [1.0, 0.0]


def test_gap_over_the_stop_fills_at_the_open():
    open_, high, low, close = [100.0, 100, 70], [100.0, 101, 75], [100.0, 99, 69], [100.0, 100, 74]
    result = run((open_, high, low, close), [1, 1, 1], stop={"kind": "percent"})
    assert result.fills["price"].tolist() == [100.0, 70.0]


def test_position_opened_at_this_open_is_hit_at_its_stop():
    open_, high, low, close = [100.0, 100], [100.0, 101], [100.0, 90], [100.0, 99]
    result = run((open_, high, low, close), [1, 1], stop={"kind": "percent"})
    assert result.fills["price"].tolist() == [100.0, 95.0]
    assert result.metrics["exposure"] == 0.5


def test_undefined_atr_sets_no_stop():
    close = np.array([100.0, 100.0, 10.0, 10.0])
    result = run((close, close, close, close), [1, 1, 1, 1], atr=np.array([math.nan, 1.0, 1.0, 1.0]))
    assert result.fills["reason"].tolist() == ["order"]


def test_leveraged_crash_is_ruin_and_stays_so():
    close = np.array([100.0, 100.0, 50.0, 100.0, 200.0])
    result = run((close,) * 4, [3] * 5, max_leverage=3.0, commission=0, slippage=0, stop={"kind": "none"})
    assert result.ruined
    assert result.equity.tolist()[2:] == [0.0, 0.0, 0.0]
    assert result.returns.tolist()[2:] == [-1.0, 0.0, 0.0]
    assert result.fills["reason"].tolist() == ["order", "ruin"]
    assert result.metrics["total_return"] == result.metrics["max_drawdown"] == result.metrics["cagr"] == -1.0


def test_free_full_target_is_buy_and_hold():
    rng = np.random.default_rng(5)
    prices = draw_prices(rng, 80, "gaps")
    result = run(prices, np.ones(80), execution="same_close", commission=0, slippage=0, stop={"kind": "none"})
    np.testing.assert_allclose(result.equity, 100_000 * prices[3] / prices[3][0], rtol=1e-13)
    assert result.metrics["beta"] == pytest.approx(1.0, abs=1e-12)
    assert result.metrics["alpha"] == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(result.metrics["information_ratio"])


@pytest.mark.parametrize("execution", ["next_open", "next_close", "same_close"])
@pytest.mark.parametrize("trailing", [False, True])
def test_mirrored_prices_turn_a_long_into_a_short(execution, trailing):
    # Reflected about the fill price, with a band that no drift leaves and without costs (they are a share of a value
    # that is not mirrored), one position gains what the other does.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        open_, high, low, close = draw_prices(rng, 40, "calm")
        decided = 0 if execution == "same_close" else 1
        fill = open_[1] if execution == "next_open" else close[decided]
        mirrored = (2 * fill - open_, 2 * fill - low, 2 * fill - high, 2 * fill - close)
        atr = np.full(40, 1.0)
        settings = {"execution": execution, "rebalance_band": 0.9, "stop": {"multiplier": 2.0, "trailing": trailing}}
        settings |= {"commission": 0.0, "slippage": 0.0}
        long = run((open_, high, low, close), np.ones(40), atr, **settings)
        short = run(mirrored, -np.ones(40), atr, **settings)
        np.testing.assert_allclose(short.equity, long.equity, rtol=1e-12)
        assert short.fills["reason"].tolist() == long.fills["reason"].tolist()


@pytest.mark.parametrize("scale", [2.0**-7, 2.0**9, 0.37, 1234.5])
def test_scaled_prices_change_nothing(scale):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        prices, target, engine = draw_prices(rng, 60, "gaps"), draw_target(rng, 60), draw_engine(rng)
        atr = np.abs(rng.normal(2, 1, 60))
        plain = run_trial(make_market(*prices), target, atr, engine)
        scaled = run_trial(make_market(*(p * scale for p in prices)), target, atr * scale, engine)
        if math.log2(scale).is_integer():
            np.testing.assert_array_equal(scaled.equity, plain.equity)
            assert scaled.metrics == pytest.approx(plain.metrics, abs=0, rel=0, nan_ok=True)
        elif len(scaled.fills) == len(plain.fills):
            # Rounding may decide a comparison that was a tie; then other orders are sent.
            np.testing.assert_allclose(scaled.equity, plain.equity, rtol=1e-9)


@pytest.mark.parametrize("cost", ["commission", "slippage", "stop_slippage"])
def test_costs_never_help(cost):
    # Sizing is net of costs, so the allocation after a fill, and with it every later order and stop, is the same at
    # any cost: equity is only ever multiplied by a factor below 1. Interest is a share of equity, too.
    for seed in range(60):
        rng = np.random.default_rng(seed)
        prices, target = draw_prices(rng, 60, "gaps"), draw_target(rng, 60)
        base = draw_engine(rng).values
        stop = {"kind": "percent", "percent": 0.03, "trailing": base["stop.trailing"]}
        shared = {
            name: base[name] for name in ("execution", "rebalance_frequency", "reentry", "cash_rate", "max_leverage")
        } | {"rebalance_band": 0.051, "stop": stop, "commission": 0.0, "slippage": 0.0}
        free = run_trial(make_market(*prices), target, None, EngineParams(**shared))
        paid = run_trial(make_market(*prices), target, None, EngineParams(**(shared | {cost: 0.01})))
        assert (paid.equity <= free.equity * (1 + 1e-12)).all()
        assert paid.metrics["costs_paid"] >= 0.0 == free.metrics["costs_paid"]


def test_target_inside_the_band_is_not_entered_but_flips_and_closes():
    close = np.full(8, 100.0)
    result = run((close,) * 4, [0.05, 0.06, -0.01, 0.0, 0.04, 0, 0, 0], commission=0, slippage=0, stop={"kind": "none"})
    assert result.fills["position"].tolist() == pytest.approx([60.0, -10.0, 0.0])


@pytest.mark.parametrize(("frequency", "days"), [("week", [3, 10]), ("month", [3, 31])])
def test_orders_fill_on_the_first_bar_of_a_period(frequency, days):
    # Bars run from Friday 29 January: Monday 1 February is bar 3, and so is the first bar of February.
    close = np.full(32, 100.0)
    target = np.where(np.arange(32) < 5, 1.0, -1.0)
    result = run((close,) * 4, target, rebalance_frequency=frequency, stop={"kind": "none"})
    start = result.equity.index[0]
    assert [(t - start).days for t in result.fills["timestamp"]] == days


def test_block_is_lifted_by_a_due_target_on_a_bar_without_an_order():
    # Stopped on Monday (bar 3); the 0 due on Wednesday lifts the block, though orders wait until Monday (bar 10).
    open_ = np.full(12, 100.0)
    low = np.where(np.arange(12) == 3, 90.0, 100.0)
    target = np.ones(12)
    settings = {"rebalance_frequency": "week", "stop": {"kind": "percent"}}
    assert run((open_, open_, low, open_), target, **settings).fills["reason"].tolist() == ["order", "stop"]
    target[4] = 0.0
    lifted = run((open_, open_, low, open_), target, **settings)
    assert lifted.fills["reason"].tolist() == ["order", "stop", "order"]


def test_decision_at_the_last_warm_up_bar_is_due_at_the_first():
    close = np.array([100.0, 100.0, 110.0, 121.0])
    result = run((close,) * 4, [0, 1, 1, 1], first=2, commission=0, slippage=0, stop={"kind": "none"})
    assert result.fills["price"].tolist() == [110.0]
    assert len(result.equity) == 2


@pytest.mark.parametrize("size", [1, 5, 64, 512])
def test_bits_do_not_depend_on_tile_lane_or_batch(monkeypatch, size):
    rng = np.random.default_rng(7)
    n, k = 150, 150
    market = make_market(*draw_prices(rng, n, "wild"))
    engines = [draw_engine(rng) for _ in range(k)]
    targets = np.stack([draw_target(rng, n) for _ in engines])
    atr, rows = np.abs(rng.normal(2, 1, (3, n))), rng.integers(0, 3, k)
    whole = simulate_batch(market, ArrayTargets(targets, atr, rows), columns_of(engines))
    monkeypatch.setattr(batch, "TILE_BARS", size)
    order = rng.permutation(k)
    for part in np.array_split(order, 4):
        some = simulate_batch(
            market, ArrayTargets(targets[part], atr, rows[part]), columns_of([engines[i] for i in part])
        )
        for name in ("metrics", "status", "block_sums", "block_squares"):
            np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[part])


def test_recording_has_room_for_every_fill():
    # Each bar opens the position and is stopped out of it.
    n = 50
    open_, low = np.full(n, 100.0), np.full(n, 50.0)
    result = run((open_, open_, low, open_), np.ones(n), stop={"kind": "percent"}, reentry="immediate")
    assert len(result.fills) == 2 * (n - 1) == 2 * result.metrics["n_trades"]


def test_recording_is_of_trial_0_wherever_the_targets_order_it(monkeypatch):
    rng = np.random.default_rng(5)
    n, k = 50, 80
    market = make_market(*draw_prices(rng, n, "wild"))
    targets = ArrayTargets(rng.choice([-1.0, 0.0, 1.0], (k, n)), np.ones((1, n)), np.zeros(k, dtype=np.int64))
    monkeypatch.setattr(ArrayTargets, "order", property(lambda block: np.arange(len(block.target))[::-1]))
    recording, alone = Recording.of(market), Recording.of(market)
    simulate_batch(market, targets, EngineColumns.build(EngineParams(), n_trials=k), recording=recording)
    simulate_batch(
        market, ArrayTargets.of(targets.target[0], np.ones(n)), EngineColumns.build(EngineParams()), recording=alone
    )
    np.testing.assert_array_equal(recording.curves, alone.curves)
    np.testing.assert_array_equal(recording.fills, alone.fills)
    assert np.isfinite(recording.curves).all()


KERNEL = [name for _, name, _ in pkgutil.iter_modules(kernel.__path__)]
COVERED: dict[str, list[str]] = {}
for _module, _names in re.findall(r"^    (\w+): (.*)$", reference_engine.__doc__, re.MULTILINE):
    COVERED.setdefault(_module, []).extend(_names.split())


def test_reference_engine_covers_modules_that_exist():
    assert set(COVERED) <= set(KERNEL)


@pytest.mark.parametrize("name", KERNEL)
def test_compiled_function_is_covered_by_the_reference_engine_or_has_a_plain_twin(name):
    module = importlib.import_module(f"alphapulse.backtesting.kernel.{name}")
    compiled = {
        function
        for function, value in vars(module).items()
        if (isinstance(value, Dispatcher | _Intrinsic) or hasattr(value, "is_compiled"))
        and value.__module__ == module.__name__
    }
    assert sorted(COVERED.get(name, [])) == sorted(f for f in compiled if not hasattr(module, f"{f}_python"))
