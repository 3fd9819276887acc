import numpy as np

from alphapulse.sweep.study_state import N_BEST, StudyState, sampled


def test_state_survives_storage():
    state = StudyState.start(5)
    state.merge(1.5, np.arange(5.0), np.array([0.3, np.nan, 0.1]))
    state.complete(0)
    state.seconds = 2.5
    back = StudyState.from_bytes(state.to_bytes())
    assert (back.observed, back.thresholds, back.seconds) == (1.5, {0: -np.inf}, 2.5)
    np.testing.assert_array_equal(back.maxima, state.maxima)
    np.testing.assert_array_equal(back.best, [0.1, 0.3])


def test_merge_does_not_depend_on_how_trials_are_cut():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=5 * N_BEST)
    whole, parts = StudyState.start(3), StudyState.start(3)
    whole.merge(0.0, np.zeros(3), scores)
    for part in np.split(scores, [7, 900, 3000]):
        parts.merge(0.0, np.zeros(3), part)
    np.testing.assert_array_equal(whole.best, parts.best)
    np.testing.assert_array_equal(whole.best, np.sort(scores)[-N_BEST:])


def test_threshold_comes_from_two_generations_before():
    state = StudyState.start(0)
    state.merge(0.0, np.empty(0), np.arange(N_BEST, dtype=float))
    state.complete(0)
    assert state.threshold(1) == -np.inf
    assert state.threshold(2) == 0.0
    state.merge(0.0, np.empty(0), np.array([5000.0]))
    state.complete(1)
    assert (state.threshold(2), state.threshold(3)) == (0.0, 1.0)


def test_sample_thins_out_beyond_the_kept_trials():
    kept = sampled(np.arange(1_000_000), 10_000)
    assert kept[:10_000].all()
    # keep_blocks * rate * log(n / keep_blocks) = 4605 on average
    assert 4_000 < kept[10_000:].sum() < 5_300
    np.testing.assert_array_equal(sampled(np.arange(50_000, 60_000), 10_000), kept[50_000:60_000])
