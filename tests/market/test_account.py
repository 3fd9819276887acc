"""Many symbols side by side on one calendar: what a strategy sees of them, and surrogates that keep their ties."""

from dataclasses import replace

import numpy as np
import pytest

from alphapulse.market.account import account_bars, account_market, member_bars
from alphapulse.market.bars import Bars
from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.market.market import Market
from alphapulse.market.surrogates import permute_account, permute_universe, surrogate_market
from alphapulse.market.universe import universe_market
from alphapulse.strategies.indicators import sma

DAY = 86_400 * 10**9


def make_bars(symbol, days, seed):
    rng = np.random.default_rng(seed)
    days = np.asarray(days)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
    columns = {
        "timestamp": days * DAY,
        "open": close * 1.001,
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": rng.uniform(1, 2, len(days)),
        "volatility": 20.0 + np.sin(days),
        "others": {"GOLD": 50.0 + np.cos(days)},
    }
    for column in columns.values():
        if isinstance(column, np.ndarray):
            column.flags.writeable = False
    parts = {f"GOLD.{name}": columns["others"]["GOLD"] * 1.0 for name in ("open", "high", "low", "volume")}
    return Bars(symbol=symbol, timeframe="1d", parts=parts, **columns)


@pytest.fixture
def members():
    days = np.arange(300)
    return [
        make_bars("LONG", days, 1),
        make_bars("BRK.B", np.delete(days, [150, 151, 222])[100:], 2),
        make_bars("DEAD", days[:200], 3),
    ]


def test_account_bars_lie_side_by_side(members):
    bars = account_bars(members)
    assert bars.symbols == ("LONG", "BRK.B", "DEAD")
    assert len(bars) == 300
    close = bars.matrix()
    assert close.shape == (300, 3)
    for column, member in enumerate(members):
        there = np.isin(bars.timestamp, member.timestamp)
        np.testing.assert_array_equal(close[there, column], member.close)
        assert np.isnan(close[~there, column]).all()
        np.testing.assert_array_equal(bars.of(member.symbol).high[there], member.high)
    np.testing.assert_array_equal(bars.volatility, members[0].volatility)
    np.testing.assert_array_equal(bars.others["GOLD"], members[0].others["GOLD"])
    with pytest.raises(ValueError, match="No bars of 'LONGER'"):
        bars.of("LONGER")
    with pytest.raises(ValueError, match="universe=account"):
        members[0].matrix()


def test_member_bars_are_those_that_went_in(members):
    bars = account_bars(members)
    for member in members:
        own = member_bars(bars, member.symbol)
        assert own.symbol == member.symbol
        assert own.symbols == ()
        for name in ("timestamp", "open", "high", "low", "close", "volume", "volatility"):
            np.testing.assert_array_equal(getattr(own, name), getattr(member, name))
        np.testing.assert_array_equal(own.others["GOLD"], member.others["GOLD"])
        assert set(own.parts) == set(member.parts)


@pytest.mark.parametrize("attached", [False, True])
def test_an_indicator_of_a_symbol_is_that_of_its_own_bars(members, attached):
    bars = account_bars(members)
    if attached:
        bars = IndicatorCache().attach(bars)
    for member in members:
        average = bars.of(member.symbol).indicator(sma, "close", 20)
        there = np.isin(bars.timestamp, member.timestamp)
        np.testing.assert_array_equal(average[there], sma(member.close, 20))
        assert np.isnan(average[~there]).all()


def test_the_index_sees_no_listing_ahead(members):
    whole, early = account_bars(members), account_bars([members[0], members[1][:20], members[2]])
    np.testing.assert_array_equal(whole.close[:100], early.close[:100])
    moves = np.array([m.close[1:201] / m.close[:200] - 1 for m in (members[0],)])
    assert whole.close[0] == 1.0
    np.testing.assert_allclose(whole.close[-1] / whole.close[-2] - 1, np.mean([
        m.close[-1] / m.close[-2] - 1 for m in members[:2]
    ]), rtol=1e-9)  # fmt: skip
    assert moves.shape == (1, 200)


def test_market_is_scored_from_the_first_that_is(members):
    market = account_market([Market.of(member, 10 + place, member.symbol) for place, member in enumerate(members)])
    assert market.first == 10
    assert market.fingerprint != account_market([Market.of(member, 10, "other") for member in members]).fingerprint
    assert len(market.bars[:50]) == 50
    assert market.bars[:50].symbols == market.bars.symbols


def test_surrogates_are_those_of_the_universe(members):
    lone = [replace(member, others={}, parts={}) for member in members]
    parts = [Market.of(member, 10, member.symbol) for member in lone]
    account = permute_account(account_market(parts), np.random.default_rng(4), 3)
    universe = permute_universe(universe_market(parts), np.random.default_rng(4), 3)
    for member in universe.members:
        own = member_bars(account.bars, member.bars.symbol)
        for name in ("timestamp", "open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(own, name), getattr(member.bars, name))


def test_surrogates_move_what_is_joined_in_the_same_order(members):
    market = account_market([Market.of(member, 10, member.symbol) for member in members])
    again = surrogate_market(market, 7)
    assert set(again.bars.others) == set(market.bars.others)
    assert set(again.bars.parts) == set(market.bars.parts)
    moves = np.diff(np.log(market.bars.others["GOLD"]))[9:], np.diff(np.log(market.bars.others["LONG"]))[9:]
    moved = np.diff(np.log(again.bars.others["GOLD"]))[9:], np.diff(np.log(again.bars.others["LONG"]))[9:]
    before, after = (sorted(zip(*(np.round(m, 9) for m in pair), strict=True)) for pair in (moves, moved))
    # The same pairs of moves, in another order.
    np.testing.assert_allclose(before, after, atol=2e-9)
    assert not np.allclose(moves[1], moved[1])
    np.testing.assert_array_equal(again.bars.timestamp, market.bars.timestamp)
    same = surrogate_market(market, 7).bars.matrix()
    np.testing.assert_array_equal(again.bars.matrix(), same)
