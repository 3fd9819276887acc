from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from alphapulse.backtesting.signal_processor import _read_bars, generate_target_allocation
from alphapulse.errors import StrategyError
from alphapulse.strategies.base import Bars
from alphapulse.strategies.breakout import Breakout
from alphapulse.strategies.indicators import sma
from alphapulse.strategies.long_short import LongShort, LongShortParams


def make_frame(n_bars: int = 300, freq: str = "D", start: str = "2020-01-01", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range(start, periods=n_bars, freq=freq, tz="UTC")
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n_bars)))
    open_ = np.append(close[0], close[:-1])
    columns = {"open": open_, "high": np.maximum(open_, close) * 1.01, "low": np.minimum(open_, close) * 0.99}
    return pd.DataFrame({**columns, "close": close, "volume": 1e6}, index=index)


def test_allocation_is_the_strategys_target():
    frame = make_frame()
    got = generate_target_allocation(frame, {"ma_window": 10, "reversion_weight": 0.0})
    assert got.index.equals(frame.index)
    average = sma(frame["close"].to_numpy(), 10)
    expected = np.where(frame["close"] > average, 1.0, np.where(frame["close"] < average, -1.0, 0.0))
    assert got.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "breakout", "entry_window": 20},
        {"_target_": "alphapulse.strategies.breakout.Breakout", "entry_window": 20},
        Breakout(entry_window=20),
    ],
)
def test_strategy_is_chosen_by_name_path_or_object(config):
    got = generate_target_allocation(make_frame(), config)
    assert got.tolist() == generate_target_allocation(make_frame(), Breakout(entry_window=20)).tolist()
    assert set(got) == {-1.0, 0.0, 1.0}


def test_strategy_config_may_be_a_dataclass_of_parameters_or_absent():
    frame = make_frame()
    expected = generate_target_allocation(frame, LongShort(ma_window=20)).tolist()
    assert generate_target_allocation(frame, LongShortParams(ma_window=20)).tolist() == expected
    assert generate_target_allocation(frame).tolist() == generate_target_allocation(frame, "long_short").tolist()

    @dataclass
    class Own:
        def target(self, bars: Bars):
            return np.full(len(bars), 0.25)

    assert (generate_target_allocation(frame, Own()) == 0.25).all()


def test_allocation_is_clipped_to_max_leverage():
    frame = make_frame()
    config = {"_target_": "sma_cross", "fast": 2, "slow": 5, "size": 3.0}
    assert set(generate_target_allocation(frame, config)) == {-1.0, 0.0, 1.0}
    assert set(generate_target_allocation(frame, {**config, "max_leverage": 2})) == {-2.0, 0.0, 2.0}
    assert set(generate_target_allocation(frame, {**config, "max_leverage": 5.0})) == {-3.0, 0.0, 3.0}


def seen(data, **settings) -> Bars:
    """What a strategy is shown."""
    tables = data if isinstance(data, dict) else {"prices": data}
    bars, _ = _read_bars(tables, settings)
    return bars


def test_daily_volatility_reaches_an_hourly_decision_on_the_next_date_only():
    hourly = make_frame(72, "h", "2020-01-01 00:30")
    vix = make_frame(3, "D", "2020-01-01")
    vix["close"] = [10.0, 20.0, 30.0]
    volatility = seen({"SPX": hourly, "^VIX": vix}).volatility
    # The bar that starts at 23:30 ends after its date does, and so knows it.
    assert np.isnan(volatility[:23]).all()
    assert (volatility[23:47] == 10.0).all()
    assert (volatility[47:71] == 20.0).all()
    assert volatility[71] == 30.0


def test_stale_volatility_is_unknown():
    frame = make_frame(20)
    vix = make_frame(5)
    volatility = seen({"SPX": frame, "^VIX": vix}).volatility
    assert (volatility[5:12] == vix["close"].iloc[-1]).all()
    assert np.isnan(volatility[12:]).all()
    volatility = seen({"SPX": frame, "^VIX": vix}, max_staleness="2d").volatility
    assert np.isnan(volatility[7:]).all()
    assert volatility[6] == vix["close"].iloc[-1]


def test_volatility_symbol_and_other_symbols():
    frame, fear, gold = make_frame(10), make_frame(10, seed=1), make_frame(10, seed=2)
    bars = seen({"SPX": frame, "FEAR": fear, "GOLD": gold}, volatility_symbol="FEAR")
    assert bars.volatility.tolist() == fear["close"].tolist()
    assert list(bars.others) == ["GOLD"]
    assert bars.symbol == "SPX"
    with pytest.raises(ValueError, match="'FEER' is not; did you mean 'FEAR'"):
        generate_target_allocation({"SPX": frame, "FEAR": fear}, {"volatility_symbol": "FEER"})


def test_volatility_column_is_taken_as_joined():
    frame = make_frame(60)
    frame["volatility"] = 40.0
    assert set(generate_target_allocation(frame, {"ma_window": 5, "reversion_weight": 0.0})) == {-0.5, 0.0, 0.5}


def test_realized_volatility_is_annualised_by_the_timeframe():
    bars = seen(make_frame(24 * 30, "h"))
    assert bars.timeframe == "1h"
    assert bars.periods_per_year == 8766
    assert seen(make_frame(10)).periods_per_year == 252


