import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio.model_selection import WalkForward as SkfolioWalkForward

from alphapulse.validation import block_moments, walk_forward, walk_forward_windows
from alphapulse.validation.blocks import even_edges
from alphapulse.validation.walk_forward import parameter_drift


def sharpe(returns):
    return returns.mean(axis=0) / returns.std(axis=0, ddof=1)


def trials(n_bars=1200, n_trials=15, seed=0):
    return np.random.default_rng(seed).standard_normal((n_bars, n_trials)) * 0.01 + 0.0003


@pytest.mark.parametrize("anchored", [False, True])
def test_walk_forward_matches_the_definition(anchored):
    returns = trials()
    edges = even_edges(1200, 60)
    result = walk_forward(
        *block_moments(returns, edges), train_blocks=20, test_blocks=7, purge=1, embargo=1, anchored=anchored
    )
    stitched, first = [], 22
    for i in range(len(result.test)):
        train = returns[edges[0 if anchored else first - 22] : edges[first - 2]]
        test = returns[edges[first] : edges[min(first + 7, 60)]]
        best = int(np.argmax(sharpe(train)))
        assert result.chosen[i] == best
        assert result.in_sample_sharpe[i] == pytest.approx(sharpe(train)[best], rel=1e-9)
        assert result.out_of_sample_sharpe[i] == pytest.approx(sharpe(test)[best], rel=1e-9)
        stitched.append(test[:, best])
        first += 7
    whole = np.concatenate(stitched)
    assert result.sharpe == pytest.approx(sharpe(whole), rel=1e-9)
    assert result.efficiency == pytest.approx(sharpe(whole) / result.in_sample_sharpe.mean(), rel=1e-9)
    assert result.returns.sum() == pytest.approx(whole.sum(), rel=1e-9)
    assert result.equity[-1] == pytest.approx(np.prod(1 + whole), rel=1e-3)
    np.testing.assert_array_equal(result.blocks, np.arange(22, 60))


def test_walk_forward_keeps_to_a_planted_edge():
    returns = trials()
    returns[:, 4] += 0.003
    parameters = np.random.default_rng(1).random((15, 2))
    result = walk_forward(
        *block_moments(returns, even_edges(1200, 60)), train_blocks=20, test_blocks=5, parameters=parameters
    )
    assert (result.chosen == 4).all()
    assert result.efficiency == pytest.approx(1.0, abs=0.4)
    np.testing.assert_array_equal(result.drift, 0.0)


def test_walk_forward_drift_is_a_share_of_the_range():
    returns = np.full((40, 2), 1e-3)
    noise = np.random.default_rng(0).standard_normal((40, 2)) * 1e-4
    returns[:10, 0] += 0.01
    returns[10:20, 1] += 0.01
    result = walk_forward(
        *block_moments(returns + noise, even_edges(40, 4)),
        train_blocks=1,
        test_blocks=1,
        parameters=[[10.0, 0.0, 1.0], [30.0, 2.0, 1.0]],
        categorical=[False, True, False],
    )
    np.testing.assert_array_equal(result.chosen[:2], [0, 1])
    changes = np.count_nonzero(np.diff(result.chosen)) / 2
    np.testing.assert_array_equal(result.drift, [changes, changes, 0.0])


def test_walk_forward_holds_cash_where_nothing_can_be_chosen():
    returns = np.zeros((60, 2))
    returns[40:] = trials(20, 2)
    result = walk_forward(*block_moments(returns, even_edges(60, 6)), train_blocks=2, test_blocks=2)
    np.testing.assert_array_equal(result.chosen, [-1, -1])
    assert np.isnan(result.in_sample_sharpe).all()
    assert np.isnan(result.efficiency)
    np.testing.assert_array_equal(result.equity, 1.0)


def test_walk_forward_never_chooses_a_trial_that_only_rounding_gives_variance():
    returns = trials(600, 4)
    returns[300:, 2] = 0.0
    returns[:300, 2] += 0.05
    returns[300:, 3] = 0.001
    result = walk_forward(*block_moments(returns, even_edges(600, 60)), train_blocks=10, test_blocks=10)
    assert not np.isin(result.chosen[3:], [2, 3]).any()


def test_walk_forward_does_not_see_the_future():
    returns = trials()
    edges = even_edges(1200, 60)
    before = walk_forward(*block_moments(returns, edges), train_blocks=20, test_blocks=5)
    returns[edges[40] :] = trials(seed=3)[edges[40] :] * 5
    after = walk_forward(*block_moments(returns, edges), train_blocks=20, test_blocks=5)
    # The fifth test window starts at block 40.
    np.testing.assert_array_equal(before.chosen[:5], after.chosen[:5])
    np.testing.assert_array_equal(before.returns[:20], after.returns[:20])


@given(
    train=st.integers(2, 20), test=st.integers(1, 10), purge=st.integers(0, 4), n_tests=st.integers(1, 6), anchored=...
)
@settings(deadline=None)
def test_windows_agree_with_skfolio(train: int, test: int, purge: int, n_tests: int, anchored: bool):
    n_blocks = train + purge + n_tests * test
    ours = walk_forward_windows(n_blocks, train_blocks=train, test_blocks=test, purge=purge, anchored=anchored)
    split = SkfolioWalkForward(test_size=test, train_size=train, expand_train=anchored, purged_size=purge)
    theirs = list(split.split(np.zeros((n_blocks, 1))))
    assert len(theirs) == len(ours[0])
    for (a, b), (c, d), (their_train, their_test) in zip(*ours, theirs, strict=True):
        np.testing.assert_array_equal(np.arange(a, b), their_train)
        np.testing.assert_array_equal(np.arange(c, d), their_test)


def test_windows_that_do_not_fit_raise():
    moments = block_moments(trials(100), even_edges(100, 10))
    with pytest.raises(ValueError, match="shorten the training window"):
        walk_forward(*moments, train_blocks=9, test_blocks=1, purge=1)
    with pytest.raises(ValueError, match="train_blocks >= 1"):
        walk_forward(*moments, train_blocks=0, test_blocks=1)
    with pytest.raises(ValueError, match="one shape"):
        walk_forward(moments[0], moments[1][:3], moments[2], train_blocks=2, test_blocks=1)


def test_a_parameter_that_becomes_active_has_drifted_altogether():
    nan = np.nan
    chosen = np.array([[nan, 1.0, nan], [5.0, nan, nan], [10.0, nan, nan]])
    np.testing.assert_array_equal(parameter_drift(chosen, np.array([10.0, 1.0, nan])), [0.75, 0.5, 0.0])
