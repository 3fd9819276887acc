from dataclasses import make_dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.market.indicator_cache import IndicatorCache
from alphapulse.strategies.base import Bars
from alphapulse.strategies.indicators import atr
from alphapulse.strategies.long_short import LongShort, risk_manager, signal_generator
from alphapulse.strategies.long_short import position_manager as positions
from alphapulse.strategies.long_short.bounds import at_least, finite, invariants, numbers, one_of
from alphapulse.strategies.long_short.params import INVARIANTS, settings_of
from alphapulse.strategies.long_short.position_manager import PositionParams
from alphapulse.strategies.long_short.risk_manager import (
    RiskParams,
    scale_at,
    scale_at_python,
    view_risk,
    view_risk_python,
    volatility_scale,
    volatility_scale_python,
)
from alphapulse.strategies.long_short.signal_generator import (
    SignalParams,
    signal,
    signal_at,
    signal_at_python,
    signal_python,
    view_signal,
    view_signal_python,
)
from alphapulse.strategies.resolve import resolve

N_TRIALS = 61


def wilder(values: pd.Series, window: int) -> pd.Series:
    mean = values.astype(float).copy()
    known = np.flatnonzero(~np.isnan(values.to_numpy()))[:window]
    mean[:] = np.nan
    mean.iloc[known[-1]] = values.iloc[known].mean()
    for t in range(known[-1] + 1, len(values)):
        mean.iloc[t] = (mean.iloc[t - 1] * (window - 1) + values.iloc[t]) / window
    return mean


def define(bars: Bars, p: LongShort) -> np.ndarray:
    """The definition in pandas, bar by bar."""
    close = pd.Series(bars.close)
    average = close.rolling(p.ma_window).apply(lambda w: np.mean(w), raw=True)
    change = close.diff()
    gain, loss = wilder(change.clip(lower=0), p.rsi_window), wilder(-change.clip(upper=0), p.rsi_window)
    volatility = bars.volatility
    if p.volatility_source == "realized":
        volatility = (np.log(close).diff().rolling(p.realized_window).std() * np.sqrt(252) * 100).to_numpy()
    target = np.zeros(len(bars))
    for t in range(len(bars)):
        gap = close[t] - average[t]
        flat = np.isnan(gap) or abs(gap) < 1e-9 * close[t]
        trend = 0 if flat else np.sign(gap)
        strength = np.nan
        if not np.isnan(gain[t]):
            strength = (50 if gain[t] == 0 else 100) if loss[t] == 0 else 100 - 100 / (1 + gain[t] / loss[t])
        reversion = -1 if strength > p.rsi_overbought else (1 if strength < p.rsi_oversold else 0)
        scale = p.high_volatility_scale if volatility[t] > p.volatility_threshold else 1
        value = min(1, max(-1, p.trend_weight * trend + p.reversion_weight * reversion)) * scale
        target[t] = value if value > p.long_threshold or value < p.short_threshold else 0
    return target


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ma_window": 10, "rsi_window": 3, "rsi_overbought": 60, "rsi_oversold": 45},
        {"volatility_source": "realized", "realized_window": 15, "volatility_threshold": 18.0},
        {"trend_weight": 0.4, "reversion_weight": 1.2, "long_threshold": 0.5, "short_threshold": -0.9},
        {"high_volatility_scale": 0.0, "volatility_threshold": 20.0},
    ],
)
def test_target_is_the_definition(bars, values):
    params = LongShort(**values)
    np.testing.assert_allclose(params.target(bars), define(bars, params), rtol=1e-12, atol=1e-15)


def test_target_of_flat_prices_has_no_trend(bars):
    target = LongShort(ma_window=20, reversion_weight=0.0).target(bars)
    assert (target[420:470] == 0).all()
    assert (target[:19] == 0).all()


def test_defaults_are_the_definition():
    p = LongShort()
    assert (p.ma_window, p.rsi_window, p.atr_window, p.realized_window) == (40, 14, 14, 21)
    assert (p.rsi_overbought, p.rsi_oversold, p.volatility_threshold, p.high_volatility_scale) == (70, 30, 25, 0.5)
    assert (p.trend_weight, p.reversion_weight, p.long_threshold, p.short_threshold) == (1.0, 0.3, 0.1, -0.1)
    assert p.volatility_source == "index"


