"""Bars of accounts of many symbols: random walks that list late and end early, and pairs that run together."""

import numpy as np

from alphapulse.market.account import account_market
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market

DAY = 86_400 * 10**9
START = np.datetime64("2010-01-04", "ns").astype(np.int64)


def make_bars(symbol, days, close, rng):
    """Daily bars around closes, read-only as in a sweep; each opens near the close before it."""
    close = np.asarray(close, dtype=float)
    open_ = np.r_[close[0], close[:-1]] * np.exp(rng.normal(0, 0.002, len(close)))
    columns = {
        "timestamp": START + np.asarray(days, dtype=np.int64) * DAY,
        "open": open_,
        "high": np.maximum(open_, close) * 1.004,
        "low": np.minimum(open_, close) * 0.996,
        "close": close,
        "volume": np.full(len(close), 5.0),
        "volatility": np.full(len(close), np.nan),
    }
    for column in columns.values():
        column.flags.writeable = False
    return Bars(symbol=symbol, timeframe="1d", **columns)


def drifting_account(n=900, first=60, seed=5):
    """Three symbols: one throughout, one that lists late and misses bars, one that ends early."""
    rng = np.random.default_rng(seed)
    walk = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, (3, n)), axis=1))
    days = np.arange(n)
    late = np.delete(days, [n // 2, n // 2 + 1, n // 2 + 40])[n // 3 :]
    early = days[: 2 * n // 3]
    parts = (("LONG", days), ("LATE", late), ("DEAD", early))
    bars = [make_bars(symbol, own, walk[place][own], rng) for place, (symbol, own) in enumerate(parts)]
    return account_market([Market.of(one, min(first, len(one) - 2), one.symbol) for one in bars])


def cointegrated_closes(n=2_000, seed=1, reversion=0.08, spread=0.02):
    """Closes of A and B: the spread of their logarithms comes back to 0, the level of both walks at random."""
    rng = np.random.default_rng(seed)
    level = np.cumsum(rng.normal(0.0, 0.012, n))
    apart = np.zeros(n)
    noise = rng.normal(0.0, spread * np.sqrt(2 * reversion), n)
    for t in range(1, n):
        apart[t] = (1.0 - reversion) * apart[t - 1] + noise[t]
    return 50.0 * np.exp(level + apart), 80.0 * np.exp(level / 1.25)


def cointegrated_account(n=2_000, first=130, **made):
    """The market of A and B of `cointegrated_closes`."""
    rng = np.random.default_rng(9)
    bars = [
        make_bars(s, np.arange(n), close, rng) for s, close in zip("AB", cointegrated_closes(n, **made), strict=True)
    ]
    return account_market([Market.of(one, first, one.symbol) for one in bars])
