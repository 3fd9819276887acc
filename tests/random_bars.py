"""Bars of a seeded random walk, for what looks at one market and does not care which."""

import numpy as np

from alphapulse.market.bars import Bars
from alphapulse.market.market import Market


def random_bars() -> Bars:
    """1,200 daily bars, with a stretch of flat prices and of unknown volatility; read-only as in a sweep."""
    rng = np.random.default_rng(11)
    n_bars = 1_200
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, n_bars) * 0.01))
    close[400:470] = close[400]
    open_ = np.append(close[0], close[:-1])
    volatility = np.exp(rng.normal(3.1, 0.3, n_bars))
    volatility[100:150] = np.nan
    columns = {
        "timestamp": np.arange(n_bars) * 86_400 * 10**9,
        "open": open_,
        "high": np.maximum(open_, close) * (1 + rng.uniform(0, 0.01, n_bars)),
        "low": np.minimum(open_, close) * (1 - rng.uniform(0, 0.01, n_bars)),
        "close": close,
        "volume": rng.uniform(1e6, 2e6, n_bars),
        "volatility": volatility,
    }
    for column in columns.values():
        column.flags.writeable = False
    return Bars(symbol="TEST", timeframe="1d", **columns, others={"GOLD": close[::-1]})


def drifting_market(first: int) -> Market:
    """600 daily bars that drift upwards, scored from bar `first` on; read-only as in a sweep."""
    rng = np.random.default_rng(5)
    n = 600
    close = 100 * np.cumprod(1 + rng.normal(0.0003, 0.01, n))
    open_ = close * (1 + rng.normal(0, 0.003, n))
    timestamp = np.datetime64("2001-01-01", "ns").astype(np.int64) + np.arange(n) * 86_400 * 10**9
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    columns = (timestamp, open_, high, low, close, np.ones(n), np.full(n, np.nan))
    for column in columns:
        column.flags.writeable = False
    return Market.of(Bars("X", "1d", *columns), first, "x")
