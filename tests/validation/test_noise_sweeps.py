"""Trials of pure noise, and of noise with one planted edge, before the reality check."""

import math

import numpy as np
import pytest

from alphapulse.validation import block_moments, make_bootstrap, p_value

N_BARS, N_HELD, BLOCK = 2400, 600, 15


def independent(rng):
    return rng.standard_normal((N_BARS + N_HELD, 100)) * 0.01


def correlated(rng):
    common = rng.standard_normal((N_BARS + N_HELD, 1))
    return (math.sqrt(0.5) * common + math.sqrt(0.5) * independent(rng) / 0.01) * 0.01


def skewed(rng):
    """Many small gains, few large losses."""
    return (1.0 - rng.exponential(1.0, (N_BARS + N_HELD, 100))) * 0.01


def moving_averages(rng):
    """Long above and short below a moving average, decided one bar before, of a random walk."""
    walk = np.cumsum(rng.standard_normal(N_BARS + N_HELD + 300) * 0.01)
    total = np.concatenate([[0.0], np.cumsum(walk)])
    change = np.diff(walk)
    columns = []
    for window in range(4, 231, 2):
        average = (total[window:] - total[:-window]) / window
        position = np.sign(walk[window - 1 :] - average)
        columns.append(position[-(N_BARS + N_HELD) - 1 : -1] * change[-(N_BARS + N_HELD) :])
    return np.column_stack(columns)


def reality_check_p(returns, seed):
    sums, _, _ = block_moments(returns[:N_BARS], np.arange(0, N_BARS + 1, BLOCK))
    return p_value(*make_bootstrap(np.full(N_BARS // BLOCK, BLOCK), n_bootstrap=400, seed=seed).batch_maximum(sums))


def p_values(make, n_sweeps, edge=0.0):
    found = []
    for seed in range(n_sweeps):
        returns = make(np.random.default_rng(seed))
        returns[:, 42] += edge
        found.append(reality_check_p(returns, seed))
    return np.array(found)


@pytest.mark.parametrize("make", [independent, correlated, skewed, moving_averages])
def test_noise_is_seldom_taken_for_an_edge(make):
    p = p_values(make, 40)
    # 40 draws of a uniform: 5 % is exceeded 6 times or more with a chance of 1 %.
    assert np.sum(p <= 0.05) <= 6
    assert 0.3 < p.mean() < 0.7


@pytest.mark.parametrize("make", [independent, correlated, skewed])
def test_a_planted_edge_is_found(make):
    # A Sharpe ratio of .12 a bar: 6 standard errors in the search.
    assert np.sum(p_values(make, 12, edge=0.0012) <= 0.05) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("make", [independent, correlated, skewed, moving_averages])
def test_p_is_uniform_over_300_sweeps_of_noise(make):
    p = p_values(make, 300)
    # Uniform within three standard errors at every level.
    for level in (0.05, 0.1, 0.2, 0.5, 0.8):
        assert np.mean(p <= level) == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 300))


@pytest.mark.slow
@pytest.mark.parametrize(("studentise", "low", "high"), [("resampled", 0.02, 0.09), ("fixed", 0.15, 1.0)])
def test_size_of_the_studentisations_on_skewed_noise(studentise, low, high):
    """Why the standard error is measured in every draw: with it fixed, noise of negative skew looks good."""
    rejected = []
    for seed in range(500):
        sums = 1.0 - np.random.default_rng(seed).gamma(4.0, 0.25, (200, 120))
        bootstrap = make_bootstrap(np.full(120, 21.0), n_bootstrap=500, seed=seed, studentise=studentise)
        rejected.append(p_value(*bootstrap.batch_maximum(sums)) <= 0.05)
    assert low <= np.mean(rejected) <= high