def random_columns(seed: int, n_trials: int = N_TRIALS) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    return {
        "ma_window": rng.integers(1, 120, n_trials),
        "rsi_window": rng.integers(1, 30, n_trials),
        "atr_window": rng.integers(1, 30, n_trials),
        "realized_window": rng.integers(1, 40, n_trials),
        "volatility_source": rng.choice(["index", "realized"], n_trials).tolist(),
        "rsi_overbought": rng.uniform(45, 90, n_trials),
        "rsi_oversold": rng.uniform(10, 55, n_trials),
        "volatility_threshold": rng.uniform(5, 40, n_trials),
        "high_volatility_scale": rng.uniform(0, 1.5, n_trials),
        "trend_weight": rng.uniform(-1, 1.5, n_trials),
        "reversion_weight": rng.uniform(-1, 1.5, n_trials),
        "long_threshold": rng.uniform(-0.2, 0.5, n_trials),
        "short_threshold": rng.uniform(-0.5, 0.2, n_trials),
    }


@given(seed=st.integers(0, 2**20), tile=st.integers(1, 400))
@settings(max_examples=10, deadline=None)
def test_block_equals_target_to_the_bit(bars, seed, tile):
    definition = resolve("long_short")
    columns = random_columns(seed)
    cache = IndicatorCache()
    block = definition.block(bars, columns, N_TRIALS, cache)
    out = np.full((N_TRIALS, len(bars)), np.nan)
    for start in range(0, len(bars), tile):
        stop = min(start + tile, len(bars))
        part = np.empty((N_TRIALS, stop - start))
        block.fill(start, stop, np.arange(N_TRIALS), part)
        out[:, start:stop] = part
    assert 0 < len(block.failures) < N_TRIALS
    for trial in range(N_TRIALS):
        values = {name: column[trial] for name, column in columns.items()}
        if trial in block.failures:
            assert (out[trial] == 0).all()
            with pytest.raises(ValueError, match="must hold"):
                LongShort(**{n: v.item() if hasattr(v, "item") else v for n, v in values.items()})
            continue
        strategy = definition.build(values)
        assert np.array_equal(strategy.target(bars).view(np.int64), out[trial].view(np.int64))
        range_ = atr(bars.high, bars.low, bars.close, int(columns["atr_window"][trial]))
        assert np.array_equal(block.atr[block.atr_row[trial]], range_, equal_nan=True)


def test_block_does_not_depend_on_other_trials(bars):
    definition = resolve("long_short")
    columns = random_columns(5)
    whole = np.empty((N_TRIALS, len(bars)))
    definition.block(bars, columns, N_TRIALS, IndicatorCache()).fill(0, len(bars), np.arange(N_TRIALS), whole)
    some = [3, 17, 40]
    part = np.empty((3, len(bars)))
    chosen = {name: [column[i] for i in some] for name, column in columns.items()}
    definition.block(bars, chosen, 3, IndicatorCache()).fill(0, len(bars), np.arange(3), part)
    assert np.array_equal(part, whole[some])


def test_block_stays_right_when_the_cache_is_too_small(bars):
    definition = resolve("long_short")
    columns = random_columns(6)
    small, large = IndicatorCache(1), IndicatorCache()
    outs = []
    blocks = [definition.block(bars, columns, N_TRIALS, cache) for cache in (small, small, large)]
    for block in blocks:
        outs.append(np.empty((N_TRIALS, len(bars))))
        block.fill(0, len(bars), np.arange(N_TRIALS), outs[-1])
    assert np.array_equal(outs[0], outs[2])
    assert np.array_equal(outs[1], outs[2])


def test_block_names_what_does_not_hold(bars):
    block = resolve("long_short").block(bars, {"rsi_overbought": np.array([70.0, 20.0])}, 2)
    invariant = "`0 <= rsi_oversold <= rsi_overbought <= 100` must hold"
    assert block.failures == {1: f"ValueError: {invariant}, but got rsi_oversold=30.0, rsi_overbought=20.0."}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"ma_window": 0}, "ma_window"),
        ({"rsi_window": -3}, "rsi_window"),
        ({"atr_window": 0}, "atr_window"),
        ({"realized_window": 1}, "realized_window"),
        ({"rsi_oversold": 71.0}, "rsi_oversold"),
        ({"rsi_overbought": 101.0}, "rsi_overbought"),
        ({"volatility_threshold": -1.0}, "volatility_threshold"),
        ({"high_volatility_scale": float("nan")}, "high_volatility_scale"),
        ({"trend_weight": float("inf")}, "trend_weight"),
        ({"long_threshold": -0.2}, "short_threshold <= long_threshold"),
        ({"volatility_source": "vix"}, "volatility_source"),
    ],
)
def test_params_refuse_the_impossible(values, name):
    with pytest.raises(ValueError, match=name) as caught:
        LongShort(**values)
    assert "\n" not in str(caught.value)


