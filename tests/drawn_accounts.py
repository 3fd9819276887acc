"""Markets, targets and settings of one account of many symbols, drawn to be awkward."""

from dataclasses import replace

import numpy as np
from drawn_engines import DAY, FRIDAY, draw_full_engine, draw_prices, draw_target

from alphapulse.backtesting.account.costs import BY_SYMBOL
from alphapulse.backtesting.params import EngineParams, SizingParams
from alphapulse.market.account import account_market
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market

KINDS = ("calm", "wild", "gaps", "halts", "crash", "squeeze")


def own_bars(symbol, timestamp, prices):
    """Bars of one symbol, read-only as in a sweep."""
    unknown = np.full(len(timestamp), np.nan)
    arrays = [np.ascontiguousarray(x, dtype=np.float64) for x in prices]
    for array in (timestamp, *arrays):
        array.flags.writeable = False
    return Bars(symbol, "1d", timestamp, *arrays, volume=unknown, volatility=unknown)


def draw_account_market(rng, n=60, n_symbols=None):
    """Symbols that list late, end early and miss bars; the last of them are there on most days."""
    n_symbols = n_symbols or int(rng.integers(1, 5))
    first = int(rng.integers(0, 6))
    kinds = rng.choice(KINDS, n_symbols)
    members = []
    for place in range(n_symbols):
        there = np.arange(n)
        if place < n_symbols - 1:
            there = there[rng.integers(n // 3) * (rng.random() < 0.4) :]
            there = there[: len(there) - rng.integers(n // 3) * (rng.random() < 0.4)]
            there = there[rng.random(len(there)) > rng.choice([0.0, 0.1, 0.3])]
        timestamp = FRIDAY + there * DAY
        bars = own_bars(f"S{place}", timestamp, draw_prices(rng, len(there), kinds[place]))
        members.append(Market.of(bars, min(first, len(there) - 2), f"S{place}"))
    return account_market(members, 252.0)


def draw_account_targets(rng, market):
    """A target for each bar and symbol (n_bars, n_symbols), and average true ranges of the same shape."""
    n, k = len(market.bars), len(market.bars.symbols)
    target = np.stack([draw_target(rng, n) for _ in range(k)], axis=1)
    target *= rng.choice([1.0, 1.0 / k, 0.3])
    atr = np.abs(rng.normal(2.0, 1.0, (n, k)))
    atr[rng.random((n, k)) < 0.05] = np.nan
    return target, atr


def draw_account_engine(rng, symbols):
    """Settings of an account: any rule of one symbol but its sizing, caps, and costs by symbol."""
    plain = draw_full_engine(rng)
    drawn = draw_full_engine(rng).values
    by_symbol = {
        symbol: {name: drawn[name] for name in BY_SYMBOL if rng.random() < 0.4}
        for symbol in symbols
        if rng.random() < 0.4
    }
    net = rng.choice([None, None, 0.0, 0.3, 1.0])
    if rng.random() < 0.2:
        # What is held as it was bought may come to its margin at a close.
        plain = replace(
            plain, rebalance_frequency="month", stop={"kind": "none"}, max_leverage=3.0, maintenance_margin=0.3
        )
    return replace(plain, sizing=SizingParams(), by_symbol=by_symbol, max_net_leverage=net)


def plain_engine(**values):
    """Settings without a stop."""
    return EngineParams(**({"stop": {"kind": "none"}} | values))
