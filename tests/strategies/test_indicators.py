import math

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.data_pipeline.providers.sample_provider import SampleProvider
from alphapulse.strategies import indicators
from alphapulse.strategies.indicators import (
    atr,
    realized_volatility,
    rolling_highest,
    rolling_lowest,
    rsi,
    sma,
    true_range,
)

WINDOWED = {
    "sma": lambda p, w: sma(p["close"], w),
    "rsi": lambda p, w: rsi(p["close"], w),
    "atr": lambda p, w: atr(p["high"], p["low"], p["close"], w),
    "true_range": lambda p, w: true_range(p["high"], p["low"], p["close"]),
    "realized_volatility": lambda p, w: realized_volatility(p["close"], w, 252.0),
    "rolling_highest": lambda p, w: rolling_highest(p["high"], w),
    "rolling_lowest": lambda p, w: rolling_lowest(p["low"], w),
}


def make_prices(n_bars: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.standard_t(3, n_bars) * 0.01))
    open_ = np.append(close[0], close[:-1]) * np.exp(rng.normal(0, 0.004, n_bars))
    high = np.maximum(open_, close) * (1 + rng.uniform(0, 0.01, n_bars))
    low = np.minimum(open_, close) * (1 - rng.uniform(0, 0.01, n_bars))
    return {"high": high, "low": low, "close": close}


def sample_prices() -> dict[str, np.ndarray]:
    (fetched,) = SampleProvider().fetch(["SAMPLE_SP500"], [], None, None)
    return {name: fetched.bars[name].to_numpy() for name in ("high", "low", "close")}


@pytest.fixture(params=["synthetic", "published"], scope="module")
def prices(request) -> dict[str, np.ndarray]:
    return make_prices(5_000, 3) if request.param == "synthetic" else sample_prices()


@pytest.mark.parametrize("window", [2, 14, 40, 250])
def test_sma_matches_talib(prices, window):
    expected = talib.SMA(prices["close"], window)
    np.testing.assert_allclose(sma(prices["close"], window), expected, rtol=1e-9)


@pytest.mark.parametrize("window", [2, 14, 40, 250])
def test_rsi_matches_talib(prices, window):
    expected = talib.RSI(prices["close"], window)
    got = rsi(prices["close"], window)
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [2, 14, 40])
def test_atr_matches_talib(prices, window):
    # TA-Lib leaves out the first bar's range. A bar in front whose close lies inside it makes its first range ours.
    middle = (prices["high"][0] + prices["low"][0]) / 2
    columns = [np.append(middle, prices[name]) for name in ("high", "low", "close")]
    expected = talib.ATR(*columns, window)[1:]
    got = atr(prices["high"], prices["low"], prices["close"], window)
    assert np.isnan(got[: window - 1]).all()
    np.testing.assert_allclose(got[window - 1 :], expected[window - 1 :], rtol=1e-9)


def test_atr_forgets_how_talib_seeds(prices):
    expected = talib.ATR(prices["high"], prices["low"], prices["close"], 14)
    got = atr(prices["high"], prices["low"], prices["close"], 14)
    np.testing.assert_allclose(got[500:], expected[500:], rtol=1e-9)


def test_true_range_matches_talib(prices):
    columns = (prices["high"], prices["low"], prices["close"])
    got = true_range(*columns)
    assert got[0] == prices["high"][0] - prices["low"][0]
    np.testing.assert_allclose(got[1:], talib.TRANGE(*columns)[1:], rtol=1e-12)