def test_invariants_hold_alike_for_one_and_for_columns():
    columns = {name: np.asarray(column) for name, column in random_columns(8, 300).items()}
    together = np.all([holds(type("P", (), columns)) for _, _, holds in INVARIANTS], axis=0)
    for trial in range(300):
        values = {name: column[trial].item() for name, column in columns.items()}
        alone = all(holds(type("P", (), values)) for _, _, holds in INVARIANTS)
        assert alone == together[trial]


def test_lookback_is_the_first_bar_on_which_all_is_defined(bars):
    for values in ({"ma_window": 5, "rsi_window": 30}, {"ma_window": 60}, {"atr_window": 90}):
        strategy = LongShort(**values)
        looks = strategy.indicators(bars)
        known = ~np.isnan(np.column_stack([looks[name] for name in looks if name != "volatility"]))
        assert int(np.argmax(known.all(axis=1))) == strategy.lookback() - 1
    realized = LongShort(ma_window=5, volatility_source="realized", realized_window=50)
    assert int(np.argmax(~np.isnan(realized.indicators(bars)["volatility"]))) == realized.lookback() - 1 == 50


@given(st.lists(st.floats(-2, 2), min_size=7, max_size=7))
def test_signal_matches_plain(values):
    assert signal(*values) == signal_python(*values)
    assert volatility_scale(*values[:3]) == volatility_scale_python(*values[:3])
    assert positions.position(*values[:3]) == positions.position_python(*values[:3])


def drawn_rows(rng, looks, row):
    """Rows of every indicator, each different, about where prices, an RSI and a volatility may all be."""
    return tuple((rng.normal(size=(3, 150)) * 20 + 50, row) for _ in looks)


def test_fill_targets_matches_plain(bars):
    rng = np.random.default_rng(0)
    row = np.array([0, 1, -1, 2, 0, 1, 2, 0, 1, 2])
    signals = drawn_rows(rng, signal_generator.LOOKS, np.abs(row))
    rows = ((signals[0][0], row), *signals[1:]), drawn_rows(rng, risk_manager.LOOKS, np.abs(row))
    outs = [np.empty((10, 100)), np.empty((10, 100))]
    trials = rng.permutation(10)
    for function, out in zip((positions.fill_targets, positions.fill_targets_python), outs, strict=True):
        function(bars.close[:150], rows, settings_of(SimpleNamespace(**random_columns(2, 10))), trials, 50, out)
    assert np.array_equal(*outs)
    assert (outs[0][trials == 2] == 0).all()
    assert len(np.unique(outs[0])) > 10


def test_views_match_plain():
    rng = np.random.default_rng(1)
    of_signal, of_risk, _ = settings_of(SimpleNamespace(**random_columns(3, 2)))
    signals, risks = (
        drawn_rows(rng, looks, np.array([2, 0])) for looks in (signal_generator.LOOKS, risk_manager.LOOKS)
    )
    arguments = 1, 5, 30
    signal_view, risk_view = view_signal(signals, of_signal, *arguments), view_risk(risks, of_risk, *arguments)
    for view, plain in (
        (signal_view, view_signal_python(signals, of_signal, *arguments)),
        (risk_view, view_risk_python(risks, of_risk, *arguments)),
    ):
        for seen, expected in zip(view, plain, strict=True):
            np.testing.assert_array_equal(seen, expected)
    for t in range(25):
        assert signal_at(t, 50.0, signal_view) == signal_at_python(t, 50.0, signal_view)
        assert scale_at(t, risk_view) == scale_at_python(t, risk_view)


@pytest.mark.parametrize(
    ("declared", "text", "good", "bad"),
    [
        (at_least(3, 2), "2 <= x < inf", 2, [1, float("nan"), float("inf")]),
        (finite(0.5), "-inf < x < inf", -3.0, [float("inf"), float("-inf"), float("nan")]),
        (one_of("a", ("a", "b")), "x is a or b", "b", ["c", ""]),
    ],
)
def test_a_declared_parameter_has_a_default_and_an_invariant(declared, text, good, bad):
    made = make_dataclass("Made", [("x", type(declared.default), declared), ("y", float, 1.0)], frozen=True)
    ((names, invariant, holds),) = invariants(made)
    assert (names, invariant) == (("x",), text)
    assert holds(made())
    assert holds(made(good))
    assert not any(holds(made(value)) for value in bad)
    assert np.array_equal(holds(SimpleNamespace(x=np.array([good, bad[0]]))), [True, False])
    assert numbers(made) == (("x", "y") if type(declared.default) is float else ("y",))


def test_no_parameter_is_declared_twice():
    parts = (SignalParams, RiskParams, PositionParams)
    assert len(LongShort.__dataclass_fields__) == sum(len(part.__dataclass_fields__) for part in parts)
