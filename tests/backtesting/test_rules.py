"""The engine's rules one by one, worked by hand, and what holds under all of them together."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn_engines import draw_full_engine, draw_prices, draw_target, make_market
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapulse.backtesting.backtester import Backtester
from alphapulse.backtesting.params import EngineParams
from alphapulse.backtesting.trial import run_trial

FREE = {"commission": 0.0, "slippage": 0.0, "stop": {"kind": "none"}, "rebalance_band": 0.5}


def trade(rows, targets, **engine):
    """A backtest of days, rows of open, high, low and close, without costs and stops unless they are given."""
    index = pd.date_range("2024-01-01", periods=len(rows), tz="UTC")
    prices = pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=index, dtype=float)
    return Backtester(**FREE | engine).backtest(prices, pd.Series(targets, index, dtype=float))


def flat(n, price=100.0):
    return [(price,) * 4] * n


def test_a_trailing_percentage_is_kept_as_the_price_rises():
    # 10 % below the best close 300 is 270; the low of the dip is 288. At the first price it would have been 10 points.
    rows = [(100,) * 4, (100, 150, 99, 150), (150, 300, 150, 300), (300, 301, 288, 290), (290, 290, 265, 268)]
    result = trade(rows, [1] * 5, stop={"kind": "percent", "percent": 0.1, "trailing": True})
    assert result.trades["reason"].tolist() == ["stop"]
    assert result.trades["exit_price"].tolist() == pytest.approx([270.0])


def test_leverage_is_wiped_out_inside_a_bar():
    # Ten times 100,000 at 100 is 10,000 units on a debt of 900,000: nothing is left at 90, and the low is 85.
    rows = [*flat(2), (100, 101, 85, 99), (99, 120, 99, 120)]
    result = trade(rows, [10] * 4, max_leverage=10, rebalance_band=9)
    assert result.ruined
    assert result.equity.tolist() == [100_000.0, 100_000.0, 0.0, 0.0]
    assert result.trades["reason"].tolist() == ["liquidation"]
    assert result.trades["exit_price"].tolist() == pytest.approx([90.0])


def test_liquidation_leaves_the_margin():
    # 4,000 units at 100 on a debt of 300,000; with a margin of a fifth: 4000 p - 300000 = 0.2 * 4000 p at p = 93.75.
    result = trade([*flat(2), (100, 100, 90, 95)], [4] * 3, max_leverage=4, maintenance_margin=0.2, rebalance_band=3)
    assert not result.ruined
    assert result.trades["exit_price"].tolist() == pytest.approx([93.75])
    assert result.equity.iloc[-1] == pytest.approx(75_000.0)


def test_costs_of_an_order_by_hand():
    # v' = E - costs: the commission of 0.005 a unit on some 995 units is below the minimum of 10, so that
    # v' = 100000 - 10 - 0.001 v', 99890.11; the sale of all of it costs 10 + 99.89.
    result = trade(flat(4), [1, 1, 0, 0], commission_per_unit=0.005, commission_minimum=10.0, slippage=0.001)
    bought = 99_990 / 1.001
    assert result.fills["value"].tolist() == pytest.approx([bought, -bought])
    assert result.fills["cost"].tolist() == pytest.approx([10 + 0.001 * bought] * 2)
    assert result.trades["net_profit"].tolist() == pytest.approx([-2 * (10 + 0.001 * bought)])


def test_a_negative_commission_is_a_rebate():
    result = trade(flat(3), [1, 1, 1], commission=-0.001)
    assert result.metrics["costs_paid"] < 0
    assert result.equity.iloc[-1] == pytest.approx(100_000 / 0.999)


def test_lots_round_toward_zero_and_a_small_account_buys_none():
    assert trade(flat(2, 30.0), [1, 1], initial_capital=100.0, lot=1.0).fills["position"].tolist() == [3.0]
    assert trade(flat(2, 30.0), [-1, -1], initial_capital=100.0, lot=1.0).fills["position"].tolist() == [-3.0]
    assert trade(flat(2, 30.0), [1, 1], initial_capital=29.0, lot=1.0).fills.empty
    # A quotient that is a whole number but for rounding is that number.
    assert trade(flat(2, 0.1), [1, 1], initial_capital=0.3, lot=1.0).fills["position"].tolist() == [3.0]


def test_take_profit_of_twice_the_risk_pays_the_commission_alone():
    rows = [*flat(2), (101, 111, 101, 105)]
    stop = {"kind": "percent", "percent": 0.05}
    result = trade(
        rows, [1] * 3, stop=stop, take_profit={"kind": "stop", "multiplier": 2.0}, commission=0.01, slippage=0.002
    )
    assert result.trades["reason"].tolist() == ["take_profit"]
    assert result.trades["exit_price"].tolist() == pytest.approx([110.0])
    assert result.fills["cost"].iloc[1] == pytest.approx(0.01 * abs(result.fills["value"].iloc[1]))


def test_a_bar_that_touches_both_levels_fills_the_stop_and_is_counted():
    levels = {"stop": {"kind": "percent", "percent": 0.05}, "take_profit": {"kind": "percent", "percent": 0.05}}
    both = trade([*flat(2), (100, 106, 94, 100)], [1] * 3, **levels)
    assert (both.trades["reason"].tolist(), both.n_both) == (["stop"], 1)
    opened = trade([*flat(2), (107, 108, 94, 100)], [1] * 3, **levels)
    assert (opened.trades["reason"].tolist(), opened.trades["exit_price"].tolist()) == (["take_profit"], [107.0])
    assert opened.n_both == 0


def test_max_bars_closes_at_the_open_and_blocks():
    result = trade(flat(8), [1, 1, 1, 1, 1, 0, 1, 1], max_bars=2)
    start = result.equity.index[0]
    days = lambda column: [(t - start).days for t in result.trades[column]]  # noqa: E731
    # Opened on day 1, closed on day 3; the target 0 due on day 6 lets it open again on day 7.
    assert (days("timestamp"), days("exit_timestamp")) == ([1, 7], [3, 7])
    assert result.trades["reason"].tolist() == ["time", "end"]


def test_a_flip_takes_the_place_of_a_time_exit():
    result = trade(flat(6), [1, 1, -1, -1, -1, -1], max_bars=2)
    assert result.trades["reason"].tolist() == ["target", "time"]
    assert result.fills["reason"].tolist() == ["order", "order", "time"]


def test_sizing_by_risk_loses_what_it_risks():
    # A stop 4 % away and a risk of 1 % make a quarter of the equity.
    stop = {"kind": "percent", "percent": 0.04}
    sizing = {"kind": "risk", "risk_per_trade": 0.01}
    result = trade([*flat(2), (100, 100, 90, 95)], [0.3] * 3, stop=stop, sizing=sizing, rebalance_band=0.0)
    assert result.fills["value"].iloc[0] == pytest.approx(25_000.0)
    assert result.equity.iloc[-1] == pytest.approx(99_000.0)


def test_sizing_by_volatility_aims_at_the_target():
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 60)))
    rows = [(c,) * 4 for c in close]
    sizing = {"kind": "volatility", "target_volatility": 0.08, "window": 20}
    result = trade(rows, [1] * 60, sizing=sizing, rebalance_band=0.0, execution="same_close", periods_per_year=252)
    realized = np.diff(np.log(close))[20:40].std(ddof=1) * math.sqrt(252)
    assert result.allocation.iloc[40] == pytest.approx(0.08 / realized, rel=1e-9)
    assert (result.allocation.iloc[:20] == 0).all()


def test_allow_short_false_makes_a_strategy_long_only():
    result = trade(flat(6), [1, -1, -1, 1, 1, 1], allow_short=False)
    assert (result.allocation >= 0).all()
    assert result.trades["side"].tolist() == ["long", "long"]


def test_joined_rates_are_paid():
    index = pd.date_range("2024-01-01", periods=6, tz="UTC", freq="8h")
    close, one = pd.Series(100.0, index), pd.Series(1.0, index)
    engine = FREE | {"execution": "same_close", "periods_per_year": 100}
    # One inside bar 0, one inside bar 2, one at the very end of bar 4, which shorts would pay.
    stamps = [index[0], index[2] + pd.Timedelta("1h"), index[5]]
    funding = pd.Series([0.001, 0.002, -0.001], stamps)
    result = Backtester(**engine, funding="F").backtest(close, one, rates={"F": funding})
    assert result.equity.tolist() == pytest.approx([99_900, 99_900, 99_700, 99_700, 99_800, 99_800])
    assert result.trades["net_profit"].tolist() == pytest.approx([-200.0])
    borrow = pd.Series([0.1, 0.2], [index[0], index[4]])
    result = Backtester(**engine, short_borrow_rate="B").backtest(close, -one, rates={"B": borrow})
    # 0.1 / 100 of 100,000 in each of three bars (the rate of bar 4's start is known at the end of bar 3).
    assert np.diff(result.equity).round(6).tolist() == [-100.0, -100.0, -200.0, -200.0, -200.0]
    with pytest.raises(ValueError, match=r"`engine\.funding` names a series 'F'; pass rates="):
        Backtester(**engine, funding="F").backtest(close, one)


@pytest.mark.parametrize("capital", [1e2, 1e5, 1e12])
@pytest.mark.parametrize("price", [1e-8, 1.0, 1e8])
def test_a_full_allocation_that_is_held_sends_no_order(capital, price):
    moves = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, 50)))
    rows = [(price * m,) * 4 for m in moves]
    result = trade(rows, [1.0] * 50, rebalance_band=0.0, commission=0.001, slippage=0.0005, initial_capital=capital)
    assert len(result.fills) == 1


def test_the_open_position_and_the_next_target_are_told():
    result = trade(flat(4), [0.5, 0.5, 0.5, 0.7], stop={"kind": "percent", "percent": 0.1}, rebalance_band=0.1)
    held = result.position
    assert (held.units, held.entry_price, held.stop, held.take_profit) == (500.0, 100.0, 90.0, None)
    assert (held.value, held.unrealised_profit, result.target) == pytest.approx((50_000.0, 0.0, 0.7))
    assert trade(flat(3), [1, 0, 0]).position is None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["calm", "wild", "gaps", "crash", "squeeze"]))
def test_identities_hold_under_all_rules(seed, kind):
    rng = np.random.default_rng(seed)
    prices, n = draw_prices(rng, 50, kind), 50
    engine, target = draw_full_engine(rng), draw_target(rng, n)
    atr = np.abs(rng.normal(2, 1, n))
    result = run_trial(make_market(*prices), target, atr, engine)
    money = engine.initial_capital + result.equity.max()
    # Equity = capital + net profits + interest + the open trade.
    if engine.cash_rate == 0:
        found = engine.initial_capital + result.trades["net_profit"].sum()
        assert result.equity.iloc[-1] == pytest.approx(found, abs=1e-11 * money)
    # The first bars alone give the first values.
    cut = run_trial(make_market(*(p[:30] for p in prices)), target[:30], atr[:30], engine)
    np.testing.assert_array_equal(cut.equity, result.equity.iloc[:30])
    # Doubled capital doubles equity where nothing is charged by the order and nothing is rounded.
    free = replace(engine, commission_per_order=0.0, commission_minimum=0.0, lot=0.0)
    single = run_trial(make_market(*prices), target, atr, free)
    double = run_trial(make_market(*prices), target, atr, replace(free, initial_capital=2 * free.initial_capital))
    np.testing.assert_allclose(double.equity, 2 * single.equity, rtol=1e-12)
    # Scaled prices change nothing where nothing is charged or rounded by the unit.
    free = replace(engine, commission_per_unit=0.0, lot=0.0)
    single = run_trial(make_market(*prices), target, atr, free)
    scaled = run_trial(make_market(*(4.0 * p for p in prices)), target, 4.0 * atr, free)
    np.testing.assert_allclose(scaled.equity, single.equity, rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"maintenance_margin": 0.5, "max_leverage": 2.0}, "maintenance_margin \\* max_leverage < 1"),
        ({"maintenance_margin": 1.0, "max_leverage": 0.5}, "maintenance_margin < 1"),
        ({"commission_minimum": -1.0}, r"engine\.commission_minimum"),
        ({"lot": math.inf}, r"engine\.lot"),
        ({"max_bars": 2.5}, r"engine\.max_bars"),
        ({"take_profit": {"kind": "both"}}, r"engine\.take_profit\.kind"),
        ({"sizing": {"window": 1}}, r"engine\.sizing\.window"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        EngineParams(**fields)
