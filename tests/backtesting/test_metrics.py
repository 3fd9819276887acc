"""Metrics against QuantStats and empyrical on the same returns, and where they part."""

import math
import warnings

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.backtesting.metrics import (
    DIRECTIONS,
    METRICS,
    cagr,
    calmar_ratio,
    max_drawdown,
    metrics_of_returns,
    sharpe_ratio,
    sortino_ratio,
    value_at_risk_95,
    volatility,
)

warnings.filterwarnings("ignore", module="quantstats")


def draw(seed, n=500, mean=3e-4, deviation=0.01):
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(4, n) * deviation + mean
    benchmark = 0.6 * returns + rng.normal(0, deviation, n)
    index = pd.bdate_range("2015-01-01", periods=n)
    return pd.Series(returns, index), pd.Series(benchmark, index)


@pytest.mark.parametrize("risk_free_rate", [0.0, 0.03])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_returns_agree_with_quantstats(seed, risk_free_rate):
    r, b = draw(seed)
    m = metrics_of_returns(r.to_numpy(), b.to_numpy(), risk_free_rate=risk_free_rate)
    stats = quantstats.stats
    greeks = stats.greeks(r, b)
    expected = {
        "sharpe_ratio": stats.sharpe(r, rf=risk_free_rate),
        "sortino_ratio": stats.sortino(r, rf=risk_free_rate),
        "calmar_ratio": stats.calmar(r),
        "cagr": stats.cagr(r),
        "total_return": stats.comp(r),
        "volatility": stats.volatility(r),
        "max_drawdown": stats.max_drawdown(r),
        "skewness": stats.skew(r),
        "kurtosis": stats.kurtosis(r) + 3.0,  # ours is not excess
        "value_at_risk_95": stats.value_at_risk(r),
        "win_rate": stats.win_rate(r),
        "profit_factor": stats.profit_factor(r),
        "alpha": greeks["alpha"],
        "beta": greeks["beta"],
        "information_ratio": stats.information_ratio(r, b),
    }
    assert set(m) == set(expected)
    for name, value in expected.items():
        assert m[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_returns_agree_with_empyrical(seed):
    r, b = draw(seed)
    m = metrics_of_returns(r.to_numpy(), b.to_numpy())
    expected = {
        "sharpe_ratio": empyrical.sharpe_ratio(r),
        "sortino_ratio": empyrical.sortino_ratio(r),
        "calmar_ratio": empyrical.calmar_ratio(r),
        "cagr": empyrical.cagr(r),
        "total_return": empyrical.cum_returns_final(r),
        "volatility": empyrical.annual_volatility(r),
        "max_drawdown": empyrical.max_drawdown(r),
        "beta": empyrical.beta(r, b),
        "information_ratio": empyrical.excess_sharpe(r, b),
    }
    for name, value in expected.items():
        assert m[name] == pytest.approx(value, rel=1e-9), name
    # empyrical compounds alpha to a year, (1 + a)^252 - 1; ours is a * 252, as QuantStats'.
    assert (1 + m["alpha"] / 252) ** 252 - 1 == pytest.approx(empyrical.alpha(r, b), rel=1e-9)
    # empyrical's value at risk is the empirical quantile; ours is that of the normal, as QuantStats'.
    assert m["value_at_risk_95"] == pytest.approx(empyrical.value_at_risk(r), rel=0.3)


def test_metrics_of_returns_without_variance_are_undefined():
    m = metrics_of_returns(np.full(20, 0.001), np.full(20, 0.001))
    undefined = {"sharpe_ratio", "sortino_ratio", "calmar_ratio", "skewness", "kurtosis", "value_at_risk_95"}
    undefined |= {"profit_factor", "alpha", "beta", "information_ratio"}
    assert {name for name, value in m.items() if math.isnan(value)} == undefined
    assert m["volatility"] == m["max_drawdown"] == 0.0
    assert m["win_rate"] == 1.0


def test_metrics_of_returns_of_a_flat_trial():
    m = metrics_of_returns(np.zeros(20))
    assert math.isnan(m["win_rate"])
    assert m["total_return"] == m["cagr"] == 0.0


def test_metrics_of_returns_of_a_ruined_trial():
    m = metrics_of_returns(np.array([0.1, -1.0, 0.0, 0.0]))
    assert m["total_return"] == m["max_drawdown"] == m["cagr"] == m["calmar_ratio"] == -1.0


@pytest.mark.parametrize("returns", [[], [0.1]])
def test_metrics_of_returns_of_too_few_returns_are_undefined(returns):
    m = metrics_of_returns(np.array(returns))
    assert math.isnan(m["sharpe_ratio"])
    assert math.isnan(m["volatility"])
    assert not any(math.isinf(v) for v in m.values())


def test_metrics_of_returns_pass_nan_on():
    assert all(math.isnan(v) for v in metrics_of_returns(np.array([0.1, math.nan, 0.2])).values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1.0, 1e6), max_size=40))
def test_metrics_of_returns_are_never_infinite(returns):
    assert not any(math.isinf(v) for v in metrics_of_returns(np.array(returns, dtype=float)).values())


def test_metrics_of_returns_take_read_only_arrays():
    r = draw(0)[0].to_numpy().copy()
    r.flags.writeable = False
    assert metrics_of_returns(r)["sharpe_ratio"] == metrics_of_returns(r.copy())["sharpe_ratio"]


@pytest.mark.parametrize(
    ("arguments", "keywords", "match"),
    [
        ((np.zeros((2, 2)),), {}, "one-dimensional"),
        ((np.zeros(3), np.zeros(4)), {}, "of one length"),
        ((np.zeros(3),), {"periods_per_year": 0}, "periods_per_year > 0"),
    ],
)
def test_metrics_of_returns_refuse_bad_input(arguments, keywords, match):
    with pytest.raises(ValueError, match=match):
        metrics_of_returns(*arguments, **keywords)


def test_single_metrics_are_those_of_the_whole():
    r = draw(1)[0].to_numpy()
    m = metrics_of_returns(r, risk_free_rate=0.01, periods_per_year=365.0)
    assert sharpe_ratio(r, risk_free_rate=0.01, periods_per_year=365.0) == m["sharpe_ratio"]
    assert sortino_ratio(r, risk_free_rate=0.01, periods_per_year=365.0) == m["sortino_ratio"]
    assert max_drawdown(r) == m["max_drawdown"]
    assert cagr(r, periods_per_year=365.0) == m["cagr"]
    assert calmar_ratio(r, periods_per_year=365.0) == m["calmar_ratio"]
    assert volatility(r, periods_per_year=365.0) == m["volatility"]
    assert value_at_risk_95(r) == m["value_at_risk_95"]


def test_every_metric_has_a_direction():
    assert tuple(DIRECTIONS) == METRICS
    assert DIRECTIONS["max_drawdown"] == DIRECTIONS["value_at_risk_95"] == "maximize"
