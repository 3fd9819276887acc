"""Bars in random order: what a surrogate keeps, what it destroys, and that it is the same everywhere."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.market import surrogates
from alphapulse.market.bars import PRICES, Bars
from alphapulse.market.market import Market
from alphapulse.market.surrogates import (
    opens_session,
    permute_bars,
    reorder_bars,
    surrogate_generator,
    surrogate_market,
)

DAY, HOUR = 86_400 * 10**9, 3600 * 10**9
MOVES = ("gap", "up", "down", "body")


def daily(n):
    return np.datetime64("2001-01-01", "ns").astype(np.int64) + np.arange(n) * DAY


def sessions(n_days, hours=7, opening=14.5):
    """Hourly bars of a session a day, as of US shares."""
    stamps = (np.arange(n_days) * 24 + opening)[:, None] + np.arange(hours)
    return (stamps.ravel() * HOUR).astype(np.int64)


def make_bars(timestamp, timeframe="1d", seed=0, **changes):
    """Bars whose range holds open and close, some of them without a move."""
    rng = np.random.default_rng(seed)
    n = len(timestamp)
    body, gap = rng.standard_t(4, n) * 0.01, rng.standard_t(4, n) * 0.003
    body[5::50] = 0.0
    close = 100 * np.exp(np.cumsum(gap + body))
    open_ = close * np.exp(-body)
    up, down = np.exp(rng.exponential(0.004, n)), np.exp(-rng.exponential(0.004, n))
    up[5::50] = down[5::50] = 1.0
    open_[5::50] = close[5::50]
    high, low = np.maximum(open_, close) * up, np.minimum(open_, close) * down
    unknown = np.full(n, np.nan)
    return Bars("X", timeframe, timestamp, open_, high, low, close, rng.uniform(1, 2, n), unknown, **changes)


def moves(bars, first=1):
    """Moves (4, n_bars - first) of the bars from `first` on, by `MOVES`."""
    open_ = bars.open[first:]
    ratios = (open_ / bars.close[first - 1 : -1], bars.high[first:] / open_, bars.low[first:] / open_)
    return np.log(np.stack([*ratios, bars.close[first:] / open_]))


def sorted_columns(table):
    """The columns in the order of their first rows, so that two tables with the same columns are equal."""
    return table[:, np.lexsort(table.round(9)[::-1])]


@pytest.fixture(scope="module")
def bars():
    return make_bars(daily(1500))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_permute_bars_keeps_the_moves_and_the_last_close(bars, rng):
    permuted = permute_bars(bars, rng)
    np.testing.assert_allclose(sorted_columns(moves(permuted)), sorted_columns(moves(bars)), atol=1e-9)
    assert not np.allclose(moves(permuted), moves(bars), atol=1e-6)
    assert permuted.close[-1] == pytest.approx(bars.close[-1], rel=1e-12)
    for name in PRICES:
        assert bars.column(name)[0] == permuted.column(name)[0]
    assert permuted.timestamp is bars.timestamp
    assert permuted.volume is bars.volume


def test_permute_bars_leaves_nothing_to_time(rng):
    n = 20_000
    reversing = np.tile([0.01, -0.01], n // 2) + rng.normal(0, 0.001, n)
    close = 100 * np.exp(np.cumsum(reversing))
    bars = replace(make_bars(daily(n)), open=close, high=close, low=close, close=close)
    change = np.diff(np.log(permute_bars(bars, rng).close))
    assert abs(np.corrcoef(change[1:], change[:-1])[0, 1]) < 0.03


def test_permute_bars_lays_every_order_alike():
    """All 24 orders of four moves, each as often as the others."""
    close = np.array([100.0, 101.0, 103.0, 107.0, 115.0])
    bars = replace(make_bars(daily(5)), open=close, high=close, low=close, close=close)
    rng = np.random.default_rng(0)
    seen: dict = {}
    for _ in range(4800):
        key = tuple(np.diff(np.log(permute_bars(bars, rng).close)).round(6))
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 24
    chi_square = sum((n - 200) ** 2 / 200 for n in seen.values())
    # The 99.9 % quantile with 23 degrees of freedom.
    assert chi_square < 49.7


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([1, 2, 7, 100]), st.floats(1e-6, 1e6))
def test_permute_bars_keeps_prices_in_order(seed, n, block, scale):
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.0, 1e-16, 1e-9, 0.01, 0.3], (4, n)) * rng.choice([-1, 1], (4, n))
    close = scale * np.exp(np.cumsum(steps[0]))
    open_ = close * np.exp(steps[1])
    high, low = np.maximum(open_, close) * np.exp(abs(steps[2])), np.minimum(open_, close) * np.exp(-abs(steps[3]))
    bars = replace(make_bars(daily(n)), open=open_, high=high, low=low, close=close)
    permuted = permute_bars(bars, rng, block)
    assert (permuted.high >= np.maximum(permuted.open, permuted.close)).all()
    assert (permuted.low <= np.minimum(permuted.open, permuted.close)).all()
    assert (permuted.low > 0).all()
    assert np.isfinite(permuted.high).all()


def test_bars_without_a_move_stay_flat(bars, rng):
    permuted = permute_bars(bars, rng)
    flat = (bars.high == bars.low).sum()
    assert flat >= 25
    assert (permuted.high == permuted.low).sum() == flat


def test_pieces_keep_their_order_and_are_cut_at_a_random_phase(bars):
    n, block = len(bars) - 1, 21
    places = {tuple(move): place for place, move in enumerate(moves(bars).T.round(8))}
    cuts = set()
    for seed in range(30):
        order = np.array(
            [places[tuple(m)] for m in moves(permute_bars(bars, np.random.default_rng(seed), block)).T.round(8)]
        )
        assert sorted(order) == list(range(n))
        starts = order[np.flatnonzero(np.diff(order, prepend=-2) != 1)]
        assert len(starts) <= n // block + 2
        inner = starts[(starts > 0)] % block
        assert len(set(inner.tolist())) == 1
        cuts.add(int(inner[0]))
    assert len(cuts) > 12


def test_a_piece_as_long_as_the_bars_is_cut_once(bars):
    permuted = permute_bars(bars, np.random.default_rng(0), len(bars) - 1)
    changed = np.abs(moves(permuted) - np.roll(moves(bars), 1, axis=1)).max()
    assert changed > 0
    assert permuted.close[-1] == pytest.approx(bars.close[-1], rel=1e-12)


def test_the_order_as_it_was_gives_the_bars_back(bars):
    index = np.exp(np.random.default_rng(1).normal(3, 0.3, len(bars)))
    index[100:150] = np.nan
    index[:20] = np.nan
    bars = replace(bars, volatility=index, others={"A": bars.close * 2, "B": index})
    same = reorder_bars(bars, np.arange(len(bars)))
    for name in (*PRICES, "volatility", "A", "B"):
        np.testing.assert_allclose(same.column(name), bars.column(name), rtol=1e-11)


def test_other_symbols_follow_the_order_of_the_bars(bars, rng):
    twin, inverse = bars.close * 3.0, 1e6 / bars.close
    permuted = permute_bars(replace(bars, others={"TWIN": twin, "INVERSE": inverse}), rng)
    np.testing.assert_allclose(permuted.others["TWIN"], permuted.close * 3.0, rtol=1e-11)
    np.testing.assert_allclose(permuted.others["INVERSE"], 1e6 / permuted.close, rtol=1e-11)


def test_whole_bars_of_other_symbols_follow_the_order_of_the_bars(bars, rng):
    parts = {f"TWIN.{name}": bars.column(name) * 3.0 for name in ("open", "high", "low")}
    parts["TWIN.volume"] = bars.volume
    twin = bars.close * 3.0
    permuted = permute_bars(replace(bars, others={"TWIN": twin}, parts=parts), rng)
    body = np.log(permuted.close / permuted.open)
    np.testing.assert_allclose(np.log(permuted.of("TWIN").close / permuted.of("TWIN").open)[1:], body[1:], atol=1e-12)
    for name in PRICES:
        np.testing.assert_allclose(permuted.of("TWIN").column(name)[1:], permuted.column(name)[1:] * 3.0, rtol=1e-11)
    np.testing.assert_array_equal(permuted.of("TWIN").volume, bars.volume)
    assert (permuted.of("TWIN").high >= np.maximum(permuted.of("TWIN").open, permuted.of("TWIN").close)).all()


def test_the_index_keeps_its_persistence_and_its_tie_to_the_day(rng):
    n, mean, coefficient = 20_000, np.log(20.0), 0.95
    bars = make_bars(daily(n))
    innovation = -3.0 * np.diff(np.log(bars.close), prepend=np.log(100.0)) + rng.normal(0, 0.02, n)
    y = np.empty(n)
    level = mean
    for t in range(n):
        level = y[t] = mean + coefficient * (level - mean) + innovation[t]
    spread = y.std()
    permuted = permute_bars(replace(bars, volatility=np.exp(y)), rng)
    y = np.log(permuted.volatility)
    # Carried along with their bars the levels would lose their persistence.
    fitted = np.polyfit(y[:-1], y[1:], 1)[0]
    assert fitted == pytest.approx(coefficient, abs=0.01)
    assert y.std() == pytest.approx(spread, rel=0.1)
    assert np.corrcoef(y[1:] - fitted * y[:-1], np.diff(np.log(permuted.close)))[0, 1] < -0.7


def test_the_index_by_hand():
    """Logarithms 3, 4, 3, 2 have mean 3 and coefficient 0, so their innovations are 1, 0 and -1."""
    bars = replace(make_bars(daily(4)), volatility=np.exp([3.0, 4.0, 3.0, 2.0]))
    reordered = reorder_bars(bars, np.array([0, 3, 1, 2]))
    np.testing.assert_allclose(np.log(reordered.volatility), [3.0, 2.0, 4.0, 3.0])
    # Distances from the mean -1, 1, 0: products -1 and 0, squares 1 and 1.
    assert surrogates._autoregression(np.array([0.0, 2.0, 1.0])) == (1.0, -0.5)


@pytest.mark.parametrize("name", ["volatility", "A"])
def test_what_is_unknown_stays_unknown_in_its_place(bars, name):
    column = bars.close.copy()
    column[:30] = np.nan
    column[200:260] = np.nan
    column[700] = np.nan
    changes = {"volatility": column} if name == "volatility" else {"others": {"A": column}}
    for seed in range(5):
        permuted = permute_bars(replace(bars, **changes), np.random.default_rng(seed)).column(name)
        np.testing.assert_array_equal(np.isnan(permuted), np.isnan(column))
        assert permuted[30] == column[30]


def test_unknown_bars_have_a_move_of_nothing_and_the_next_known_one_has_all_of_it():
    """Closes 100, ?, 110, 121: moves 0, ln 1.1, ln 1.1. In the order 2, 3, 1 the second is hidden."""
    other = np.array([100.0, np.nan, 110.0, 121.0])
    bars = replace(make_bars(daily(4)), others={"A": other})
    rebuilt = reorder_bars(bars, np.array([0, 2, 3, 1])).others["A"]
    np.testing.assert_allclose(rebuilt, [100.0, np.nan, 121.0, 121.0])


def test_a_series_that_is_never_known_stays_so(bars, rng):
    permuted = permute_bars(replace(bars, others={"A": np.full(len(bars), np.nan)}), rng)
    assert np.isnan(permuted.volatility).all()
    assert np.isnan(permuted.others["A"]).all()


def test_a_constant_index_stays_constant(bars, rng):
    permuted = permute_bars(replace(bars, volatility=np.full(len(bars), 17.3)), rng)
    np.testing.assert_allclose(permuted.volatility, 17.3)


def test_sessions_open_after_a_night_only():
    opens = opens_session(sessions(20), "1h")
    np.testing.assert_array_equal(np.flatnonzero(opens), np.arange(7, 140, 7))
    # Sessions that run through midnight UTC, as those of Sydney.
    np.testing.assert_array_equal(np.flatnonzero(opens_session(sessions(20, opening=23.0), "1h")), np.arange(7, 140, 7))


def test_no_session_opens_where_the_market_never_closes_or_in_daily_bars():
    around_the_clock = np.arange(500) * HOUR
    assert not opens_session(around_the_clock, "1h").any()
    assert not opens_session(np.delete(around_the_clock, [77, 300]), "1h").any()
    assert not opens_session(daily(100)[::3], "1d").any()


def test_a_lunch_break_opens_no_session():
    morning = sessions(10, hours=3, opening=0.0).reshape(10, 3)
    afternoon = sessions(10, hours=3, opening=4.5).reshape(10, 3)
    opens = opens_session(np.hstack([morning, afternoon]).ravel(), "1h")
    np.testing.assert_array_equal(np.flatnonzero(opens), np.arange(6, 60, 6))


@pytest.mark.parametrize("block", [1, 7, 14])
def test_nights_stay_where_nights_are(block):
    bars = make_bars(sessions(60), "1h")
    opens = opens_session(bars.timestamp, "1h")
    # A night's move is unlike any other.
    gap = np.where(opens, 0.5, 0.0)
    close = bars.close * np.exp(np.cumsum(gap))
    scale = close / bars.close
    bars = replace(bars, **{name: bars.column(name) * scale for name in PRICES})
    for seed in range(5):
        permuted = permute_bars(bars, np.random.default_rng(seed), block)
        nights = moves(permuted)[0] > 0.3
        np.testing.assert_array_equal(nights, opens[1:])
        for which in (opens[1:], ~opens[1:]):
            np.testing.assert_allclose(
                sorted_columns(moves(permuted)[:, which]), sorted_columns(moves(bars)[:, which]), atol=1e-9
            )


def test_whole_sessions_stay_together_in_pieces_of_a_session():
    """Of the two orders a piece holds, the openers' and the others', neither is lost."""
    bars = make_bars(sessions(60), "1h")
    permuted = permute_bars(bars, np.random.default_rng(1), 70)
    places = {tuple(move): place for place, move in enumerate(moves(bars).T.round(8))}
    order = np.array([places[tuple(move)] for move in moves(permuted).T.round(8)])
    assert np.mean(np.diff(order) == 1) > 0.6


def test_a_holdout_surrogate_continues_from_the_last_close_of_the_search():
    bars = make_bars(daily(400), others={"A": make_bars(daily(400), seed=1).close})
    bars = replace(bars, volatility=make_bars(daily(400), seed=2).close)
    market = Market.of(bars, 300, "data")
    held = surrogate_market(market, 0, first=market.first).bars
    for name in (*PRICES, "volatility", "A"):
        np.testing.assert_array_equal(held.column(name)[:300], bars.column(name)[:300])
        assert not np.array_equal(held.column(name)[300:], bars.column(name)[300:])
    np.testing.assert_allclose(sorted_columns(moves(held, 300)), sorted_columns(moves(bars, 300)), atol=1e-9)
    assert held.close[-1] == pytest.approx(bars.close[-1], rel=1e-12)
    assert held.others["A"][-1] == pytest.approx(bars.others["A"][-1], rel=1e-12)


def test_bars_too_few_to_change_places_stay():
    bars = make_bars(daily(3))
    for first in (2, 3, 4):
        np.testing.assert_allclose(permute_bars(bars, np.random.default_rng(0), first=first).close, bars.close)
    assert len(permute_bars(bars[:0], np.random.default_rng(0))) == 0


@pytest.mark.parametrize("wrong", [{"first": 0}, {"block": 0}])
def test_permute_bars_refuses(bars, rng, wrong):
    with pytest.raises(ValueError, match="must hold"):
        permute_bars(bars, rng, **wrong)


def test_a_surrogate_depends_on_fingerprint_block_and_number_alone(bars):
    market = Market.of(bars, 200, "data")
    surrogate = surrogate_market(market, 3)
    assert surrogate_market(market, 3).bars.close.tobytes() == surrogate.bars.close.tobytes()
    # A longer warm-up would move the bars, a later first scored bar does not.
    assert surrogate_market(Market.of(bars, 250, "data"), 3).bars.close.tobytes() == surrogate.bars.close.tobytes()
    others = [
        surrogate_market(market, 4),
        surrogate_market(market, 3, 5),
        surrogate_market(Market.of(bars, 200, "d"), 3),
    ]
    assert len({m.bars.close.tobytes() for m in (market, surrogate, *others)}) == 5
    assert len({m.fingerprint for m in (market, surrogate, *others)}) == 5
    assert surrogate.first == 200
    assert surrogate.block_end is market.block_end


def test_a_surrogate_is_read_only_like_a_market(bars):
    bars = replace(bars, others={"A": bars.close})
    permuted = permute_bars(bars, np.random.default_rng(0))
    for name in (*PRICES, "volatility", "A"):
        column = permuted.column(name)
        assert not column.flags.writeable
        assert column.flags.c_contiguous


def test_surrogates_have_the_bits_of_every_machine():
    """A digest of whole surrogates: it must never change, or stored null sweeps would not be those of a study."""
    index = np.where(np.arange(500) % 7 == 0, np.nan, 20.0 + 5.0 * (np.arange(500) % 11))
    steps = ((np.arange(2000) * 7919) % 1000 - 480).reshape(4, 500) / 2.0**15
    close = 100.0 + np.cumsum(steps[0])
    open_ = close + steps[1]
    high, low = np.maximum(open_, close) + abs(steps[2]), np.minimum(open_, close) - abs(steps[3])
    bars = Bars("X", "1d", daily(500), open_, high, low, close, close, index, {"A": close + 7.0})
    digest = sha256()
    for s, block in ((0, 1), (1, 1), (0, 21)):
        surrogate = surrogate_market(Market.of(bars, 50, "0123abcd"), s, block).bars
        for name in (*PRICES, "volatility", "A"):
            digest.update(surrogate.column(name).tobytes())
    assert digest.hexdigest() == "b19e547856451829350a7494a931df863cb43076719b3b1c33248c1864f49230"


def test_surrogate_generator_is_uniform():
    draws = np.concatenate([surrogate_generator("data", 1, s).random(4) for s in range(500)])
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert len(np.unique(draws)) == 2000


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("_shuffle", (np.random.default_rng(0).random(50),)),
        ("_lay_pieces", (50, 7, 3, np.array([4, 0, 7, 2, 1, 3, 6, 5]))),
        ("_rebuild_prices", (*(make_bars(daily(60)).column(p) for p in PRICES), np.r_[0:4, 59:3:-1], 4)),
        ("_autoregression", (np.array([np.nan, 1.0, 2.0, 1.5, -np.inf, 3.0, 2.5]),)),
        (
            "_rebuild_series",
            (np.array([np.nan, 1.0, 2.0, 1.5, 0.0, 3.0, 2.5]), np.array([0, 6, 5, 4, 3, 2, 1]), 1, True),
        ),
    ],
)
def test_compiled_functions_match_their_specification(name, arguments):
    compiled, plain = getattr(surrogates, name), getattr(surrogates, f"{name}_python")
    np.testing.assert_array_equal(compiled(*arguments), plain(*arguments))
