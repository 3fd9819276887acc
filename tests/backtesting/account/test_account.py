"""The engine of one account against plain Python, on markets and settings drawn to be awkward, and worked by hand."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from drawn_accounts import (
    DAY,
    draw_account_engine,
    draw_account_market,
    draw_account_targets,
    own_bars,
    plain_engine,
)
from drawn_engines import draw_engine, draw_full_engine, draw_prices, draw_target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_account import run_reference_account

from alphapulse.backtesting.account.batch import AccountRecording, simulate_account
from alphapulse.backtesting.account.state import DELISTED_FILL
from alphapulse.backtesting.batch import OK, RUINED, EngineColumns
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.params import EngineParams, SizingParams
from alphapulse.backtesting.trades import FILL_REASONS
from alphapulse.backtesting.trial import run_trial
from alphapulse.market.account import account_market
from alphapulse.market.market import Market

REASONS = FILL_REASONS | {DELISTED_FILL: "delisted"}


@dataclass
class Given:
    """Targets that are there already: `AccountTargets`."""

    target: np.ndarray
    atr: np.ndarray
    members: np.ndarray
    failures: dict = field(default_factory=dict)

    def groups(self):
        yield self.members, self.target, self.atr


def run(market, target, engine, atr=None):
    recording = AccountRecording()
    atr = np.full(target.shape, np.nan) if atr is None else atr
    outcome = simulate_account(
        market, Given(target, atr, np.arange(1)), EngineColumns.build(engine), recording=recording
    )
    return recording, dict(zip(METRICS, outcome.metrics[0], strict=True)), outcome


def assert_agrees(seed):
    rng = np.random.default_rng(seed)
    market = draw_account_market(rng)
    target, atr = draw_account_targets(rng, market)
    engine = draw_account_engine(rng, market.bars.symbols)
    wanted = run_reference_account(market, target, atr, engine)
    got, metrics, outcome = run(market, target, engine, atr)
    capital = engine.initial_capital
    money = max(capital, *wanted.equity, *(abs(c) for c in wanted.cash))
    np.testing.assert_allclose(got.equity, wanted.equity, rtol=1e-12, atol=2e-14 * money)
    reasons = [REASONS[code] for code in got.fills[:, 1]]
    names = [market.bars.symbols[int(s)] for s in got.fills[:, 8]]
    assert [(int(f[0]), n, r) for f, n, r in zip(got.fills, names, reasons, strict=True)] == [
        (t, n, r) for t, n, r, *_ in wanted.fills
    ]
    if wanted.fills:
        prices, units, costs = (np.array([f[i] for f in wanted.fills]) for i in (3, 4, 5))
        np.testing.assert_allclose(got.fills[:, 2], prices, rtol=1e-12)
        value = 1e-12 * np.maximum(np.abs(units * prices), 0.02 * money)
        assert (np.abs(got.fills[:, 3] - units) * prices <= value).all()
        assert (np.abs(got.fills[:, 5] - costs) <= value + 1e-12 * costs).all()
    held = np.array(wanted.units) * np.nan_to_num(market.bars.matrix()[market.first :])
    away = np.abs(got.curves[:, 2:] - np.array(wanted.units)) * np.nan_to_num(market.bars.matrix()[market.first :])
    assert (away <= 1e-12 * np.maximum(np.abs(held), 0.02 * money)).all()
    assert outcome.status[0] == (RUINED if wanted.ruined else OK)
    assert got.n_both == wanted.n_both
    assert metrics["exposure"] == pytest.approx(wanted.n_exposed / market.n_scored, rel=1e-12)
    assert metrics["costs_paid"] == pytest.approx(wanted.costs, rel=1e-11, abs=1e-12 * money)
    for name, value in wanted.trade_metrics().items():
        if name in ("n_trades", "average_trade", "longest_trade"):
            assert metrics[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name
    closed = wanted.closed
    if closed:
        profit = sum(trade.profit for trade in closed)
        assert metrics["expectancy"] * len(closed) == pytest.approx(profit, rel=1e-9, abs=1e-11 * money * len(closed))
    # Equity is the capital, what the trades have earned, and interest.
    if not wanted.ruined:
        total = capital + sum(trade.profit for trade in wanted.trades) + wanted.interest
        assert wanted.equity[-1] == pytest.approx(total, rel=1e-9, abs=1e-10 * money)
    np.testing.assert_allclose(
        metrics["total_return"], wanted.equity[-1] / capital - 1.0, rtol=1e-9, atol=1e-11 * money / capital
    )
    return wanted


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_account_matches_reference(seed):
    assert_agrees(seed)


@pytest.mark.slow
def test_account_matches_reference_on_many():
    for seed in range(4_000):
        assert_agrees(seed)


def test_drawn_accounts_see_every_rule():
    seen, n_ruined, n_both = set(), 0, 0
    for seed in range(150):
        result = assert_agrees(seed)
        seen |= {reason for _, _, reason, *_ in result.fills}
        n_ruined += result.ruined
        n_both += result.n_both
    assert seen == set(REASONS.values())
    assert n_ruined
    assert n_both


def test_one_symbol_is_the_engine_of_one_symbol():
    n_compared = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        kind = rng.choice(["calm", "wild", "gaps", "halts"])
        timestamp = np.datetime64("2021-01-29", "ns").astype(np.int64) + np.arange(80) * DAY
        bars = own_bars("S", timestamp, draw_prices(rng, 80, kind))
        alone = Market.of(bars, 5, "")
        target, atr = draw_target(rng, 80), np.abs(rng.normal(2.0, 1.0, 80))
        engine = draw_full_engine(rng) if seed % 2 else draw_engine(rng)
        engine = replace(engine, sizing=SizingParams(), maintenance_margin=0.0, periods_per_year=252.0)
        expected = run_trial(alone, target, atr, engine)
        if expected.ruined or "liquidation" in set(expected.fills["reason"]):
            continue
        n_compared += 1
        got, metrics, _ = run(account_market([alone]), target[:, None], engine, atr[:, None])
        np.testing.assert_allclose(got.equity, expected.equity, rtol=1e-11)
        assert [REASONS[code] for code in got.fills[:, 1]] == expected.fills["reason"].tolist()
        for name, value in expected.metrics.items():
            if name in METRICS and name not in ("skewness", "kurtosis", "value_at_risk_95"):
                assert metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), (seed, name)
    assert n_compared > 90


def two_symbols(closes, holes=((), ()), first=0):
    members = []
    for place, (close, hole) in enumerate(zip(closes, holes, strict=True)):
        there = np.array([day for day in range(len(close)) if day not in hole])
        prices = np.array(close, dtype=float)[there]
        members.append(Market.of(own_bars("AB"[place], there * DAY, [prices] * 4), first, "AB"[place]))
    return account_market(members, 252.0)


def test_orders_are_sized_together_net_of_all_costs():
    market = two_symbols([[100.0] * 4, [50.0] * 4])
    engine = plain_engine(commission=0.01, slippage=0.0, by_symbol={"B": {"commission": 0.02}})
    target = np.tile([0.5, 0.5], (4, 1))
    got, _, _ = run(market, target, engine)
    # E' = E - .01*.5*E' - .02*.5*E', both at their share of what is left.
    left = 100_000.0 / 1.015
    np.testing.assert_allclose(got.curves[-1, 2:] * [100.0, 50.0], [left / 2, left / 2], rtol=1e-14)
    np.testing.assert_allclose(got.equity[-1], left, rtol=1e-14)
    np.testing.assert_allclose(got.curves[-1, 0], 0.0, atol=1e-9)


def test_an_order_whose_direction_the_costs_turn_is_dropped():
    market = two_symbols([[100.0] * 6, [100.0] * 6])
    engine = plain_engine(commission=0.05, slippage=0.0, rebalance_band=0.0)
    target = np.array([[0.5, 0.0]] * 2 + [[0.501, 0.499]] * 4)
    got, _, _ = run(market, target, engine)
    # What B costs leaves less than what A has: A, which was to be added to, is left alone.
    sent = got.fills[got.fills[:, 0] == 3.0]
    assert sent[:, 8].tolist() == [1.0]
    before = 100_000.0 / 1.025
    np.testing.assert_allclose(sent[0, 4], 0.499 * before / (1 + 0.05 * 0.499), rtol=1e-13)


def test_caps_scale_targets():
    market = two_symbols([[100.0] * 4, [100.0] * 4])
    free = {"commission": 0.0, "slippage": 0.0}

    def held(target, **caps):
        got, _, _ = run(market, np.tile(target, (4, 1)), plain_engine(**free, **caps))
        return (got.curves[-1, 2:] * 100.0 / 100_000.0).tolist()

    assert held([1.0, 1.0]) == pytest.approx([0.5, 0.5])
    assert held([1.5, -0.5], max_leverage=1.0) == pytest.approx([0.75, -0.25])
    assert held([1.0, -0.5], max_leverage=2.0, max_net_leverage=0.25) == pytest.approx([0.75, -0.5])
    assert held([1.0, -0.5], max_leverage=2.0, max_net_leverage=0.0) == pytest.approx([0.5, -0.5])
    assert held([0.5, 0.5], max_net_leverage=0.5) == pytest.approx([0.25, 0.25])


def test_what_has_no_bar_is_not_traded_and_keeps_its_room():
    market = two_symbols([[100.0] * 8, [100.0] * 8], holes=((3, 4), ()))
    target = np.array([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 6)
    got, _, _ = run(market, target, plain_engine(commission=0.0, slippage=0.0))
    held = got.curves[:, 2:] * 100.0 / 100_000.0
    # Bars 3 and 4 have no A: it cannot be sold, and B finds no room until it is.
    np.testing.assert_allclose(held[2:6], [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def test_what_has_ended_is_sold_at_its_last_close():
    closes = [[100.0, 100.0, 110.0] + [110.0] * 20, [50.0] * 23]
    market = two_symbols(closes, holes=(tuple(range(3, 23)), ()))
    got, metrics, _ = run(market, np.tile([0.5, 0.0], (23, 1)), plain_engine(commission=0.0, slippage=0.01))
    assert [REASONS[code] for code in got.fills[:, 1]] == ["order", "delisted"]
    assert got.fills[1, 0] == 2
    assert got.fills[1, 2] == 110.0
    assert got.fills[1, 5] == pytest.approx(0.01 * 110.0 * got.fills[0, 3])
    assert metrics["n_trades"] == 1


def test_the_whole_account_is_liquidated_at_a_close():
    market = two_symbols([[100.0, 100.0, 100.0, 70.0, 70.0], [100.0] * 5], first=1)
    # Held as bought, or the order at the open of the fall would come first.
    engine = plain_engine(
        commission=0.0, slippage=0.0, stop_slippage=0.01, max_leverage=2.0, maintenance_margin=0.3,
        rebalance_frequency="month",
    )  # fmt: skip
    got, _, outcome = run(market, np.tile([1.5, -0.5], (5, 1)), engine)
    # At 70 equity is 55,000 and what is held 155,000: above .3 of it; at 50 more of A it would not be.
    assert outcome.status[0] == OK
    assert not (got.fills[:, 1] == 4.0).any()
    market = two_symbols([[100.0, 100.0, 100.0, 60.0, 60.0], [100.0] * 5], first=1)
    got, _, _ = run(market, np.tile([1.5, -0.5], (5, 1)), engine)
    closing = got.fills[got.fills[:, 1] == 4.0]
    # 40,000 are below .3 of 140,000.
    assert closing[:, 0].tolist() == [3.0, 3.0]
    assert got.equity[2] == pytest.approx(40_000.0 - 0.01 * (90_000.0 + 50_000.0))
    assert (got.curves[2:, 2:] == 0.0).all()


def test_a_trial_does_not_depend_on_its_batch():
    rng = np.random.default_rng(3)
    market = draw_account_market(rng, n_symbols=3)
    target, atr = draw_account_targets(rng, market)
    band = np.linspace(0.0, 0.3, 70)
    engine = plain_engine()
    together = simulate_account(
        market, Given(target, atr, np.arange(70)[::-1]), EngineColumns.build(engine, {"rebalance_band": band}, 70)
    )
    for trial in (0, 13, 69):
        _, _, alone = run(market, target, replace(engine, rebalance_band=band[trial]), atr)
        for name in ("metrics", "block_sums", "block_squares"):
            np.testing.assert_array_equal(getattr(together, name)[trial], getattr(alone, name)[0])


def test_targets_that_are_not_finite_fail():
    market = two_symbols([[100.0] * 4, [100.0] * 4])
    target = np.tile([0.5, np.nan], (4, 1))
    _, metrics, outcome = run(market, target, plain_engine())
    assert outcome.status[0] == 2
    assert math.isnan(metrics["sharpe_ratio"])


def test_costs_by_symbol_are_checked():
    with pytest.raises(ValueError, match="no field of one symbol"):
        EngineParams(by_symbol={"A": {"max_leverage": 2.0}})
    with pytest.raises(ValueError, match=r"engine.by_symbol.A.slippage.*in \[0, 0.5\]"):
        EngineParams(by_symbol={"A": {"slippage": 2.0}})
    with pytest.raises(TypeError, match=r"engine.by_symbol.A.commission.*number"):
        EngineParams(by_symbol={"A": {"commission": "much"}})
    # A key of the command line cuts a symbol at its dots.
    cut = EngineParams(by_symbol={"BRK": {"B": {"lot": 1}, "lot": 2, "A": {"lot": 3}}})
    assert cut.by_symbol == {"BRK.B": {"lot": 1.0}, "BRK.A": {"lot": 3.0}, "BRK": {"lot": 2.0}}
    with pytest.raises(TypeError, match="group of keys"):
        EngineParams(by_symbol={"A": 2.0})


@pytest.mark.parametrize("values", [{"by_symbol": {"S": {"commission": 0.0}}}, {"max_net_leverage": 0.5}])
def test_one_symbol_has_no_use_for_what_only_an_account_has(values):
    timestamp = np.arange(20) * DAY
    market = Market.of(own_bars("S", timestamp, [np.linspace(100, 110, 20)] * 4), 2, "")
    with pytest.raises(ValueError, match="universe=account"):
        run_trial(market, np.ones(20), None, EngineParams(**values))
