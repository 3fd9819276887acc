"""What a verdict keeps of a study: the same from pieces of any size, and never more than it says."""

import json

import numpy as np
import pytest

from alphapulse.search.dimensions import FloatDimension
from alphapulse.validation import (
    BlockArrays,
    Ledger,
    ParameterGrid,
    SharpeEstimate,
    TrialArrays,
    VerdictInputs,
    block_moments,
    make_bootstrap,
    make_verdict,
    walk_forward,
)
from alphapulse.validation.blocks import even_edges, merge_blocks
from alphapulse.validation.verdict import gathering as module
from alphapulse.validation.verdict.gathering import sample_blocks, sample_trials
from alphapulse.validation.windows import BestOnWindows


def moments():
    """Block moments of sixty trials, of which one has an edge."""
    returns = np.random.default_rng(0).standard_normal((1400, 60)) * 0.01
    returns[:, 17] += 0.002
    return block_moments(returns, even_edges(1400, 140))


class PiecewiseTrials(TrialArrays):
    """Trials that come a few at a time."""

    def sharpes(self):
        for start in range(0, len(self.values), 7):
            yield self.values[start : start + 7]


class PiecewiseBlocks(BlockArrays):
    """Block moments that come a few at a time."""

    def read(self):
        ((trials, sums, squares),) = super().read()
        for start in range(0, len(sums), 7):
            rows = slice(start, start + 7)
            yield trials[rows], sums[rows], squares[rows]


@pytest.fixture
def small(monkeypatch):
    """Limits that sixty trials exceed."""
    monkeypatch.setattr(module, "N_BEST", 5)
    monkeypatch.setattr(module, "MAX_PBO_TRIALS", 20)
    monkeypatch.setattr(module, "MAX_SAMPLE", 30)


def test_verdict_has_the_same_bits_from_pieces_and_from_arrays(small):
    sums, squares, sizes = moments()
    # Equal trials on both sides of a cut: the first one is the best.
    sums[22], squares[22] = sums[17], squares[17]
    sums[3] = np.nan
    bootstrap = make_bootstrap(sizes, n_bootstrap=100)
    observed, maxima = bootstrap.batch_maximum(sums)
    values = sums.sum(axis=1) / 14
    values[[0, 7, 8, 59]] = np.nan
    parameters = np.random.default_rng(9).random((60, 2))
    own = SharpeEstimate(float(values[17]), 1400, 0.0, 3.0)
    verdicts = [
        make_verdict(
            VerdictInputs(
                chosen=17,
                in_sample=own,
                hold_out=own,
                trials=trials(values, parameters),
                bootstrap=bootstrap,
                observed=observed,
                maxima=maxima,
                ledger=Ledger(60),
                blocks=blocks(sums, squares, np.arange(60)),
                grid=ParameterGrid.of([FloatDimension("x", 0.0, 1.0), FloatDimension("y", 0.0, 1.0)]),
            )
        ).to_dict()
        for trials, blocks in ((TrialArrays, BlockArrays), (PiecewiseTrials, PiecewiseBlocks))
    ]
    assert json.dumps(verdicts[0]) == json.dumps(verdicts[1])
    assert verdicts[0]["numbers"]["neighbourhood_trials"] <= 30
    assert "of the 60 trials" in "".join(verdicts[0]["reasons"])


def test_sample_of_trials_is_a_spread_and_the_best_and_the_chosen_one(small):
    values = np.random.default_rng(3).standard_normal(1000)
    values[::50] = np.nan
    parameters = np.arange(2000.0).reshape(1000, 2)
    sample = sample_trials(PiecewiseTrials(values, parameters), 123)
    assert sample.sharpe_variance == pytest.approx(np.nanvar(values, ddof=1), rel=1e-13)
    assert len(sample.trials) <= 30
    assert set(np.argsort(-np.nan_to_num(values, nan=-9.0))[:5]) | {0, 123, 999} <= set(sample.trials)
    assert np.diff(sample.trials).max() <= 1000 / 20
    np.testing.assert_array_equal(sample.parameters, parameters[sample.trials])
    np.testing.assert_array_equal(sample.sharpes, values[sample.trials])


def test_sample_of_few_trials_is_all_of_them():
    values = np.array([0.1, np.nan, 0.3])
    sample = sample_trials(TrialArrays(values), 2)
    np.testing.assert_array_equal(sample.trials, [0, 1, 2])
    assert sample.parameters.shape == (3, 0)
    assert np.isnan(sample_trials(TrialArrays(values[:2]), 0).sharpe_variance)


def test_sample_of_blocks_has_the_best_and_an_even_spread(small):
    sums, squares, sizes = moments()
    bootstrap = make_bootstrap(sizes, n_bootstrap=10)
    numbers = np.arange(60) * 3 + 1
    sample = sample_blocks(PiecewiseBlocks(sums, squares, numbers), bootstrap, 8, [])
    best = np.argsort(-bootstrap.statistics(sums), kind="stable")[:5]
    np.testing.assert_array_equal(sample.best_trials, numbers[best])
    np.testing.assert_array_equal(sample.best_sums, sums[best])
    spread = np.linspace(0, 59, 20).astype(int)
    groups = merge_blocks(sums[spread], squares[spread], bootstrap.block_sizes, 8)
    for got, expected in zip((sample.group_sums, sample.group_squares, sample.group_counts), groups, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_sample_of_no_blocks_is_empty():
    sums, squares, sizes = moments()
    sample = sample_blocks(BlockArrays(sums[:0], squares[:0]), make_bootstrap(sizes, n_bootstrap=10), 8, [])
    assert (len(sample.best_trials), sample.group_sums.shape) == (0, (0, 8))


def test_windows_choose_in_pieces_as_at_once():
    sums, squares, counts = moments()
    rolling = walk_forward(sums, squares, counts, train_blocks=60, test_blocks=12)
    best = BestOnWindows(counts, [(window,) for window in rolling.train])
    for rows in PiecewiseBlocks(sums, squares).read():
        best.take(*rows)
    np.testing.assert_array_equal(best.trials, rolling.chosen)
    np.testing.assert_array_equal(best.sharpe, rolling.in_sample_sharpe)
    np.testing.assert_array_equal(best.sums, sums[rolling.chosen])