@pytest.mark.parametrize("window", [2, 21, 63])
def test_realized_volatility_matches_pandas(prices, window):
    returns = np.log(pd.Series(prices["close"])).diff()
    expected = returns.rolling(window).std(ddof=1) * math.sqrt(252) * 100
    got = realized_volatility(prices["close"], window, 252.0)
    assert np.isnan(got[:window]).all()
    # Pandas carries a running sum, which is off by more than 1e-9 of a volatility that is nearly 0.
    np.testing.assert_allclose(got[window:], expected[window:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", [1, 2, 20, 55])
def test_rolling_extremes_match_pandas(prices, window):
    highest = pd.Series(prices["high"]).rolling(window).max().to_numpy()
    lowest = pd.Series(prices["low"]).rolling(window).min().to_numpy()
    assert np.array_equal(rolling_highest(prices["high"], window), highest, equal_nan=True)
    assert np.array_equal(rolling_lowest(prices["low"], window), lowest, equal_nan=True)


def test_sma_of_four_bars():
    assert np.array_equal(sma(np.array([1.0, 2.0, 6.0, 4.0]), 2), [np.nan, 1.5, 4.0, 5.0], equal_nan=True)


def test_sma_equals_price_in_a_flat_stretch():
    for price in (0.1, 1 / 3, 4123.07, 1e-7):
        close = np.concatenate([make_prices(500, 1)["close"] * 37.3, np.full(300, price)])
        for window in (2, 3, 7, 40, 250):
            assert (sma(close, window)[500 + window - 1 :] == price).all()


def test_sma_does_not_drift():
    close = np.concatenate([make_prices(100_000, 2)["close"], [1e9] * 50, make_prices(2_000, 4)["close"]])
    got = sma(close, 50)
    exact = [math.fsum(close[t - 49 : t + 1]) / 50 for t in range(len(close) - 500, len(close))]
    np.testing.assert_allclose(got[-500:], exact, rtol=3e-16)


def test_rsi_of_five_bars():
    # Changes +1, -1, +2 with window 2: averages 0.5 and 0.5, then (0.5 + 2) / 2 and 0.25.
    got = rsi(np.array([10.0, 11.0, 10.0, 12.0]), 2)
    assert got == pytest.approx([np.nan, np.nan, 50.0, 100 * 1.25 / 1.5], rel=1e-15, nan_ok=True)


def test_rsi_without_losses_is_100_and_without_changes_50():
    assert rsi(np.array([1.0, 2.0, 3.0, 3.0]), 2)[2:].tolist() == [100.0, 100.0]
    assert rsi(np.array([2.0, 2.0, 2.0, 2.0]), 2)[2:].tolist() == [50.0, 50.0]
    assert rsi(np.array([3.0, 2.0, 1.0, 1.0]), 2)[2:].tolist() == [0.0, 0.0]


def test_atr_of_four_bars():
    high, low, close = np.array([[12.0, 13.0, 20.0, 18.0], [10.0, 12.0, 18.0, 17.0], [11.0, 12.5, 19.0, 17.5]])
    assert true_range(high, low, close).tolist() == [2.0, 2.0, 7.5, 2.0]
    assert np.array_equal(atr(high, low, close, 2), [np.nan, 2.0, 4.75, 3.375], equal_nan=True)


def test_realized_volatility_of_flat_prices_is_zero():
    assert realized_volatility(np.full(10, 3.3), 5, 252.0)[5:].tolist() == [0.0] * 5


def test_realized_volatility_counts_the_window_and_the_year():
    close = make_prices(100, 5)["close"]
    returns = np.log(close[1:] / close[:-1])
    assert realized_volatility(close, 10, 1764.0)[60] == pytest.approx(returns[50:60].std(ddof=1) * 4200, rel=1e-12)


@pytest.mark.parametrize("name", WINDOWED)
@given(seed=st.integers(0, 2**20), window=st.integers(1, 40), cut=st.integers(1, 119))
@settings(max_examples=25, deadline=None)
def test_indicators_past_does_not_move_with_the_future(name, seed, window, cut):
    prices = make_prices(120, seed)
    other = make_prices(90, seed + 1)
    joined = {column: np.append(values[:cut], other[column] * 1e4) for column, values in prices.items()}
    got, short, changed = (WINDOWED[name](p, window) for p in (prices, {c: v[:cut] for c, v in prices.items()}, joined))
    assert np.array_equal(got[:cut].view(np.int64), short.view(np.int64))
    assert np.array_equal(got[:cut].view(np.int64), changed[:cut].view(np.int64))


@pytest.mark.parametrize("name", ["sma", "realized_volatility", "rolling_highest", "rolling_lowest"])
def test_windowed_indicators_do_not_depend_on_where_the_bars_begin(name):
    prices = make_prices(3_000, 9)
    late = {column: values[1_700:] for column, values in prices.items()}
    got, cut = WINDOWED[name](prices, 30), WINDOWED[name](late, 30)
    np.testing.assert_allclose(got[1_730:], cut[30:], rtol=3e-16)


def test_recursive_indicators_forget_where_the_bars_begin():
    prices = make_prices(3_000, 9)
    late = {column: values[1_000:] for column, values in prices.items()}
    for name in ("rsi", "atr"):
        np.testing.assert_allclose(WINDOWED[name](prices, 14)[2_000:], WINDOWED[name](late, 14)[1_000:], rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in WINDOWED if n != "true_range"])
def test_indicators_start_anew_after_nan(name):
    prices = make_prices(200, 6)
    holed = {column: values.copy() for column, values in prices.items()}
    for values in holed.values():
        values[80] = np.nan
    late = {column: values[81:] for column, values in prices.items()}
    got, fresh = WINDOWED[name](holed, 10), WINDOWED[name](late, 10)
    assert np.isnan(got[80])
    np.testing.assert_allclose(got[81:], fresh, rtol=1e-13)


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("n_bars", [0, 1, 2, 5])
def test_indicators_of_too_few_bars_are_undefined(name, n_bars):
    got = WINDOWED[name](make_prices(n_bars, 0) if n_bars else dict.fromkeys(("high", "low", "close"), np.empty(0)), 9)
    assert got.shape == (n_bars,)
    assert name == "true_range" or np.isnan(got).all()


@pytest.mark.parametrize(
    "name", ["sma", "rsi", "true_range", "atr", "realized_volatility", "rolling_highest", "rolling_lowest"]
)
def test_compiled_equals_plain(name):
    prices = make_prices(120, 8)
    prices["close"][50] = np.nan
    arguments = {
        "true_range": (prices["high"], prices["low"], prices["close"]),
        "atr": (prices["high"], prices["low"], prices["close"], 9),
        "realized_volatility": (prices["close"], 9, 252.0),
    }.get(name, (prices["close"], 9))
    plain = getattr(indicators, f"{name}_python")(*arguments)
    compiled = getattr(indicators, name)(*arguments)
    assert np.array_equal(plain.view(np.int64), compiled.view(np.int64)) or np.array_equal(
        plain, compiled, equal_nan=True
    )


@pytest.mark.parametrize("name", WINDOWED)
def test_indicators_take_read_only_arrays(name):
    prices = make_prices(60, 8)
    before = {column: values.copy() for column, values in prices.items()}
    for values in prices.values():
        values.flags.writeable = False
    WINDOWED[name](prices, 5)
    assert all(np.array_equal(before[column], values) for column, values in prices.items())


def test_sma_of_infinite_value_is_undefined():
    close = np.array([1.0, 2.0, np.inf, 3.0, 4.0])
    assert np.array_equal(sma(close, 2), [np.nan, 1.5, np.nan, np.nan, 3.5], equal_nan=True)
