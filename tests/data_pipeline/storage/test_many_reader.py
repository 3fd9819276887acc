from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from alphapulse.config.schema import DataConfig, UniverseConfig
from alphapulse.data_pipeline.loading import load_history
from alphapulse.data_pipeline.providers.base import checked
from alphapulse.data_pipeline.storage.db_writer import write_bars
from alphapulse.data_pipeline.storage.ingests import Source
from alphapulse.data_pipeline.storage.many_reader import ManyStoredBars, StoredBars
from alphapulse.data_pipeline.universe import load_markets

pytestmark = pytest.mark.postgres

# Whole from the start, listed late, without a bar before the range, and not of the timeframe.
STARTS = {"A": "2016-01-01", "B'b": "2018-05-01", "C": "2019-03-01", "HOURLY": "2018-11-05"}


@pytest.fixture
def stored(database):
    for seed, (symbol, start) in enumerate(STARTS.items()):
        rng = np.random.default_rng(seed)
        index = pd.date_range(start, periods=900, freq="h" if symbol == "HOURLY" else "B", tz="UTC")
        close = 100 * np.exp(np.cumsum(rng.normal(0.0, 0.01, len(index))))
        rows = pd.DataFrame(
            {
                "timestamp": index,
                "open": close,
                "high": close * 1.01,
                "low": close * 0.99,
                "close": close,
                "volume": 5.0,
            }
        )
        label = "1h" if symbol == "HOURLY" else "1d"
        write_bars(database, [checked(symbol, label, rows)], Source("yfinance") if symbol != "C" else None)
    for symbol, date in (("A", "2016-03-01"), ("A", "2018-08-01"), ("B'b", "2018-09-03"), ("C", "2019-06-03")):
        database.fetch(
            "INSERT INTO corporate_action VALUES ($1, $2::date, 'dividend', 1.5)", symbol, pd.Timestamp(date)
        )
    return database


def same(one, other):
    for field in fields(one):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        assert (mine is None) == (its is None)
        assert mine is None or np.array_equal(mine, its, equal_nan=True)


@pytest.mark.parametrize("adjust", ["total", "split"])
@pytest.mark.parametrize("n_before", [0, 1, 150])
@pytest.mark.parametrize("start", [None, pd.Timestamp("2018-07-02", tz="UTC")])
def test_many_stored_bars_are_those_of_each_symbol_alone(stored, start, n_before, adjust):
    stop = pd.Timestamp("2019-10-01", tz="UTC")
    alone, many = StoredBars(stored, "database", adjust), ManyStoredBars(stored, "database", adjust)
    many.fetch(list(STARTS), "1d", many.since(list(STARTS), "1d", start, n_before), stop)
    for symbol in [*STARTS, "ABSENT"]:
        one = alone.read(symbol, "1d", start, stop, n_before)
        same(many.read(symbol, "1d", start, stop, n_before), one)
        if len(one):
            later = pd.Timestamp(int(one.timestamp[len(one) // 2]), tz="UTC")
            same(many.read(symbol, "1d", later, stop), alone.read(symbol, "1d", later, stop))
    # What was not fetched is read all the same.
    same(many.read("A", "1d", None, None), alone.read("A", "1d", None, None))


def test_the_market_of_a_universe_has_the_bars_of_each_symbol_alone(stored):
    data = DataConfig(
        source="database", symbols=("A", "B'b", "HOURLY"), start="2018-07-02", others=("C",), volatility_symbol="B'b"
    )
    markets = load_markets(stored, data, UniverseConfig("each", min_bars=10), 20, holdout=0.0)
    assert [member.bars.symbol for member in markets.market.members] == ["A", "B'b", "HOURLY"]
    for member in markets.market.members:
        alone = load_history(stored, replace(data, symbols=(member.bars.symbol,)), 20)
        assert (alone.fingerprint, alone.first) == (member.fingerprint, member.first)
        assert np.array_equal(member.bars.volatility, alone.bars.volatility, equal_nan=True)
        assert np.array_equal(member.bars.others["C"], alone.bars.others["C"], equal_nan=True)
