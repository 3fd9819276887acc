import numpy as np
import pytest
from skfolio.model_selection import CombinatorialPurgedCV

from alphapulse.validation import block_moments, combinatorial_purged
from alphapulse.validation.blocks import even_edges
from alphapulse.validation.purged import training_ranges


def sharpe(returns):
    return returns.mean(axis=0) / returns.std(axis=0, ddof=1)


def trials(n_bars=600, n_trials=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n_bars, n_trials)) * 0.01 + 0.0003


@pytest.mark.parametrize(("purge", "embargo"), [(0, 0), (1, 0), (2, 2)])
def test_combinatorial_training_sets_agree_with_skfolio(purge, embargo):
    edges = even_edges(60, 6)
    cv = CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=purge, embargo_size=embargo)
    for (train, _), folds in zip(cv.split(np.zeros((60, 1))), cv.test_set_index, strict=True):
        ranges = training_ranges(edges, [int(f) for f in folds], purge=purge, embargo=embargo)
        np.testing.assert_array_equal(np.concatenate([np.arange(a, b) for a, b in ranges]), train)


def test_combinatorial_paths_match_the_definition():
    returns = trials()
    edges = even_edges(60, 6)
    bars = edges * 10
    cv = CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=1)
    result = combinatorial_purged(
        *block_moments(returns, even_edges(600, 60)), n_folds=6, n_test_folds=2, purge=1, embargo=0
    )
    paths = np.full((600, 5), np.nan)
    seen = np.zeros(6, dtype=int)
    for i, (train, _) in enumerate(cv.split(np.zeros((60, 1)))):
        rows = (train[:, None] * 10 + np.arange(10)).ravel()
        best = int(np.argmax(sharpe(returns[rows])))
        assert result.chosen[i] == best
        for fold in result.folds[i]:
            part = slice(bars[fold], bars[fold + 1])
            paths[part, seen[fold]] = returns[part, best]
            seen[fold] += 1
    np.testing.assert_allclose(result.path_sharpe, sharpe(paths), rtol=1e-9)


def test_folds_that_do_not_fit_raise():
    moments = block_moments(trials(100), even_edges(100, 10))
    with pytest.raises(ValueError, match="n_test_folds < n_folds"):
        combinatorial_purged(*moments, n_folds=4, n_test_folds=4)
