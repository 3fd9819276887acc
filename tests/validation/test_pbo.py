from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from alphapulse.validation import block_moments, overfitting_from_moments, probability_of_backtest_overfitting
from alphapulse.validation.blocks import even_edges
from alphapulse.validation.pbo import cross_validate


def plain_logits(returns, n_blocks):
    """The definition, from whole returns and scipy's ranks."""
    edges = even_edges(len(returns), n_blocks)
    block = np.searchsorted(edges, np.arange(len(returns)), side="right") - 1
    logits = []
    for half in combinations(range(n_blocks), n_blocks // 2):
        inside = np.isin(block, half)
        own, other = returns[inside], returns[~inside]
        with np.errstate(all="ignore"):
            own_sharpe = np.where(np.ptp(own, axis=0) > 1e-12, own.mean(0) / own.std(0, ddof=1), -np.inf)
            other_sharpe = np.where(np.ptp(other, axis=0) > 1e-12, other.mean(0) / other.std(0, ddof=1), -np.inf)
        rank = rankdata(other_sharpe)[np.argmax(own_sharpe)] / (returns.shape[1] + 1)
        logits.append(np.log(rank / (1 - rank)))
    return np.array(logits)


def noise(n_bars=480, n_trials=20, seed=0):
    return np.random.default_rng(seed).standard_normal((n_bars, n_trials)) * 0.01


def test_pbo_matches_the_definition():
    returns = noise(n_bars=101)
    result = probability_of_backtest_overfitting(returns, 8)
    expected = plain_logits(returns, 8)
    np.testing.assert_allclose(result.logits, expected, rtol=1e-12, atol=1e-12)
    assert result.pbo == np.mean(expected <= 0)
    assert len(result.logits) == 70


def test_pbo_ranks_a_trial_without_variance_last():
    returns = noise(n_trials=5)
    returns[:, 2] = 0.0
    returns[:, 4] = 0.001
    result = probability_of_backtest_overfitting(returns, 6)
    np.testing.assert_allclose(result.logits, plain_logits(returns, 6), rtol=1e-12, atol=1e-12)
    assert not np.isin(result.chosen, [2, 4]).any()


def test_pbo_drops_identical_trials_and_those_with_nan():
    returns = noise(n_trials=6)
    spoilt = np.column_stack([returns, returns[:, [0, 3]], np.full(len(returns), np.nan)])
    spoilt[5, 8] = 1.0
    spoilt = np.column_stack([spoilt, np.where(np.arange(len(returns)) == 7, np.inf, 0.01)])
    plain, result = (probability_of_backtest_overfitting(r, 8) for r in (returns, spoilt))
    np.testing.assert_array_equal(result.logits, plain.logits)
    assert (result.n_trials, result.n_distinct) == (10, 6)


def test_pbo_is_high_where_choosing_hurts_and_low_where_it_pays():
    returns = noise(n_trials=10)
    skilled = returns.copy()
    skilled[:, 3] += 0.02
    assert probability_of_backtest_overfitting(skilled, 8).pbo == 0.0
    # Each trial is good in one block alone: in the other half the choice is worse than the rest.
    flattered = np.abs(noise(480, 8, 1)) * -1e-3 + noise(480, 8, 2) * 1e-3
    edges = even_edges(480, 8)
    for k in range(8):
        flattered[edges[k] : edges[k + 1], k] += 0.05
    assert probability_of_backtest_overfitting(flattered, 8).pbo > 0.9


def test_pbo_of_noise_lies_in_its_band():
    values = [probability_of_backtest_overfitting(noise(600, 50, seed), 10).pbo for seed in range(30)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)
    low, high = probability_of_backtest_overfitting(noise(), 4).null_band
    assert (low, high) == (0.35, 0.65)
    assert np.mean([(low <= v <= high) for v in values]) > 0.5


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    order=st.permutations(range(6)),
    exponents=st.lists(st.integers(-4, 4), min_size=6, max_size=6),
)
@example(seed=216, order=[4, 1, 2, 3, 0, 5], exponents=[0] * 6)
def test_pbo_is_invariant_to_order_and_scale(seed, order, exponents):
    returns = np.round(noise(40, 6, seed), 2)
    # Scales are powers of two, so that ties stay ties to the bit.
    moved = (returns * np.exp2(exponents))[:, order]
    plain = probability_of_backtest_overfitting(returns, 4)
    np.testing.assert_array_equal(probability_of_backtest_overfitting(moved, 4).logits, plain.logits)


def test_pbo_from_merged_calendar_blocks_equals_pbo_from_returns():
    returns = noise(n_bars=640, n_trials=7)
    whole = probability_of_backtest_overfitting(returns, 8)
    merged = overfitting_from_moments(*block_moments(returns, even_edges(640, 160)), n_blocks=8)
    np.testing.assert_allclose(merged.logits, whole.logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(merged.in_sample_sharpe, whole.in_sample_sharpe, rtol=1e-9)


def test_cross_validate_in_slices_equals_one_pass():
    sums, squares, counts = block_moments(noise(), even_edges(480, 6))
    by_block = np.ascontiguousarray(sums.T), np.ascontiguousarray(squares.T)
    halves = np.array(list(combinations(range(6), 3)))[:10]
    whole = [np.full(20, np.nan) for _ in range(3)] + [np.full(20, -1)]
    cross_validate(*by_block, counts, halves, 20, *whole)
    assert not np.isnan(whole[2]).any()
    for first, last in ((0, 4), (4, 10)):
        part = [np.full(20, np.nan) for _ in range(3)] + [np.full(20, -1)]
        cross_validate(*by_block, counts, halves[first:last], 20, *part)
        for a, b in zip(whole, part, strict=True):
            np.testing.assert_array_equal(b[: last - first], a[first:last])
            np.testing.assert_array_equal(b[20 - (last - first) :], a[20 - last : 20 - first])


def test_pbo_without_a_choice_is_nan():
    one = probability_of_backtest_overfitting(noise(n_trials=1), 4)
    flat = probability_of_backtest_overfitting(np.zeros((40, 3)), 4)
    for result in (one, flat):
        assert np.isnan(result.pbo)
        assert np.isnan(result.degradation_slope)
        assert len(result.logits) == 0


@pytest.mark.parametrize("n_blocks", [0, 3, 26])
def test_pbo_refuses_odd_blocks(n_blocks):
    with pytest.raises(ValueError, match=r"even and in \[2, 24\]"):
        probability_of_backtest_overfitting(noise(), n_blocks)


def test_pbo_refuses_too_few_bars():
    with pytest.raises(ValueError, match="n_bars"):
        probability_of_backtest_overfitting(noise(n_bars=31), 16)
    with pytest.raises(ValueError, match="shape"):
        probability_of_backtest_overfitting(np.zeros((3, 3, 3)), 2)
