"""Metrics against QuantStats and empyrical on the same returns, and where they part."""

import dataclasses
import math
import re
import subprocess
import sys
import warnings

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.backtesting.metrics import (
    DEFINITIONS,
    METRICS,
    N_METRICS,
    TABLE,
    describe_metrics,
    metrics_of_returns,
    metrics_of_sums,
)
from alphapulse.backtesting.sums import Sums

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
    # QuantStats takes an annual rate apart by compounding.
    rate = risk_free_rate / 252
    compounded = (1 + rate) ** 252 - 1
    names = vars(quantstats.stats) | {"r": r, "b": b, "rf": compounded, "rate": rate}
    expected = {name: eval(entry.quantstats, names) for name, entry in TABLE.items() if entry.quantstats}
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
    undefined |= {"alpha", "beta", "information_ratio"}
    assert {name for name, value in m.items() if math.isnan(value)} == undefined
    assert m["volatility"] == m["max_drawdown"] == 0.0


def test_metrics_of_returns_of_a_flat_trial():
    m = metrics_of_returns(np.zeros(20))
    assert "win_rate" not in m
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


@pytest.mark.parametrize("entry", TABLE.values(), ids=METRICS)
def test_metric_says_all_that_is_asked_of_it(entry):
    assert entry.name.isidentifier()
    assert entry.name.islower()
    assert entry.unit in ("ratio", "fraction", "count", "bars", "quote")
    assert entry.direction in ("maximize", "minimize", None)
    assert entry.needs in ("returns", "benchmark", "engine")
    assert 1 <= entry.since <= DEFINITIONS
    assert entry.formula.__doc__.strip().endswith(".")
    # Where QuantStats has nothing to compare with, the docstring says why.
    assert (entry.quantstats is not None) == (entry.needs != "engine")
    assert entry.quantstats is not None or "QuantStats" in entry.formula.__doc__


def test_describe_metrics_has_each_definition_whole():
    text = describe_metrics()
    assert re.findall(r"^(\w+) \[", text, re.MULTILINE) == list(METRICS)
    assert (
        "\nsharpe_ratio [ratio, maximize]\n    mean(r - rf) / std(r, ddof=1) * sqrt(periods_per_year).\n" in f"\n{text}"
    )
    for entry in TABLE.values():
        assert " ".join(entry.formula.__doc__.split()) in " ".join(text.split())


def test_metrics_are_printed_as_text():
    command = [sys.executable, "-m", "alphapulse.backtesting.metrics"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (printed.stdout, printed.stderr) == (describe_metrics() + "\n", "")


def make_sums(k: int, seed: int = 0, **changes: float) -> Sums:
    """Return sums of k trials as the engine may leave them, and NaN, infinities and zeros among them."""
    rng = np.random.default_rng(seed)
    fields = {field.name: rng.normal(size=k) for field in dataclasses.fields(Sums)}
    for values in fields.values():
        values[rng.random(k) < 0.1] = rng.choice([0.0, -1.0, math.inf, -math.inf, math.nan])
    fields |= {"n": np.full(k, 250.0), "periods_per_year": np.full(k, 252.0)}
    return Sums(**fields | {name: np.full(k, value) for name, value in changes.items()})


def test_metrics_of_sums_of_a_trial_do_not_depend_on_its_batch():
    sums = make_sums(500)
    together = metrics_of_sums(sums)
    assert together.shape == (500, N_METRICS)
    for first, last in ((0, 1), (3, 20), (499, 500)):
        part = Sums(**{name: values[first:last] for name, values in dataclasses.asdict(sums).items()})
        np.testing.assert_array_equal(metrics_of_sums(part), together[first:last])


def test_metrics_of_sums_are_never_infinite():
    assert not np.isinf(metrics_of_sums(make_sums(5000, seed=1))).any()


def test_metrics_of_sums_of_a_hand_worked_engine():
    sums = make_sums(1, n=250.0, n_exposed=100.0, traded=5.0, costs=12.5, periods_per_year=252.0, n_trades=7.0)
    m = dict(zip(METRICS, metrics_of_sums(sums)[0], strict=True))
    assert (m["n_trades"], m["exposure"], m["turnover"], m["costs_paid"]) == (7.0, 0.4, 5.0 * 252.0 / 250.0, 12.5)


def test_metrics_of_sums_of_hand_worked_trades():
    # Three wins of 10, 20 and 30, two losses of 5 and 15, and one trade that came out even.
    sums = make_sums(
        1, n_trades=6.0, n_wins=3.0, n_losses=2.0, won=60.0, lost=-20.0, net_profit=40.0, bars_held=30.0, longest=12.0
    )
    m = dict(zip(METRICS, metrics_of_sums(sums)[0], strict=True))
    assert (m["n_trades"], m["win_rate"], m["profit_factor"], m["payoff"]) == (6.0, 0.5, 3.0, 2.0)
    assert (m["expectancy"], m["average_trade"], m["longest_trade"]) == (40.0 / 6.0, 5.0, 12.0)


def test_metrics_of_sums_without_trades_are_undefined():
    none = dict.fromkeys(("n_trades", "n_wins", "n_losses", "won", "lost", "net_profit", "bars_held", "longest"), 0.0)
    m = dict(zip(METRICS, metrics_of_sums(make_sums(1, **none))[0], strict=True))
    assert m["n_trades"] == 0.0
    names = ("win_rate", "profit_factor", "payoff", "expectancy", "average_trade", "longest_trade")
    assert all(math.isnan(m[name]) for name in names)


@pytest.mark.parametrize(("n", "undefined"), [(1.0, {"volatility", "skewness"}), (2.0, {"skewness"}), (3.0, set())])
def test_metrics_of_sums_of_few_bars(n, undefined):
    sums = make_sums(1, n=n, mean=0.01, m2=0.02, m3=0.001, m4=0.001, lowest=-0.1, highest=0.1)
    m = dict(zip(METRICS, metrics_of_sums(sums)[0], strict=True))
    assert {name for name in ("volatility", "skewness", "kurtosis") if math.isnan(m[name])} == undefined | {"kurtosis"}
