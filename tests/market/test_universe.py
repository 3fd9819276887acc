"""Many symbols on one calendar: what they are worth in equal parts, and surrogates that keep the ties between them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alphapulse.market.bars import Bars
from alphapulse.market.market import Market
from alphapulse.market.surrogates import surrogate_market
from alphapulse.market.universe import universe_market

DAY = 86_400 * 10**9


def make_member(symbol, days, close, first, **others):
    close = np.asarray(close, dtype=float)
    bars = Bars(
        symbol=symbol,
        timeframe="1d",
        timestamp=np.asarray(days, dtype=np.int64) * DAY,
        open=close * 1.001,
        high=close * 1.01,
        low=close * 0.99,
        close=close,
        volume=np.full(len(close), 5.0),
        volatility=np.full(len(close), np.nan),
        **others,
    )
    return Market.of(bars, first, symbol)


def portfolio(accounts):
    """Worth by day of accounts ({day: equity}, equity before), shared out equally at each turn of a month."""
    days = sorted({day for equity, _ in accounts for day in equity})
    month = {day: pd.Timestamp(day * DAY).to_period("M") for day in days}
    held, worth, level = {}, {}, 1.0
    last = {place: before for place, (_, before) in enumerate(accounts)}
    for place_of_day, day in enumerate(days):
        if place_of_day == 0 or month[day] != month[days[place_of_day - 1]]:
            there = [p for p, (equity, _) in enumerate(accounts) if any(month[d] == month[day] for d in equity)]
            held = {p: (level / len(there), last[p]) for p in there}
        for p, (equity, _) in enumerate(accounts):
            last[p] = equity.get(day, last[p])
        level = sum(share * (last[p] / base if base > 0 else 1.0) for p, (share, base) in held.items())
        worth[day] = level
    return days, np.array([worth[day] for day in days])


@pytest.fixture
def members():
    rng = np.random.default_rng(5)
    days = np.arange(300)
    walk = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (3, 300)), axis=1))
    missing = np.delete(days, [150, 151, 222])
    return [
        make_member("LONG", days, walk[0], 10),
        make_member("LATE", missing[100:], walk[1][missing[100:]], 5),
        make_member("DEAD", days[:200], walk[2][:200], 10),
    ]


def test_a_universe_is_worth_its_symbols_in_equal_parts(members):
    market = universe_market(members)
    accounts = [
        (
            dict(zip((m.bars.timestamp[m.first :] // DAY).tolist(), m.bars.close[m.first :].tolist(), strict=True)),
            m.bars.close[m.first - 1],
        )
        for m in members
    ]
    days, worth = portfolio(accounts)
    assert (market.bars.timestamp[market.first :] // DAY).tolist() == days
    np.testing.assert_allclose(market.bars.close[market.first :], worth, rtol=1e-12)
    assert market.bars.close[market.first - 1] == 1.0
    assert (market.bars.symbol, market.first, len(market.members)) == ("3 symbols", 10, 3)


def test_one_symbol_alone_is_worth_itself(members):
    market = universe_market(members[:1])
    own = members[0].bars
    np.testing.assert_allclose(market.bars.close[10:], own.close[10:] / own.close[9], rtol=1e-12)


def test_a_surrogate_keeps_the_ties_between_symbols(members):
    twin = replace(members[0].bars, symbol="TWIN", close=members[0].bars.close * 3, open=members[0].bars.open * 3)
    twin = replace(twin, high=members[0].bars.high * 3, low=members[0].bars.low * 3)
    market = universe_market([*members, Market.of(twin, 10, "TWIN")])
    surrogate = surrogate_market(market, 3)
    one, late, dead, other = (m.bars for m in surrogate.members)
    np.testing.assert_allclose(other.close, one.close * 3, rtol=1e-11)
    assert not np.allclose(one.close, members[0].bars.close)
    # All that moved is there again, and prices end where they did.
    for bars, member in zip((one, late, dead), members, strict=True):
        np.testing.assert_allclose(bars.close[[0, -1]], member.bars.close[[0, -1]], rtol=1e-11)
        np.testing.assert_allclose(
            np.sort(np.diff(np.log(bars.close))), np.sort(np.diff(np.log(member.bars.close))), atol=1e-10
        )
    # Listings and ends stay; the moves of two symbols on one day move together.
    assert (late.timestamp[0], dead.timestamp[-1]) == (100 * DAY, 199 * DAY)
    assert len(late) == len(members[1].bars)
    assert np.all(np.diff(late.timestamp) > 0)

    def pairs(a, b):
        moves = [
            dict(zip(bars.timestamp[1:].tolist(), np.diff(np.log(bars.close)).tolist(), strict=True)) for bars in (a, b)
        ]
        return sorted((round(moves[0][t], 9), round(moves[1][t], 9)) for t in moves[0] if t in moves[1])

    before = pairs(members[0].bars, members[2].bars)
    assert pairs(one, dead) == before
    # A symbol takes a day without a bar along: the days are others, their number is the same.
    assert set((late.timestamp // DAY).tolist()) != set((members[1].bars.timestamp // DAY).tolist())
    assert surrogate.fingerprint != market.fingerprint
    again = surrogate_market(market, 3)
    assert again.members[1].bars.close.tobytes() == late.close.tobytes()
    assert surrogate.bars.close.tobytes() == again.bars.close.tobytes()


def test_a_surrogate_of_a_hold_out_leaves_its_warm_up(members):
    parts = [Market.of(m.bars, int(np.searchsorted(m.bars.timestamp, 180 * DAY)), m.fingerprint) for m in members]
    market = universe_market(parts)
    surrogate = surrogate_market(market, 0, first=market.first)
    for before, after in zip(market.members, surrogate.members, strict=True):
        assert before.bars.close[: before.first].tobytes() == after.bars.close[: after.first].tobytes()
        assert before.first == after.first
        assert not np.allclose(before.bars.close[before.first :], after.bars.close[after.first :])
