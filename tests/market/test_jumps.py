import numpy as np
import pytest

from alphapulse.market.jumps import find_faults


def walk(n=1000, volatility=0.01, seed=0):
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(volatility / np.sqrt(2) * rng.standard_t(4, n)))
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, volatility / 4, n))
    return [
        open_,
        np.maximum(open_, close) * (1 + volatility / 2),
        np.minimum(open_, close) * (1 - volatility / 2),
        close,
    ]


def places(mask):
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("volatility", [0.0003, 0.01, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_a_sound_series_has_none(volatility, seed):
    faults = find_faults(*walk(5000, volatility, seed))
    assert not (faults.nonsense | faults.spike | faults.wick | faults.jump).any()


def test_the_crash_of_1987_is_no_error():
    prices = walk()
    closes = {500: -0.0518, 501: -0.2047, 502: 0.0533, 503: 0.0910}
    for place, move in closes.items():
        for column in prices:
            column[place:] *= 1 + move
    faults = find_faults(*prices)
    assert not (faults.nonsense | faults.spike | faults.wick | faults.jump).any()


@pytest.mark.parametrize("ratio", [10.0, 2.0, 0.25, 1.5])
def test_an_unadjusted_split_is_a_jump(ratio):
    prices = walk()
    for column in prices:
        column[600:] /= ratio
    faults = find_faults(*prices)
    assert places(faults.jump) == [600]
    assert not faults.spike.any()
    assert faults.size[600] == pytest.approx(1 / ratio, rel=0.1)


@pytest.mark.parametrize("ratio", [100.0, 0.01, 11.0, 1.4])
@pytest.mark.parametrize("length", [1, 3])
def test_what_comes_back_is_a_spike(ratio, length):
    prices = walk()
    for column in prices:
        column[600 : 600 + length] *= ratio
    faults = find_faults(*prices)
    assert places(faults.spike) == list(range(600, 600 + length))
    assert not (faults.jump | faults.nonsense).any()


@pytest.mark.parametrize(("column", "factor"), [(1, 100.0), (2, 0.01), (0, 10.0), (0, 0.1)])
def test_one_price_of_a_bar_is_enough(column, factor):
    prices = walk()
    prices[column][600] *= factor
    if column == 0:
        prices[1][600], prices[2][600] = max(p[600] for p in prices), min(p[600] for p in prices)
    assert places(find_faults(*prices).spike) == [600]


def test_a_long_wick_is_no_spike():
    prices = walk()
    prices[2][600] /= 4.0
    faults = find_faults(*prices)
    assert places(faults.wick) == [600]
    assert faults.size[600] == pytest.approx(0.25, rel=0.1)
    assert not (faults.spike | faults.jump).any()


def test_nonsense():
    prices = walk()
    prices[1][300] = 1e308
    prices[3][-1] *= 1e4
    prices[1][-1] = prices[3][-1]
    faults = find_faults(*prices)
    assert places(faults.nonsense) == [300, 999]
    assert not (faults.spike | faults.jump).any()


def test_two_spikes_beside_each_other_and_at_the_ends():
    prices = walk()
    for place in (0, 500, 502):
        for column in prices:
            column[place] *= 100.0
    faults = find_faults(*prices)
    assert places(faults.spike) == [500, 502]
    # Nothing says what stood before the first bar.
    assert places(faults.jump) == [1]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_and_flat_series(n):
    faults = find_faults(*(np.ones(n) for _ in range(4)))
    assert not (faults.nonsense | faults.spike | faults.wick | faults.jump).any()
