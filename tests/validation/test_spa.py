import pickle
from itertools import pairwise

import numpy as np
import pytest
from arch.bootstrap import SPA
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapulse.validation import critical_value, make_bootstrap, p_value, reality_check, step_down

N_BLOCKS = 130


def noise(n_trials, n_blocks=N_BLOCKS, seed=0):
    return np.random.default_rng(seed).standard_normal((n_trials, n_blocks)) * 0.03


def plain_draws(bootstrap, sums):
    """The definition, one trial and draw at a time in double precision."""
    sizes, counts = bootstrap.block_sizes, bootstrap.counts[: len(bootstrap.block_sizes)].astype(float)
    out = np.empty((len(sums), bootstrap.n_bootstrap))
    for k, s in enumerate(sums):
        mean = s.sum() / sizes.sum()
        error = np.sqrt(np.sum((s - sizes * mean) ** 2))
        for j in range(bootstrap.n_bootstrap):
            c = counts[:, j]
            centred = s - sizes * mean
            if bootstrap.studentise == "fixed":
                # (d* - d) / w, w = error / bars.
                out[k, j] = (c @ s / (c @ sizes) - mean) / (error / sizes.sum())
            else:
                own = np.sqrt(max(c @ centred**2 - (c @ centred) ** 2 / len(s), error**2 / 2))
                out[k, j] = c @ centred / own
    return out


@pytest.mark.parametrize("studentise", ["resampled", "fixed"])
@pytest.mark.parametrize("n_trials", [1, 2, 7])
def test_draws_match_the_definition(studentise, n_trials):
    sizes = np.random.default_rng(1).integers(15, 24, N_BLOCKS)
    bootstrap = make_bootstrap(sizes, n_bootstrap=40, studentise=studentise)
    sums = noise(n_trials)
    expected = plain_draws(bootstrap, sums)
    np.testing.assert_allclose(bootstrap.draws(sums), expected, rtol=2e-4, atol=2e-5)
    observed, maxima = bootstrap.batch_maximum(sums)
    np.testing.assert_array_equal(maxima, bootstrap.draws(sums).max(axis=0))
    np.testing.assert_allclose(observed, bootstrap.statistics(sums).max(), rtol=0)


def test_counts_resample_every_block_alike():
    counts = make_bootstrap(np.ones(101), n_bootstrap=2000).counts
    np.testing.assert_array_equal(counts.sum(axis=0), 101)
    np.testing.assert_array_equal(counts[101:], 0)
    np.testing.assert_allclose(counts[:101].mean(axis=1), 1.0, atol=0.1)
    assert counts[:101].var() == pytest.approx(1 - 1 / 101, abs=0.02)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=8), studentise=st.sampled_from(["resampled", "fixed"]))
def test_streamed_maxima_equal_the_batch_to_the_bit(cuts, studentise):
    sums = noise(60)
    sums[11] = 0.0
    sums[17, 3] = np.nan
    sizes = np.full(N_BLOCKS, 21.0)
    bootstrap = make_bootstrap(sizes, n_bootstrap=100, seed=3, studentise=studentise)
    observed, maxima = bootstrap.batch_maximum(sums)
    merged, merged_maxima = -np.inf, np.full(100, -np.inf)
    edges = [0, *sorted(cuts), 60]
    for first, last in pairwise(edges):
        worker = pickle.loads(pickle.dumps(bootstrap))
        part, part_maxima = worker.batch_maximum(sums[first:last])
        merged, merged_maxima = max(merged, part), np.maximum(merged_maxima, part_maxima)
    assert merged == observed
    np.testing.assert_array_equal(merged_maxima, maxima)
    assert p_value(merged, merged_maxima) == p_value(observed, maxima)


def test_bootstrap_pickles_small():
    bootstrap = make_bootstrap(np.full(200, 21.0))
    assert bootstrap.counts.nbytes > 500_000
    assert len(pickle.dumps(bootstrap)) < 4000


def test_trials_without_variance_or_with_nan_enter_no_maximum():
    bootstrap = make_bootstrap(np.full(N_BLOCKS, 21.0), n_bootstrap=50)
    sums = noise(3)
    spoilt = np.vstack([sums, np.zeros(N_BLOCKS), np.full(N_BLOCKS, 0.021), np.full(N_BLOCKS, np.nan)])
    assert np.isnan(bootstrap.statistics(spoilt)[3:]).all()
    observed, maxima = bootstrap.batch_maximum(sums)
    again, again_maxima = bootstrap.batch_maximum(spoilt)
    assert again == observed
    np.testing.assert_array_equal(again_maxima, maxima)
    none, none_maxima = bootstrap.batch_maximum(spoilt[3:])
    assert none == -np.inf
    assert (none_maxima == -np.inf).all()
    assert np.isnan(p_value(none, none_maxima))


def test_p_value_counts_ties_and_itself():
    maxima = np.array([1.0, 2.0, 3.0, 4.0])
    assert [p_value(x, maxima) for x in (0.5, 2.0, 4.0, 5.0)] == [1.0, 0.8, 0.4, 0.2]


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=60), st.floats(-3, 3), st.sampled_from([0.01, 0.05, 0.1, 0.5]))
def test_critical_value_agrees_with_p_value(maxima, observed, level):
    values = np.array(maxima)
    assert (observed > critical_value(values, level)) == (p_value(observed, values) <= level + 1e-12)


