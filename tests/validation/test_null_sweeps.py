"""The p-value of a search: by hand, on chance itself, and on markets with and without timing."""

import math
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest

from alphapulse.market.bars import Bars
from alphapulse.validation.null_sweeps import (
    as_good,
    failed_value,
    fewest_draws,
    holdout_p,
    n_holdout_surrogates,
    n_null_sweeps,
    null_seconds,
    null_sweeps,
    weigh_null_sweeps,
)

NAN = math.nan


def daily_bars(moves):
    close = 100 * np.exp(np.cumsum(moves))
    n = len(close)
    unknown = np.full(n, NAN)
    return Bars("X", "1d", np.arange(n) * 86_400 * 10**9, close, close, close, close, unknown, unknown)


def test_p_of_a_whole_test():
    weighed = weigh_null_sweeps([0.1, 0.9, 0.5, 0.3], 0.5, n_wanted=4, factor=1.5)
    assert asdict(weighed) == {
        "p": 3 / 5,
        "p_ledger": 3 / 5 * 1.5,
        "n_done": 4,
        "n_wanted": 4,
        "n_as_good": 2,
        "stopped": "complete",
        "observed": 0.5,
        "values": (0.1, 0.9, 0.5, 0.3),
        "n_failed": 0,
    }
    assert weigh_null_sweeps([0.1] * 19, 0.5, n_wanted=19).p == 0.05
    assert weigh_null_sweeps([0.1] * 19, 0.5, n_wanted=19, factor=61.0).p_ledger == 1.0


@pytest.mark.parametrize("maximize", [True, False])
def test_failed_null_sweeps_count_as_good_and_three_of_them_end_the_test(maximize):
    sign, failed = (1.0 if maximize else -1.0), failed_value(maximize=maximize)
    worse = [-sign] * 19
    weighed = weigh_null_sweeps([failed, *worse[:9], failed, *worse[:8]], 0.5 * sign, n_wanted=19, maximize=maximize)
    assert (weighed.p, weighed.n_as_good, weighed.n_failed, weighed.stopped) == (3 / 20, 2, 2, "complete")
    values = [failed, *worse[:9], failed, failed, *worse]
    weighed = weigh_null_sweeps(values, 0.5 * sign, n_wanted=99, maximize=maximize)
    assert math.isnan(weighed.p)
    assert (weighed.n_done, weighed.n_as_good, weighed.n_failed, weighed.stopped) == (12, 3, 3, "failed")
    # Ten as good that came before decide; what a search did not find is no failure.
    values = [sign] * 9 + [failed, failed, failed]
    assert weigh_null_sweeps(values, 0.5 * sign, n_wanted=99, maximize=maximize).stopped == "exceedances"
    assert weigh_null_sweeps([NAN] * 19, 0.5 * sign, n_wanted=19, maximize=maximize).n_failed == 0


def test_p_of_a_test_that_ends_early():
    values = [1.0, 0.0] * 30
    weighed = weigh_null_sweeps(values, 0.5, n_wanted=99)
    # The tenth as good is the 19th surrogate.
    assert (weighed.p, weighed.n_done, weighed.n_as_good, weighed.stopped) == (10 / 19, 19, 10, "exceedances")
    assert weighed.values == tuple(values[:19])
    # What other workers have already run beyond the end changes nothing.
    for n in range(19, 60):
        assert weigh_null_sweeps(values[:n], 0.5, n_wanted=99) == weighed
    for n in range(19):
        assert weigh_null_sweeps(values[:n], 0.5, n_wanted=99).stopped == "budget"


def test_the_tenth_as_good_may_be_the_last():
    values = [0.0] * 9 + [1.0] * 10
    assert weigh_null_sweeps(values, 0.5, n_wanted=19).p == 10 / 19
    assert weigh_null_sweeps([0.0] * 10 + [1.0] * 9, 0.5, n_wanted=19).p == 10 / 20


@pytest.mark.parametrize(("n_wanted", "values"), [(99, [0.1] * 50), (99, []), (0, [])])
def test_an_unfinished_test_has_no_p(n_wanted, values):
    weighed = weigh_null_sweeps(values, 0.5, n_wanted=n_wanted)
    assert weighed.stopped == "budget"
    assert math.isnan(weighed.p)
    assert math.isnan(weighed.p_ledger)
    assert weighed.n_done == len(values)


def test_surrogates_beyond_those_wanted_do_not_count():
    assert weigh_null_sweeps([0.0] * 19 + [1.0] * 20, 0.5, n_wanted=19).p == 0.05


@pytest.mark.parametrize(
    ("value", "observed", "maximize", "good"),
    [
        (1.0, 1.0, True, True),
        (0.9, 1.0, True, False),
        (1.1, 1.0, True, True),
        (0.9, 1.0, False, True),
        (1.0, 1.0, False, True),
        (1.1, 1.0, False, False),
        (NAN, 1.0, True, False),
        (NAN, -1e300, False, False),
        (1.0, NAN, True, True),
        (1.0, NAN, False, True),
        (NAN, NAN, True, True),
    ],
)
def test_as_good(value, observed, maximize, good):
    assert as_good([value], observed, maximize=maximize).tolist() == [good]


def test_a_search_without_a_value_is_no_better_than_chance():
    assert weigh_null_sweeps([0.1] * 99, NAN, n_wanted=99).p == 1.0


def test_p_is_uniform_where_there_is_nothing():
    """Of exchangeable values p <= a has the chance a, at the levels that the draws allow."""
    rng = np.random.default_rng(0)
    p = np.array([weigh_null_sweeps(x[1:], x[0], n_wanted=99).p for x in rng.standard_normal((4000, 100))])
    for level in (0.01, 0.05, 0.1):
        assert np.mean(p <= level + 1e-12) == pytest.approx(level, abs=3.5 * math.sqrt(level * (1 - level) / 4000))
    for level in (0.2, 0.5, 0.8):
        assert np.mean(p <= level) <= level + 3.5 * math.sqrt(level * (1 - level) / 4000)