def test_index_of_another_time_zone_is_kept():
    frame = make_frame(50)
    there = frame.tz_convert("America/New_York")
    got = generate_target_allocation(there, {"ma_window": 5})
    assert got.index.equals(there.index)
    assert got.tolist() == generate_target_allocation(frame, {"ma_window": 5}).tolist()


def test_data_is_not_changed():
    frame = make_frame(50)
    before = frame.copy()
    generate_target_allocation(frame, {"ma_window": 5})
    pd.testing.assert_frame_equal(frame, before)
    frame.loc[frame.index[0], "close"] = 1.0


def spoil(change):
    frame = make_frame(20)
    return change(frame)


def with_value(column, value):
    def change(frame):
        frame.loc[frame.index[7], column] = value
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        (lambda f: f.iloc[::-1], ValueError, "The timestamps of prices must increase, but 2020-01-19"),
        (lambda f: pd.concat([f, f.iloc[-1:]]), ValueError, "must not repeat, but 2020-01-20"),
        (lambda f: f.tz_localize(None), ValueError, "must be aware of their time zone; use tz_localize"),
        (lambda f: f.reset_index(drop=True), TypeError, "must be indexed by timestamps, but the index is a RangeIndex"),
        (lambda f: f.drop(columns="high"), ValueError, "must have a column `high`, but have open, low, close, volume"),
        (lambda f: pd.concat([f, f[["close"]]], axis=1), ValueError, "must have one column `close`, but have more"),
        (lambda f: f.iloc[:0], ValueError, "must be at least one bar"),
        (with_value("low", 0.0), ValueError, "`low` of prices must be finite and > 0, but is 0.0 at 2020-01-08"),
        (with_value("close", -3.0), ValueError, "`close` of prices must be finite and > 0, but is -3.0 at 2020-01-08"),
        (with_value("open", np.nan), ValueError, "`open` of prices must be finite and > 0, but is nan"),
        (with_value("close", np.inf), ValueError, "but is inf at 2020-01-08"),
        (lambda f: f.assign(close="many"), TypeError, "`close` of prices must be numbers"),
        (lambda f: f["close"], TypeError, "`data` must be a DataFrame, or symbols with a DataFrame each"),
        (lambda f: {}, TypeError, "`data` must be a DataFrame, or symbols with a DataFrame each"),
        (lambda f: {"SPX": f, "^VIX": f["close"]}, TypeError, "The bars of ^VIX must be a DataFrame"),
        (lambda f: {"SPX": f, "^VIX": f.tz_localize(None)}, ValueError, "The timestamps of ^VIX must be aware"),
        (lambda f: {"SPX": f, "^VIX": f.iloc[::-1]}, ValueError, "The timestamps of ^VIX must increase"),
    ],
)
def test_bad_data_is_refused_in_one_line(change, error, expected):
    with pytest.raises(error) as caught:
        generate_target_allocation(spoil(change), {"ma_window": 5})
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "error", "expected"),
    [
        ({"ma_windw": 5}, StrategyError, "did you mean 'ma_window'?"),
        ({"ma_window": "abc"}, StrategyError, "must be a whole number, but got 'abc'"),
        ({"_target_": "nowhere.X"}, StrategyError, "No module 'nowhere'"),
        ({"max_leverage": -1}, ValueError, "`max_leverage` must be a number >= 0, but got -1."),
        ({"max_leverage": float("nan")}, ValueError, "`max_leverage` must be a number >= 0"),
        ({"max_staleness": "soon"}, ValueError, "`max_staleness` must look like"),
        ({"volatility_symbol": "VIX"}, ValueError, "`volatility_symbol` must be in `data`, but 'VIX' is not"),
        (7, TypeError, "`strategy_config` must be a mapping, a strategy or a name, but got int."),
    ],
)
def test_bad_config_is_refused_in_one_line(config, error, expected):
    with pytest.raises(error) as caught:
        generate_target_allocation(make_frame(20), config)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_targets_that_are_not_finite_are_refused(value):
    class Broken:
        def target(self, bars: Bars):
            return np.append(np.zeros(len(bars) - 1), value)

    with pytest.raises(ValueError, match=r"`target` must be finite, but got .* at 2020-01-20"):
        generate_target_allocation(make_frame(20), Broken())


def test_targets_of_another_length_are_refused():
    class Short:
        def target(self, bars: Bars):
            return np.zeros(len(bars) - 1)

    with pytest.raises(ValueError, match=r"one number a bar, shape \(20,\), but got shape \(19,\)"):
        generate_target_allocation(make_frame(20), Short())


def test_a_decision_next_to_missing_bars_does_not_wait_for_the_volatility_index():
    hours = pd.date_range("2020-01-06", periods=72, freq="h", tz="UTC")
    present = (hours.day != 7) | np.isin(hours.hour, [14, 17])
    frame = make_frame(72, freq="h", start="2020-01-06")[present]
    index = pd.DataFrame({"close": np.where(hours < "2020-01-07 15:00Z", 10.0, 60.0)}, hours)
    bars, _ = _read_bars({"prices": frame, "^VIX": index}, {})
    joined = pd.Series(bars.volatility, frame.index)["2020-01-07"]
    assert joined.tolist() == [10.0, 60.0]
