"""Markets, targets and settings of the engine, drawn to be awkward."""

from dataclasses import replace
from typing import get_args

import numpy as np
from reference_engine import week_and_month_starts

from alphapulse.backtesting.params import EngineParams, SizingKind, StopKind, StopParams, TakeProfitKind
from alphapulse.market.bars import Bars
from alphapulse.market.market import Market

DAY = 86_400 * 10**9
FRIDAY = np.datetime64("2021-01-29", "ns").astype(np.int64)


def make_market(open_, high, low, close, first=0, spacing=DAY, periods_per_year=252.0, block=7):
    """A market of daily bars from a Friday at the end of a month, cut into blocks of `block` bars."""
    n = len(close)
    timestamp = FRIDAY + np.arange(n) * spacing
    week, month = week_and_month_starts(timestamp.astype("datetime64[ns]"))
    unknown = np.full(n, np.nan)
    arrays = [np.asarray(x, dtype=np.float64) for x in (open_, high, low, close)]
    for array in arrays:
        array.flags.writeable = False
    bars = Bars("X", "1d", timestamp, *arrays, volume=unknown, volatility=unknown, periods_per_year=periods_per_year)
    ends = np.unique(np.r_[np.arange(first + block, n, block), n]).astype(np.int64)
    return Market(bars, first, ends, "week", week, month, "")


def draw_prices(rng, n, kind):
    """Open, high, low and close of a market with gaps, halts, flat stretches, crashes or jumps."""
    scale = {"calm": 0.005, "wild": 0.08, "gaps": 0.02, "halts": 0.02, "crash": 0.03, "squeeze": 0.03}[kind]
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, scale, n)))
    if kind == "crash":
        close[rng.integers(n) :] *= rng.uniform(0.05, 0.5)
    if kind == "squeeze":
        close[rng.integers(n) :] *= rng.uniform(2.0, 5.0)
    open_ = np.r_[close[0], close[:-1]]
    if kind != "halts":
        open_ = open_ * np.exp(rng.normal(0, scale * (3.0 if kind == "gaps" else 0.3), n))
    high = np.maximum(open_, close) * (1 + rng.exponential(scale / 2, n))
    low = np.minimum(open_, close) / (1 + rng.exponential(scale / 2, n))
    if kind == "halts":
        for start in rng.integers(0, n, 3):
            for row in (open_, high, low, close):
                row[start : start + 5] = close[start]
    return open_, high, low, close


def draw_target(rng, n):
    """A target that holds, flips, flickers, saturates or is small."""
    kind = rng.integers(6)
    if kind == 0:
        return rng.choice([-1.0, 0.0, 1.0], n)
    if kind == 1:
        return np.repeat(rng.choice([-1.0, 0.0, 0.5, 1.0], n), 4)[:n]
    if kind == 2:
        return np.where(rng.random(n) < 0.2, 0.0, rng.choice([0.3, 0.35, 0.31], n))
    if kind == 3:
        return rng.normal(0, 3, n)
    if kind == 4:
        return np.cumsum(rng.normal(0, 0.1, n))
    return np.full(n, rng.choice([-3.0, -1.0, 0.04, 1.0, 3.0]))


def draw_engine(rng, execution=None):
    """Settings of the plain rules."""
    return EngineParams(
        initial_capital=float(rng.choice([100_000.0, 1.0, 12_345.67])),
        execution=str(execution or rng.choice(["next_open", "next_close", "same_close"])),
        commission=float(rng.choice([0.0, 0.001, 0.05])),
        slippage=float(rng.choice([0.0, 0.0005, 0.01])),
        stop_slippage=float(rng.choice([0.0, 0.002])),
        rebalance_band=float(rng.choice([0.0, 0.05, 0.3])),
        rebalance_frequency=str(rng.choice(["bar", "bar", "week", "month"])),
        short_borrow_rate=float(rng.choice([0.0, 0.05])),
        cash_rate=float(rng.choice([0.0, 0.03])),
        max_leverage=float(rng.choice([1.0, 3.0, 0.7])),
        reentry=str(rng.choice(["new_signal", "immediate"])),
        stop=StopParams(
            kind=str(rng.choice(get_args(StopKind))),
            percent=float(rng.choice([0.0, 0.01, 0.05])),
            multiplier=float(rng.choice([0.5, 2.0])),
            trailing=bool(rng.random() < 0.5),
        ),
        risk_free_rate=rng.choice([None, 0.0, 0.02]),
        periods_per_year=None if rng.random() < 0.5 else 365.0,
    )


def draw_full_engine(rng):
    """Settings with any of the full rules."""
    plain = draw_engine(rng)

    def some(value, *others):
        """`value`, which leaves the rule out, in half of the draws."""
        return rng.choice([value] * len(others) + list(others))

    max_leverage = float(rng.choice([1.0, 3.0, 0.7, 8.0]))
    return replace(
        plain,
        initial_capital=float(rng.choice([100_000.0, 2_000.0, 1e9])),
        commission=float(rng.choice([0.0, 0.001, -0.0002, 0.05])),
        commission_per_order=float(some(0.0, 1.0, 30.0)),
        commission_per_unit=float(some(0.0, 0.005, 0.5)),
        commission_minimum=float(some(0.0, 1.0, 40.0)),
        lot=float(some(0.0, 1.0, 0.001, 10.0)),
        max_leverage=max_leverage,
        maintenance_margin=float(some(0.0, 0.25 / max_leverage, 0.9 / max_leverage if max_leverage > 1 else 0.5)),
        allow_short=bool(rng.random() < 0.7),
        max_bars=int(some(0, 1, 3, 7)),
        take_profit={
            "kind": str(rng.choice(get_args(TakeProfitKind))),
            "percent": float(rng.choice([0.0, 0.01, 0.1])),
            "multiplier": float(rng.choice([0.0, 0.5, 2.0])),
        },
        sizing={
            "kind": str(rng.choice(get_args(SizingKind))),
            "target_volatility": float(rng.choice([0.15, 0.6])),
            "window": int(rng.choice([2, 5])),
            "risk_per_trade": float(rng.choice([0.01, 0.2])),
        },
    )
