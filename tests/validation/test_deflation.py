import math

import ffn
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from skfolio import measures
from statsmodels.stats.multitest import multipletests

from alphapulse.validation import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    false_discovery_bound,
    holm_adjust,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
)

# Example of Bailey and Lopez de Prado (2014): 100 trials, five years of daily bars.
PAPER = {"sharpe_variance": 0.5 / 250, "n_trials": 100, "n_returns": 1250, "skewness": -3, "kurtosis": 10}
sharpes = st.floats(-0.5, 0.5)
moments = {"skewness": st.floats(-1, 1), "kurtosis": st.floats(3, 20)}


def test_deflated_sharpe_ratio_reproduces_the_paper():
    assert deflated_sharpe_ratio(2.5 / math.sqrt(250), **PAPER) == pytest.approx(0.9003968, abs=5e-8)


def test_expected_maximum_sharpe_reproduces_the_paper():
    assert expected_maximum_sharpe(0.5 / 250, 100) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("n_trials", "expected", "digits"), [(10, 1.5746, 4), (100, 2.5306029, 7), (1000, 3.2551, 4)])
def test_expected_maximum_sharpe_of_unit_variance(n_trials, expected, digits):
    assert expected_maximum_sharpe(1.0, n_trials) == pytest.approx(expected, abs=0.5 * 10**-digits)


def test_expected_maximum_sharpe_is_near_the_simulated_maximum():
    rng = np.random.default_rng(0)
    simulated = rng.standard_normal((4000, 100)).max(axis=1).mean()
    assert expected_maximum_sharpe(1.0, 100) == pytest.approx(simulated, abs=0.05)


def test_probabilistic_sharpe_ratio_reproduces_the_paper():
    value = probabilistic_sharpe_ratio(1.585 / math.sqrt(12), 0.0, n_returns=24, skewness=0, kurtosis=3)
    assert value == pytest.approx(0.9816, abs=5e-5)


@pytest.mark.parametrize(("per_year", "years"), [(250, 2.7312), (52, 2.8288)])
def test_minimum_track_record_length_reproduces_the_paper(per_year, years):
    year = math.sqrt(per_year)
    bars = minimum_track_record_length(2 / year, 1 / year, skewness=0, kurtosis=3, confidence=0.95)
    assert bars / per_year == pytest.approx(years, abs=5e-5)


@given(sharpe=sharpes, n_returns=st.integers(2, 100_000), **moments)
def test_probabilistic_sharpe_ratio_against_itself_is_one_half(sharpe, n_returns, skewness, kurtosis):
    value = probabilistic_sharpe_ratio(sharpe, sharpe, n_returns=n_returns, skewness=skewness, kurtosis=kurtosis)
    assert value == 0.5


@given(sharpe=st.floats(0.01, 0.5), benchmark=st.floats(-0.5, 0.0), confidence=st.floats(0.6, 0.999), **moments)
def test_probabilistic_sharpe_ratio_of_the_minimum_record_is_the_confidence(
    sharpe, benchmark, confidence, skewness, kurtosis
):
    shape = {"skewness": skewness, "kurtosis": kurtosis}
    bars = minimum_track_record_length(sharpe, benchmark, confidence=confidence, **shape)
    if bars >= 2:
        value = probabilistic_sharpe_ratio(sharpe, benchmark, n_returns=bars, **shape)
        assert value == pytest.approx(confidence, abs=1e-9)


@given(
    sharpe=sharpes,
    variance=st.floats(1e-6, 0.01),
    n_trials=st.integers(2, 10**6),
    factor=st.floats(1.01, 10),
    **moments,
)
def test_deflated_sharpe_ratio_falls_in_trials_and_in_variance(sharpe, variance, n_trials, factor, skewness, kurtosis):
    rest = {"n_returns": 1000, "skewness": skewness, "kurtosis": kurtosis}
    value = deflated_sharpe_ratio(sharpe, sharpe_variance=variance, n_trials=n_trials, **rest)
    more = deflated_sharpe_ratio(sharpe, sharpe_variance=variance, n_trials=math.ceil(n_trials * factor), **rest)
    wider = deflated_sharpe_ratio(sharpe, sharpe_variance=variance * factor, n_trials=n_trials, **rest)
    assert more <= value
    # The formula's hurdle is negative below 2.4 trials or so.
    assert wider <= value or expected_maximum_sharpe(1.0, n_trials) < 0


def test_sharpe_functions_agree_with_skfolio():
    rng = np.random.default_rng(1)
    returns = rng.gamma(2.0, 0.01, 700) - 0.018
    trials = rng.normal(0, 0.03, 50)
    shape = {
        "n_returns": 700,
        "skewness": float(measures.skew(returns)),
        "kurtosis": float(measures.kurtosis(returns)),
    }
    sharpe = returns.mean() / returns.std(ddof=1)
    assert probabilistic_sharpe_ratio(sharpe, 0.01, **shape) == pytest.approx(
        measures.probabilistic_sharpe_ratio(returns, 0.01), abs=1e-12
    )
    assert deflated_sharpe_ratio(sharpe, sharpe_variance=trials.var(ddof=1), n_trials=50, **shape) == pytest.approx(
        measures.deflated_sharpe_ratio(returns, trials), abs=1e-12
    )