def test_early_ends_cost_a_third():
    rng = np.random.default_rng(1)
    n_done = [weigh_null_sweeps(x[1:], x[0], n_wanted=99).n_done for x in rng.random((2000, 100))]
    assert 25 < np.mean(n_done) < 40


@pytest.mark.parametrize(("factor", "n"), [(1.0, 19), (0.5, 9), (1.4, 27), (3.0, 59), (5.0, 99), (61.0, 1219)])
def test_fewest_draws(factor, n):
    assert fewest_draws(factor) == n


def test_fewest_draws_can_decide():
    for others in range(0, 30_000, 7):
        factor = (2000 + others) / 2000
        n = fewest_draws(factor)
        assert 1 / (1 + n) * factor <= 0.05
        assert Fraction(2000 + others, 2000) / n > Fraction(1, 20) * Fraction(999_999, 1_000_000)


@pytest.mark.parametrize(
    ("asked", "seconds_each", "seconds", "factor", "n"),
    [
        (99, 1.0, 120.0, 1.0, 99),
        (99, 1.3, 120.0, 1.0, 39),
        (99, 3.1, 120.0, 1.0, 19),
        (99, 6.4, 120.0, 1.0, 0),
        (99, 1.0, 120.0, 5.0, 99),
        (99, 1.0, 120.0, 6.0, 119),
        (99, 1.0, 120.0, 7.0, 39),
        (999, 0.1, 120.0, 1.0, 999),
        (19, 1.0, 120.0, 1.0, 19),
        (19, 1.0, 120.0, 1.5, 29),
        (19, 5.0, 120.0, 1.5, 19),
        (9, 1.0, 120.0, 1.0, 19),
        (0, 1.0, 120.0, 1.0, 0),
    ],
)
def test_n_null_sweeps(asked, seconds_each, seconds, factor, n):
    assert n_null_sweeps(asked, seconds_each=seconds_each, seconds=seconds, factor=factor) == n


def test_null_seconds():
    assert null_seconds(10.0) == 120.0
    assert null_seconds(90.0) == 180.0
    assert null_seconds(90.0, 7.0) == 7.0


def test_holdout_p():
    assert n_holdout_surrogates(1) == n_holdout_surrogates(50) == 999
    assert n_holdout_surrogates(51) == 1019
    assert holdout_p([0.0, 1.0, NAN, 0.5], 0.5) == 3 / 5
    assert holdout_p([0.0] * 1019, 0.5) * 51 <= 0.05
    assert math.isnan(holdout_p([0.0, 1.0], NAN))


def moving_average_search(bars):
    """Best mean daily return over a few windows of going long above an average and short below it."""
    close = np.log(bars.close)
    total = np.concatenate([[0.0], np.cumsum(close)])
    best = -math.inf
    for window in range(2, 40, 3):
        average = (total[window:] - total[:-window]) / window
        position = np.sign(close[window - 1 :] - average)
        best = max(best, float(np.mean((position[:-1] * np.diff(close[window - 1 :]))[40 - window :])))
    return best


def test_null_sweeps_find_timing():
    rng = np.random.default_rng(4)
    drift = np.repeat(rng.choice([-0.003, 0.003], 40), 30)
    found = null_sweeps(daily_bars(drift + rng.normal(0, 0.01, 1200)), moving_average_search, n_wanted=39)
    assert found.stopped == "complete"
    assert found.p == 1 / 40


def test_null_sweeps_do_not_mistake_drift_for_timing():
    """A rising market, searched by rules that are long more than short."""
    p = []
    for seed in range(40):
        moves = np.random.default_rng(seed).normal(0.001, 0.01, 500)
        p.append(null_sweeps(daily_bars(moves), moving_average_search, n_wanted=19, seed=seed).p)
    # 40 draws of a uniform: six or more of at most .05 have a chance of 1 %.
    assert np.sum(np.array(p) <= 0.05) < 6
    assert 0.3 < np.mean(p) < 0.75


def test_null_sweeps_depend_on_seed_and_block_alone():
    bars = daily_bars(np.random.default_rng(0).normal(0, 0.01, 300))
    one = null_sweeps(bars, moving_average_search, n_wanted=19)
    assert null_sweeps(bars, moving_average_search, n_wanted=19) == one
    assert null_sweeps(bars, moving_average_search, n_wanted=19, seed=1).values != one.values
    assert null_sweeps(bars, moving_average_search, n_wanted=19, block=5).values != one.values
    # More of them begin with the same.
    more = null_sweeps(bars, moving_average_search, n_wanted=39)
    assert more.values[: one.n_done] == one.values


def test_null_sweeps_run_no_search_in_vain():
    calls = []

    def search(bars):
        calls.append(bars)
        return 0.0

    weighed = null_sweeps(daily_bars(np.ones(9)), search, n_wanted=99)
    assert (weighed.p, weighed.n_done) == (1.0, 10)
    assert len(calls) == 11
    calls.clear()
    assert math.isnan(null_sweeps(daily_bars(np.ones(9)), search, n_wanted=0).p)
    assert len(calls) == 1


def test_null_sweeps_of_a_minimised_value():
    moves = np.random.default_rng(2).normal(0, 0.01, 300)
    up = null_sweeps(daily_bars(moves), moving_average_search, n_wanted=19)
    down = null_sweeps(daily_bars(moves), lambda bars: -moving_average_search(bars), n_wanted=19, maximize=False)
    assert down.p == up.p
