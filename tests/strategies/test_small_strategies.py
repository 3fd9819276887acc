import numpy as np
import pandas as pd
import pytest

from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.base import Bars
from alphapulse.strategies.breakout import Breakout, positions, positions_python
from alphapulse.strategies.indicators import atr
from alphapulse.strategies.resolve import resolve
from alphapulse.strategies.sma_cross import SmaCross


def closes(*values: float) -> Bars:
    close = np.array(values)
    unknown = np.full(len(close), np.nan)
    return Bars("X", "1d", np.arange(len(close)), close, close, close, close, unknown, unknown)


def test_sma_cross_of_six_bars():
    # Fast averages 1, 1, 2, 4, 3, 1 over one bar, slow ones over two: -, 1, 1.5, 3, 3.5, 2.
    bars = closes(1, 1, 2, 4, 3, 1)
    assert SmaCross(fast=1, slow=2).target(bars).tolist() == [0, 0, 1, 1, -1, -1]
    assert SmaCross(fast=1, slow=2, allow_short=False, size=0.5).target(bars).tolist() == [0, 0, 0.5, 0.5, 0, 0]


def test_sma_cross_matches_pandas(bars):
    close = pd.Series(bars.close)
    gap = (close.rolling(5).mean() - close.rolling(30).mean()).fillna(0)
    clear = gap.abs() > 1e-9
    assert np.array_equal(SmaCross(fast=5, slow=30).target(bars)[clear], np.sign(gap)[clear])


def test_breakout_of_ten_bars():
    bars = closes(5, 5, 6, 7, 6, 5, 4, 3, 5, 5)
    # Above the highest of the two bars before: long; below the bar before: out; below the lowest of two: short.
    assert Breakout(entry_window=2, exit_window=1).target(bars).tolist() == [0, 0, 1, 1, 0, -1, -1, -1, 1, 1]
    long_only = Breakout(entry_window=2, exit_window=1, allow_short=False, size=2.0)
    assert long_only.target(bars).tolist() == [0, 0, 2, 2, 0, 0, 0, 0, 2, 2]


def test_breakout_matches_pandas(bars):
    high, low = pd.Series(bars.high), pd.Series(bars.low)
    above, below = high.rolling(20).max().shift(), low.rolling(20).min().shift()
    leave_long, leave_short = low.rolling(10).min().shift(), high.rolling(10).max().shift()
    position, expected = 0, []
    for t, close in enumerate(bars.close):
        if close > above[t]:
            position = 1
        elif close < below[t]:
            position = -1
        elif (position == 1 and close < leave_long[t]) or (position == -1 and close > leave_short[t]):
            position = 0
        expected.append(position)
    assert Breakout(entry_window=20, exit_window=10).target(bars).tolist() == expected


def test_positions_matches_plain(bars):
    channel = Breakout(entry_window=9, exit_window=4).indicators(bars)
    arguments = (bars.close, *channel.values(), 1.0, True)
    assert np.array_equal(positions(*arguments), positions_python(*arguments))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("sma_cross", {"fast": np.arange(1, 41), "slow": np.full(40, 35), "allow_short": [True, False] * 20}),
        (
            "breakout",
            {"entry_window": np.arange(1, 41), "exit_window": np.arange(40, 0, -1), "atr_window": np.arange(1, 41)},
        ),
    ],
)
def test_block_equals_target(bars, name, columns):
    definition = resolve(name)
    block = definition.block(bars, columns, 40, IndicatorCache())
    parts = [np.empty((40, 500)), np.empty((40, len(bars) - 500))]
    block.fill(0, 500, np.arange(40), parts[0])
    block.fill(500, len(bars), np.arange(40), parts[1])
    out = np.hstack(parts)
    assert 0 < len(block.failures) < 40
    for trial in range(40):
        if trial in block.failures:
            assert "must hold" in block.failures[trial]
            assert (out[trial] == 0).all()
            continue
        strategy = definition.build({key: column[trial] for key, column in columns.items()})
        assert np.array_equal(strategy.target(bars), out[trial])
        expected = atr(bars.high, bars.low, bars.close, int(strategy.atr_window))
        assert np.array_equal(block.atr[block.atr_row[trial]], expected, equal_nan=True)


def test_lookbacks_cover_indicators():
    assert SmaCross(fast=5, slow=60).lookback() == 60
    assert SmaCross(fast=5, slow=10, atr_window=30).lookback() == 30
    assert Breakout(entry_window=55, exit_window=20).lookback() == 56


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (SmaCross, {"fast": 50, "slow": 50}),
        (SmaCross, {"fast": 0}),
        (SmaCross, {"size": float("nan")}),
        (Breakout, {"entry_window": 10, "exit_window": 11}),
        (Breakout, {"exit_window": 0}),
        (Breakout, {"atr_window": 0}),
        (Breakout, {"size": -1.0}),
    ],
)
def test_parameters_refuse_the_impossible(cls, values):
    with pytest.raises(ValueError, match="must hold, but got"):
        cls(**values)