def test_deflated_sharpe_ratio_agrees_with_ffn():
    rng = np.random.default_rng(2)
    returns = pd.Series(rng.normal(0.001, 0.01, 500), index=pd.date_range("2020-01-01", periods=500, freq="B"))
    trials = rng.normal(0, 0.03, 40)
    ours = deflated_sharpe_ratio(
        returns.mean() / returns.std(),
        sharpe_variance=trials.var(ddof=1),
        n_trials=40,
        n_returns=500,
        skewness=returns.skew(),
        kurtosis=returns.kurt() + 3,
    )
    theirs = ffn.core.calc_deflated_sharpe_ratio(returns, trials, nperiods=252, annualized_trials=False)
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("n_trials", [2, 5, 10**3, 10**6, 10**9])
def test_expected_maximum_sharpe_agrees_with_scipy(n_trials):
    g = np.euler_gamma
    expected = (1 - g) * stats.norm.isf(1 / n_trials) + g * stats.norm.isf(1 / (n_trials * math.e))
    assert expected_maximum_sharpe(4.0, n_trials) == pytest.approx(2 * expected, rel=1e-12, abs=1e-15)


def test_undefined_values_are_nan():
    psr = {"n_returns": 100, "skewness": 0.0, "kurtosis": 3.0}
    assert math.isnan(expected_maximum_sharpe(1.0, 1))
    assert math.isnan(expected_maximum_sharpe(math.nan, 10))
    assert math.isnan(deflated_sharpe_ratio(0.1, **(PAPER | {"n_trials": 1})))
    assert math.isnan(probabilistic_sharpe_ratio(math.nan, 0.0, **psr))
    assert math.isnan(probabilistic_sharpe_ratio(0.1, math.nan, **psr))
    assert math.isnan(probabilistic_sharpe_ratio(0.1, 0.0, **(psr | {"skewness": math.nan})))
    # 1 - 3*1 + 0 < 0: no returns have such moments.
    assert math.isnan(probabilistic_sharpe_ratio(1.0, 0.0, n_returns=100, skewness=3.0, kurtosis=1.0))
    assert math.isnan(minimum_track_record_length(1.0, 0.0, skewness=3.0, kurtosis=1.0))
    assert math.isnan(minimum_track_record_length(math.nan, 0.0, skewness=0.0, kurtosis=3.0))


def test_minimum_track_record_length_is_infinite_without_an_excess():
    assert minimum_track_record_length(0.1, 0.1, skewness=0, kurtosis=3) == math.inf
    assert minimum_track_record_length(0.0, 0.1, skewness=0, kurtosis=3) == math.inf


def test_violated_invariants_raise():
    with pytest.raises(ValueError, match=r"n_returns >= 2.*n_returns=1"):
        probabilistic_sharpe_ratio(0.1, 0.0, n_returns=1, skewness=0, kurtosis=3)
    with pytest.raises(ValueError, match="sharpe_variance >= 0"):
        expected_maximum_sharpe(-1e-9, 10)
    with pytest.raises(ValueError, match="n_trials >= 1"):
        expected_maximum_sharpe(1.0, 0)
    with pytest.raises(ValueError, match="confidence"):
        minimum_track_record_length(0.1, 0.0, skewness=0, kurtosis=3, confidence=1.0)


def test_holm_adjust_reproduces_the_table():
    p = [0.005, 0.009, 0.0128, 0.0135, 0.045, 0.06]
    np.testing.assert_allclose(holm_adjust(p), [0.03, 0.045, 0.0512, 0.0512, 0.09, 0.09], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_holm_adjust_agrees_with_statsmodels(n):
    p = np.round(np.random.default_rng(n).random(n) ** 3, 2)
    np.testing.assert_allclose(holm_adjust(p), multipletests(p, method="holm")[1], rtol=1e-12, atol=1e-300)


def test_holm_adjust_leaves_nan_out():
    np.testing.assert_array_equal(holm_adjust([0.02, math.nan, 0.01]), [0.02, math.nan, 0.02])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm_adjust([1.1])


def test_false_discovery_bound_reproduces_the_paper():
    # Sellke, Bayarri and Berger (2001), table 1: even odds.
    for p, bound in [(0.2, 0.465), (0.1, 0.385), (0.05, 0.289), (0.01, 0.111), (0.001, 0.0184)]:
        assert false_discovery_bound(p, 0.5) == pytest.approx(bound, abs=2e-3)


@given(p=st.floats(0, 1), prior=st.floats(0.001, 0.999))
def test_false_discovery_bound_never_exceeds_what_was_believed(p, prior):
    value = false_discovery_bound(p, prior)
    assert 0 <= value <= 1 - prior + 1e-15
    assert value <= false_discovery_bound(min(1.0, 2 * p), prior) + 1e-15


def test_false_discovery_bound_refuses_impossible_input():
    assert math.isnan(false_discovery_bound(math.nan, 0.5))
    with pytest.raises(ValueError, match="prior"):
        false_discovery_bound(0.05, 1.0)
    with pytest.raises(ValueError, match="p_value"):
        false_discovery_bound(1.5, 0.5)
