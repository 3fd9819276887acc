"""Whole sweeps of pure noise, and of noise with one planted edge, judged from end to end."""

import math

import numpy as np
import pytest

from alphapulse.validation import (
    SharpeEstimate,
    TrialArrays,
    VerdictInputs,
    block_moments,
    make_bootstrap,
    make_verdict,
    p_value,
)

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


def judge(returns, seed):
    searched, held = returns[:N_BARS], returns[N_BARS:]
    sums, _, sizes = block_moments(searched, np.arange(0, N_BARS + 1, BLOCK))
    bootstrap = make_bootstrap(sizes, n_bootstrap=400, seed=seed)
    observed, maxima = bootstrap.batch_maximum(sums)
    sharpes = searched.mean(axis=0) / searched.std(axis=0, ddof=1)
    best = int(np.argmax(sharpes))

    def estimate(r):
        z = (r - r.mean()) / r.std()
        return SharpeEstimate(float(r.mean() / r.std(ddof=1)), len(r), float((z**3).mean()), float((z**4).mean()))

    return make_verdict(
        VerdictInputs(
            chosen=best,
            in_sample=estimate(searched[:, best]),
            hold_out=estimate(held[:, best]),
            trials=TrialArrays(sharpes),
            bootstrap=bootstrap,
            observed=observed,
            maxima=maxima,
            look_ahead_clean=True,
        )
    )


def verdicts(make, n_sweeps, edge=0.0):
    for seed in range(n_sweeps):
        returns = make(np.random.default_rng(seed))
        returns[:, 42] += edge
        yield judge(returns, seed)


@pytest.mark.parametrize("make", [independent, correlated, skewed, moving_averages])
def test_noise_seldom_survives(make):
    results = list(verdicts(make, 40))
    p = np.array([v.numbers["reality_check_p"] for v in results])
    assert sum(v.word == "SURVIVES" for v in results) <= 2
    # 40 draws of a uniform: 5 % is exceeded 6 times or more with a chance of 1 %.
    assert np.sum(p <= 0.05) <= 6
    assert 0.3 < p.mean() < 0.7


@pytest.mark.parametrize("make", [independent, correlated, skewed])
def test_a_planted_edge_survives(make):
    # A Sharpe ratio of .12 a bar: 6 standard errors in the search, 3 on the hold-out.
    words = [v.word for v in verdicts(make, 12, edge=0.0012)]
    assert words.count("SURVIVES") >= 10


@pytest.mark.slow
@pytest.mark.parametrize("make", [independent, correlated, skewed, moving_averages])
def test_noise_seldom_survives_300_times(make):
    results = list(verdicts(make, 300))
    p = np.array([v.numbers["reality_check_p"] for v in results])
    assert sum(v.word == "SURVIVES" for v in results) <= 0.05 * 300
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
