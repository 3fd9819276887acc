"""The friendly face: what it answers, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from alphapulse.backtesting.backtester import Backtester
from alphapulse.backtesting.metrics import METRICS
from alphapulse.backtesting.models import StopParams

N = 60


@pytest.fixture
def prices():
    rng = np.random.default_rng(0)
    index = pd.bdate_range("2024-01-01", periods=N, tz="UTC")
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, N)))
    frame = pd.DataFrame({"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close}, index)
    frame["volume"] = 1.0
    return frame


@pytest.fixture
def signals(prices):
    return pd.Series(np.where(np.arange(N) % 20 < 10, 1.0, -0.5), prices.index)


@pytest.fixture
def free():
    return Backtester(commission=0, slippage=0, stop={"kind": "none"})


def test_backtest_answers_curves_fills_and_metrics(prices, signals):
    atr = pd.Series(2.0, prices.index)
    result = Backtester().backtest(prices, signals, atr=atr)
    for curve in (result.equity, result.returns, result.allocation):
        pd.testing.assert_index_equal(curve.index, prices.index)
    np.testing.assert_allclose(result.returns.iloc[1:], result.equity.pct_change().iloc[1:], rtol=1e-9, atol=1e-15)
    assert list(result.metrics)[: len(METRICS)] == list(METRICS)
    assert (result.trades["reason"] != "end").sum() == result.metrics["n_trades"]
    assert result.fills["cost"].sum() == pytest.approx(result.metrics["costs_paid"])
    assert set(result.fills["side"]) <= {"buy", "sell"}
    assert set(result.trades["side"]) <= {"long", "short"}
    assert result.trades["timestamp"].isin(prices.index).all()
    assert not result.ruined
    held = result.allocation != 0
    assert result.metrics["exposure"] >= held.mean()


def test_fills_account_for_equity(prices, signals, free):
    result = free.backtest(prices, signals)
    cash = 100_000 - result.fills.groupby("timestamp")["value"].sum().cumsum().reindex(prices.index).ffill().fillna(0)
    units = result.fills.groupby("timestamp")["units"].sum().cumsum().reindex(prices.index).ffill().fillna(0)
    np.testing.assert_allclose(cash + units * prices["close"], result.equity, rtol=1e-12)


def test_closes_alone_are_bars_of_one_price(prices, signals, free):
    close = prices["close"]
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close))
    pd.testing.assert_series_equal(free.backtest(close, signals).equity, free.backtest(frame, signals).equity)


def test_inputs_are_not_changed(prices, signals, free):
    before = prices.copy(), signals.copy()
    free.backtest(prices, signals)
    pd.testing.assert_frame_equal(prices, before[0])
    pd.testing.assert_series_equal(signals, before[1])


def test_stop_may_be_a_dict_or_params():
    assert (
        Backtester(stop={"kind": "percent", "percent": 0.1}).params
        == Backtester(stop=StopParams("percent", 0.1)).params
    )


def test_benchmark_prices_replace_buy_and_hold(prices, signals, free):
    other = prices["close"].iloc[::-1].set_axis(prices.index)
    own = free.backtest(prices, signals)
    against = free.backtest(prices, signals, benchmark_prices=other)
    assert against.metrics["beta"] != own.metrics["beta"]
    assert against.metrics["sharpe_ratio"] == own.metrics["sharpe_ratio"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.bdate_range("2024-01-01", periods=N, tz="UTC"), 252.0),
        (pd.date_range("2024-01-01", periods=N, freq="7D", tz="UTC"), 365.25 / 7),
        (pd.date_range("2024-01-01", periods=N, freq="h", tz="UTC"), None),
    ],
)
def test_periods_per_year_come_from_the_index(index, expected, free):
    rng = np.random.default_rng(0)
    close = pd.Series(100 * np.exp(np.cumsum(rng.normal(0, 0.01, N))), index)
    result = free.backtest(close, pd.Series(1.0, index))
    periods = (result.metrics["volatility"] / result.returns.std()) ** 2
    assert periods == pytest.approx(expected) if expected else periods > 1000


def test_other_time_zones_are_kept(prices, signals, free):
    moved = prices.tz_convert("America/New_York")
    result = free.backtest(moved, signals.tz_convert("America/New_York"))
    assert str(result.equity.index.tz) == str(result.trades["timestamp"].dt.tz) == "America/New_York"


def poison(series, value, place=7):
    changed = series.copy()
    changed.iloc[place] = value
    return changed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_backtest_refuses_targets_that_are_not_finite(prices, signals, free, value):
    with pytest.raises(ValueError, match=r"`signals` must be finite.*2024-01-10"):
        free.backtest(prices, poison(signals, value))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_backtest_refuses_prices_that_are_not_positive(prices, signals, free, column, value):
    prices[column] = poison(prices[column], value)
    with pytest.raises(ValueError, match=f"`prices.{column}` must be finite and > 0"):
        free.backtest(prices, signals)


def test_backtest_refuses_columns_twice_and_unknown_timestamps(prices, signals, free):
    with pytest.raises(ValueError, match="must have one column `close`, but has more"):
        free.backtest(pd.concat([prices, prices[["close"]]], axis=1), signals)
    index = prices.index.insert(0, pd.NaT)[:-1]
    with pytest.raises(ValueError, match="must be known, but row 0 has none"):
        free.backtest(prices.set_axis(index), signals.set_axis(index))


def test_backtest_refuses_timestamps_out_of_order(prices, signals, free):
    order = np.r_[1, 0, np.arange(2, N)]
    with pytest.raises(ValueError, match="must increase"):
        free.backtest(prices.iloc[order], signals.iloc[order])


def test_backtest_refuses_duplicate_timestamps(prices, signals, free):
    order = np.r_[0, 0, np.arange(2, N)]
    with pytest.raises(ValueError, match="must not repeat"):
        free.backtest(prices.iloc[order], signals.iloc[order])


def test_backtest_refuses_naive_timestamps(prices, signals, free):
    with pytest.raises(ValueError, match="time zone"):
        free.backtest(prices.tz_localize(None), signals.tz_localize(None))


def test_backtest_refuses_other_lengths_and_indexes(prices, signals, free):
    with pytest.raises(ValueError, match="as long as"):
        free.backtest(prices, signals.iloc[:-1])
    with pytest.raises(ValueError, match="index of `prices`"):
        free.backtest(prices, signals.shift(freq="D"))
    with pytest.raises(ValueError, match="as long as"):
        free.backtest(prices, signals, benchmark_prices=prices["close"].iloc[1:])


def test_backtest_refuses_wrong_types(prices, signals, free):
    with pytest.raises(TypeError, match="DataFrame or a Series"):
        free.backtest(prices.to_numpy(), signals)
    with pytest.raises(TypeError, match="must be a Series"):
        free.backtest(prices, signals.to_numpy())
    with pytest.raises(TypeError, match="indexed by timestamps"):
        free.backtest(prices.reset_index(drop=True), signals)
    with pytest.raises(ValueError, match="has no open"):
        free.backtest(prices[["close"]], signals)
    with pytest.raises(TypeError, match="must be numbers"):
        free.backtest(prices, signals.map(str) + "x")
    with pytest.raises(ValueError, match="at least one bar"):
        free.backtest(prices.iloc[:0], signals.iloc[:0])


def test_atr_stop_needs_atr(prices, signals):
    with pytest.raises(ValueError, match="pass `atr=`"):
        Backtester().backtest(prices, signals)
    with pytest.raises(ValueError, match="`atr` must be >= 0"):
        Backtester().backtest(prices, signals, atr=pd.Series(-1.0, prices.index))


def test_backtester_refuses_unknown_and_impossible_fields():
    with pytest.raises(TypeError, match="did you mean 'commission'"):
        Backtester(comission=0.1)
    with pytest.raises(ValueError, match=r"engine\.commission"):
        Backtester(commission=-0.6)
    with pytest.raises(ValueError, match=r"engine\.execution"):
        Backtester(execution="now")


@pytest.mark.parametrize(
    ("engine", "error", "message"),
    [
        ({"stop": "none"}, TypeError, r"`engine\.stop` must be a mapping such as \{'kind': 'none'\}, but got 'none'"),
        ({"stop": None}, TypeError, r"`engine\.stop` must be a mapping"),
        ({"stop": {"percent": "5%"}}, TypeError, r"`engine\.stop\.percent` must be a number, but got '5%'"),
        ({"stop": {"trailing": "false"}}, ValueError, r"`engine\.stop\.trailing` must be True or False"),
        ({"commission": "0.001"}, TypeError, r"`engine\.commission` must be a number"),
        ({"initial_capital": "1e5"}, TypeError, r"`engine\.initial_capital` must be a number"),
        ({"initial_capital": np.inf}, ValueError, r"`engine\.initial_capital` must be > 0 and finite"),
        ({"periods_per_year": "252"}, TypeError, r"`engine\.periods_per_year` must be a number"),
        ({"periods_per_year": np.inf}, ValueError, r"`engine\.periods_per_year` must be > 0 and finite"),
    ],
)
def test_backtester_names_the_field_of_a_wrong_type_or_size(engine, error, message):
    with pytest.raises(error, match=message):
        Backtester(**engine)
