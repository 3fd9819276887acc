"""What choosing the best trial would have earned on parts that it was not chosen on: purged cross-validation.

It needs only the block moments of every trial: a training set is a few ranges of blocks. Nothing is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from alphapulse.typing import Float64Array1D, Int64Array1D
from alphapulse.validation.blocks import even_edges, sharpe_of
from alphapulse.validation.windows import BestOnWindows, Range, checked_moments


@dataclass(frozen=True)
class CombinatorialPurged:
    """Outcome of `combinatorial_purged`.

    Attributes
    ----------
    folds : tuple of tuple of int
        Folds tested by each split.
    chosen : ndarray (n_splits,)
        Best trial of each training set, -1 where none has a Sharpe ratio.
    in_sample_sharpe : ndarray (n_splits,)
        Sharpe ratio of the chosen trial on its training set, per bar [1].
    path_sharpe : ndarray (n_paths,)
        Sharpe ratio out of sample of each path through all folds, per bar [1]; NaN without variance.
    """

    folds: tuple[tuple[int, ...], ...]
    chosen: Int64Array1D
    in_sample_sharpe: Float64Array1D
    path_sharpe: Float64Array1D


def combinatorial_purged(
    sums: ArrayLike,
    squares: ArrayLike,
    counts: ArrayLike,
    *,
    n_folds: int = 10,
    n_test_folds: int = 2,
    purge: int = 0,
    embargo: int = 0,
) -> CombinatorialPurged:
    """Choose the best trial on every union of folds but a few, follow it there, and join paths through all [1]_.

    The blocks are cut into N contiguous folds; each of the C(N, k) splits tests k and trains on the rest. Fold f of
    path j comes from the j-th split that tests f, so there are C(N, k) k / N paths.

    Parameters
    ----------
    sums, squares : array_like (n_trials, n_blocks)
        Sum of the returns and of their squares in each block [1].
    counts : array_like (n_blocks,)
        Bars in each block [bars].
    n_folds, n_test_folds : int
        They are N and k, 1 <= k < N.
    purge, embargo : int
        Blocks of training left out on either side of a test fold, and more of them after it.

    Returns
    -------
    CombinatorialPurged

    Raises
    ------
    ValueError
        If shapes or folds do not fit.

    References
    ----------
    .. [1] Lopez de Prado, Advances in Financial Machine Learning, 2018, sections 7.4 and 12.3 to 12.5.
    """
    totals, lengths, powers = checked_moments(sums, squares, counts)
    splits, trainings = purged_splits(
        len(lengths), n_folds=n_folds, n_test_folds=n_test_folds, purge=purge, embargo=embargo
    )
    best = BestOnWindows(lengths, trainings)
    best.take(np.arange(len(totals)), totals, powers)
    return join_paths(best, splits)


def purged_splits(
    n_blocks: int, *, n_folds: int, n_test_folds: int, purge: int = 0, embargo: int = 0
) -> tuple[tuple[tuple[int, ...], ...], list[tuple[Range, ...]]]:
    """Return the folds tested by each split of `combinatorial_purged`, and the blocks that it trains on."""
    if not 1 <= n_test_folds < n_folds <= n_blocks or purge < 0 or embargo < 0:
        raise ValueError(
            "`1 <= n_test_folds < n_folds <= n_blocks` and `purge, embargo >= 0` must hold, but got "
            f"n_test_folds={n_test_folds}, n_folds={n_folds}, n_blocks={n_blocks}, {purge} and {embargo}."
        )
    edges = even_edges(n_blocks, n_folds)
    splits = tuple(combinations(range(n_folds), n_test_folds))
    return splits, [training_ranges(edges, folds, purge=purge, embargo=embargo) for folds in splits]


def join_paths(best: BestOnWindows, splits: tuple[tuple[int, ...], ...]) -> CombinatorialPurged:
    """Return what following the best trials of the splits earns on each path through all folds."""
    lengths = best.counts
    n_folds = 1 + max(folds[-1] for folds in splits)
    sizes = np.diff(even_edges(len(lengths), n_folds))
    owners = np.array([[i for i, folds in enumerate(splits) if f in folds] for f in range(n_folds)])
    blocks = np.arange(len(lengths))
    bars = float(lengths.sum())
    paths = np.empty(owners.shape[1])
    for j in range(len(paths)):
        owner = np.repeat(owners[:, j], sizes)
        paths[j] = sharpe_of(float(best.sums[owner, blocks].sum()), float(best.squares[owner, blocks].sum()), bars)
    return CombinatorialPurged(splits, best.trials, best.sharpe, paths)


def training_ranges(
    edges: Int64Array1D, test_folds: Sequence[int], *, purge: int = 0, embargo: int = 0
) -> tuple[Range, ...]:
    """Return the ranges [start, stop) of blocks outside `test_folds`, purged on both sides and embargoed after."""
    train = np.ones(int(edges[-1]), dtype=bool)
    for fold in test_folds:
        first, last = int(edges[fold]), int(edges[fold + 1])
        train[max(first - purge, 0) : last + purge + embargo] = False
    borders = np.flatnonzero(np.diff(np.concatenate([[False], train, [False]]).astype(np.int8)))
    return tuple((int(a), int(b)) for a, b in borders.reshape(-1, 2))