def test_reality_check_finds_a_planted_edge():
    returns = np.random.default_rng(5).standard_normal((2500, 200)) * 0.01
    returns[:, 123] += 0.0012
    result = reality_check(returns, n_bootstrap=500, seed=1)
    assert result.p_value <= 0.01
    assert result.best_trial == 123
    assert result.statistic > result.critical_values[0.05]
    assert (result.n_blocks, result.block_length, result.n_excluded) == (250, 10, 0)


def test_reality_check_is_a_function_of_the_seed():
    returns = np.random.default_rng(5).standard_normal((600, 20)) * 0.01
    first, again, other = (reality_check(returns, n_bootstrap=200, block_length=3, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.maxima, again.maxima)
    assert not np.array_equal(first.maxima, other.maxima)


def test_reality_check_without_any_trial_that_counts():
    result = reality_check(np.zeros((300, 4)), n_bootstrap=50)
    assert np.isnan(result.p_value)
    assert np.isnan(result.statistic)
    assert (result.best_trial, result.n_excluded) == (-1, 4)


def test_reality_check_refuses_impossible_input():
    returns = np.zeros((300, 4))
    with pytest.raises(ValueError, match="block_length >= 1"):
        reality_check(returns, block_length=0)
    with pytest.raises(ValueError, match="two blocks"):
        reality_check(returns, block_length=300)
    with pytest.raises(ValueError, match="n_bootstrap >= 1"):
        reality_check(returns, n_bootstrap=0)
    with pytest.raises(ValueError, match="studentise"):
        reality_check(returns, studentise="none")
    with pytest.raises(ValueError, match="must fit"):
        make_bootstrap(np.ones(10)).batch_maximum(np.zeros((2, 9)))


def test_reality_check_agrees_with_arch():
    # arch 8.0.0 does not studentise; on trials of one variance that makes no difference to the fixed form.
    rng = np.random.default_rng(8)
    returns = rng.standard_normal((800, 12))
    returns = (returns / returns.std(axis=0)) + 0.03
    theirs = SPA(np.zeros(800), -returns, block_size=2, reps=2000, bootstrap="circular", studentize=False, seed=1)
    theirs.compute()
    ours = reality_check(returns, n_bootstrap=2000, block_length=2, seed=1, studentise="fixed")
    # "upper" is White's: every trial is centred on its own mean.
    assert ours.p_value == pytest.approx(theirs.pvalues["upper"], abs=0.05)


def test_step_down_finds_the_trials_with_an_edge_and_no_others():
    sums = noise(300, seed=2)
    sums[[5, 77, 200]] += np.array([[0.014], [0.012], [0.02]])
    bootstrap = make_bootstrap(np.full(N_BLOCKS, 21.0), n_bootstrap=500)
    result = step_down(bootstrap, sums)
    assert set(result.survivors) == {5, 77, 200}
    assert result.trials[0] == 200
    assert (np.diff(result.p_values) >= 0).all()
    observed, maxima = bootstrap.batch_maximum(sums)
    assert result.p_values[0] == p_value(observed, maxima)


def test_step_down_pays_for_the_trials_it_does_not_test():
    sums = noise(300, seed=4)
    bootstrap = make_bootstrap(np.full(N_BLOCKS, 21.0), n_bootstrap=200)
    whole, few = step_down(bootstrap, sums), step_down(bootstrap, sums, n_best=10)
    np.testing.assert_array_equal(few.p_values, whole.p_values[:10])
    _, maxima = bootstrap.batch_maximum(sums)
    best = np.sort(whole.trials[:10])
    partial = step_down(bootstrap, sums[best], maxima=maxima)
    np.testing.assert_array_equal(best[partial.trials], whole.trials[:10])
    assert partial.p_values[0] == whole.p_values[0]
    assert (partial.p_values >= whole.p_values[:10]).all()


def test_step_down_matches_the_definition():
    sums = noise(6, seed=9) + 0.005
    bootstrap = make_bootstrap(np.full(N_BLOCKS, 21.0), n_bootstrap=99)
    draws, statistics = bootstrap.draws(sums), bootstrap.statistics(sums)
    order = np.argsort(-statistics)
    expected, largest = [], 0.0
    for i, k in enumerate(order):
        p = (1 + np.sum(draws[order[i:]].max(axis=0) >= statistics[k])) / 100
        largest = max(largest, p)
        expected.append(largest)
    np.testing.assert_array_equal(step_down(bootstrap, sums).p_values, expected)


def test_step_down_of_nothing_is_empty():
    bootstrap = make_bootstrap(np.full(N_BLOCKS, 21.0), n_bootstrap=20)
    assert len(step_down(bootstrap, np.zeros((3, N_BLOCKS))).survivors) == 0
    with pytest.raises(ValueError, match="alpha"):
        step_down(bootstrap, noise(2), alpha=0.0)
