"""The engine against vectorbt and backtesting.py on daily S&P 500 bars (the sample's, from 1999)."""

import warnings

import numpy as np
import pandas as pd
import pytest

from alphapulse.backtesting.backtester import Backtester
from alphapulse.data_pipeline.providers.sample_provider import SampleProvider

# The two import plotting libraries that warn of their own future.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)
N = 1_500


@pytest.fixture(scope="module")
def prices():
    (fetched,) = SampleProvider().fetch(["SAMPLE_SP500"], [], None, None)
    return fetched.bars.set_index("timestamp")[["open", "high", "low", "close"]].iloc[:N]


@pytest.fixture(scope="module")
def signals(prices):
    close = prices["close"]
    trend = np.sign(close - close.rolling(40).mean()).fillna(0.0)
    calm = close.pct_change().rolling(21).std() < 0.012
    return trend * np.where(calm, 1.0, 0.5)


def replay_in_vectorbt(result, prices, cost_rate):
    """Equity of vectorbt fed our fills: one row a fill at its price, then one row at each close."""
    vectorbt = pytest.importorskip("vectorbt")
    fills = pd.DataFrame(
        {"timestamp": result.fills["timestamp"], "price": result.fills["price"], "size": result.fills["units"]}
    ).assign(last=0)
    closes = pd.DataFrame({"timestamp": prices.index, "price": prices["close"].to_numpy(), "size": np.nan, "last": 1})
    rows = pd.concat([fills, closes]).sort_values(["timestamp", "last"], kind="stable").reset_index(drop=True)
    portfolio = vectorbt.Portfolio.from_orders(
        rows["price"], size=rows["size"], price=rows["price"], fees=cost_rate, init_cash=100_000.0, freq="1D"
    )
    return portfolio.value()[rows["last"] == 1].to_numpy(), portfolio.orders.count()


@pytest.mark.parametrize("execution", ["next_open", "next_close", "same_close"])
@pytest.mark.parametrize("stop", [{"kind": "none"}, {"kind": "percent", "percent": 0.02, "trailing": True}])
def test_vectorbt_fed_our_fills_has_our_equity(prices, signals, execution, stop):
    result = Backtester(execution=execution, stop=stop).backtest(prices, signals)
    equity, n_orders = replay_in_vectorbt(result, prices, 0.0015)
    assert n_orders == len(result.fills) > 20
    np.testing.assert_allclose(equity, result.equity, rtol=1e-9)


@pytest.mark.parametrize(
    ("execution", "price"), [("next_open", "open"), ("next_close", "close"), ("same_close", "close")]
)
def test_vectorbt_target_percent_without_costs_has_our_sizes(prices, signals, execution, price):
    vectorbt = pytest.importorskip("vectorbt")
    # The band is the one thing vectorbt has not: at 0 every bar trades back to the target, as it does there.
    engine = Backtester(execution=execution, commission=0, slippage=0, rebalance_band=0, stop={"kind": "none"})
    result = engine.backtest(prices, signals)
    due = signals if execution == "same_close" else signals.shift(1)
    portfolio = vectorbt.Portfolio.from_orders(
        prices["close"], size=due, size_type="targetpercent", price=prices[price], init_cash=100_000.0, freq="1D"
    )
    np.testing.assert_allclose(portfolio.value(), result.equity, rtol=1e-9)
    sizes = result.fills.set_index("timestamp")["units"].reindex(prices.index).fillna(0.0)
    theirs = portfolio.assets().diff().fillna(portfolio.assets().iloc[0])
    np.testing.assert_allclose(sizes, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_backtesting_py_with_our_units_has_our_equity(prices, signals):
    backtesting = pytest.importorskip("backtesting")
    # It trades whole units and keeps the rest in cash: a capital of a thousand million makes that a part in a million.
    capital = 1e9
    long_only = signals.gt(0).astype(float)
    engine = Backtester(initial_capital=capital, commission=0.001, slippage=0, stop={"kind": "none"})
    result = engine.backtest(prices, long_only)
    # It fills an order at the open after the bar that sends it; our fill of bar t was decided in t - 1.
    units = result.fills.set_index("timestamp")["units"].reindex(prices.index).shift(-1).fillna(0.0).to_numpy()

    class Replay(backtesting.Strategy):
        def init(self):
            pass

        def next(self):
            size = units[len(self.data) - 1]
            if size > 0:
                self.buy(size=int(size))
            elif size < 0:
                self.position.close()

    data = prices.tz_localize(None).rename(columns=str.capitalize)
    stats = backtesting.Backtest(data, Replay, cash=capital, commission=0.001, trade_on_close=False).run()
    # It counts round trips that are closed, we count fills; the position still open at the end is marked by both.
    assert stats["# Trades"] == (result.fills["side"] == "sell").sum()
    np.testing.assert_allclose(stats["_equity_curve"]["Equity"], result.equity, rtol=2e-6)


@pytest.mark.parametrize("execution", ["next_open", "same_close"])
def test_no_band_and_no_costs_never_needs_more_than_equity(prices, execution):
    # What vectorbt would refuse for want of cash, the sizing net of costs never asks for.
    engine = Backtester(execution=execution, commission=0.01, slippage=0.005, rebalance_band=0, stop={"kind": "none"})
    result = engine.backtest(prices, pd.Series(1.0, prices.index))
    cash = result.equity - result.allocation * result.equity
    assert cash.iloc[1:].abs().max() < 1e-6
