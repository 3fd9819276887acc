"""What choosing the best trial would have earned: walk-forward and combinatorial purged cross-validation.

Both need only the block moments of every trial: a training set is a few ranges of blocks, and the trial chosen
there is followed over the next ones. Nothing is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.blocks import as_moments, even_edges, sharpe_of

Range = tuple[int, int]


@dataclass(frozen=True)
class WalkForward:
    """Outcome of `walk_forward`.

    Attributes
    ----------
    train, test : tuple of (start, stop)
        Blocks of each window.
    chosen : ndarray (n_windows,)
        Best trial of each training window, -1 where none has a Sharpe ratio: then cash is held.
    in_sample_sharpe, out_of_sample_sharpe : ndarray (n_windows,)
        Of the chosen trial in its two windows, per bar [1].
    blocks : ndarray (n_out,)
        Blocks out of sample, in order.
    returns : ndarray (n_out,)
        Sum of the stitched returns in each of them [1].
    equity : ndarray (n_out,)
        Growth of one unit at the end of each [1]: exp of the running sum of (r - r^2/2), the logarithmic return to
        second order, which is what moments give.
    sharpe : float
        Of the stitched returns, per bar [1].
    efficiency : float
        `sharpe` over the mean of `in_sample_sharpe` [1]; NaN unless the latter is positive.
    drift : ndarray (n_parameters,)
        Mean change of the chosen parameters from window to window, as a share of their range (of a categorical one:
        share of the windows at which it changes); NaN with fewer than two windows, empty without parameters.
    """

    train: tuple[Range, ...]
    test: tuple[Range, ...]
    chosen: Int64Array1D
    in_sample_sharpe: Float64Array1D
    out_of_sample_sharpe: Float64Array1D
    blocks: Int64Array1D
    returns: Float64Array1D
    equity: Float64Array1D
    sharpe: float
    efficiency: float
    drift: Float64Array1D


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
        Of the chosen trial, per bar [1].
    path_sharpe : ndarray (n_paths,)
        Sharpe ratio out of sample of each path through all folds, per bar [1]; NaN without variance.
    """

    folds: tuple[tuple[int, ...], ...]
    chosen: Int64Array1D
    in_sample_sharpe: Float64Array1D
    path_sharpe: Float64Array1D


def walk_forward_windows(
    n_blocks: int, *, train_blocks: int, test_blocks: int, purge: int = 0, embargo: int = 0, anchored: bool = False
) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Return the training and test ranges [start, stop) of blocks; tests follow one another without a gap.

    Parameters
    ----------
    n_blocks : int
    train_blocks, test_blocks : int
        Length of a training window (anchored: of the first one) and of a test window; the last may be shorter.
    purge, embargo : int
        Blocks left out between training and test, added up: in time order both stand at that one border.
    anchored : bool
        Whether training starts at block 0 each time, or rolls along.

    Raises
    ------
    ValueError
        If a length is not positive, a gap is negative, or no test window fits.
    """
    gap = purge + embargo
    if train_blocks < 1 or test_blocks < 1 or purge < 0 or embargo < 0:
        raise ValueError(
            "`train_blocks >= 1`, `test_blocks >= 1`, `purge >= 0` and `embargo >= 0` must hold, but got "
            f"{train_blocks}, {test_blocks}, {purge} and {embargo}."
        )
    if train_blocks + gap >= n_blocks:
        raise ValueError(
            f"`train_blocks + purge + embargo < n_blocks` must hold, but got {train_blocks} + {gap} and "
            f"n_blocks={n_blocks}; shorten the training window."
        )
    starts = range(train_blocks + gap, n_blocks, test_blocks)
    train = tuple((0 if anchored else s - gap - train_blocks, s - gap) for s in starts)
    return train, tuple((s, min(s + test_blocks, n_blocks)) for s in starts)


def walk_forward(
    sums: ArrayLike,
    squares: ArrayLike,
    counts: ArrayLike,
    *,
    train_blocks: int,
    test_blocks: int,
    purge: int = 0,
    embargo: int = 0,
    anchored: bool = False,
    parameters: ArrayLike | None = None,
    categorical: Sequence[bool] | None = None,
) -> WalkForward:
    """Follow the best trial of each training window over the next window, for all trials at once [1]_.

    Parameters
    ----------
    sums, squares : array_like (n_trials, n_blocks)
        Sum of the returns and of their squares in each block [1]. From a NaN on, a trial is not chosen.
    counts : array_like (n_blocks,)
        [bars].
    train_blocks, test_blocks, purge, embargo, anchored
        As for `walk_forward_windows` [blocks].
    parameters : array_like (n_trials, n_parameters), optional
        For `drift`.
    categorical : sequence of bool, optional
        Which parameters have no order.

    Returns
    -------
    WalkForward

    Raises
    ------
    ValueError
        If shapes or windows do not fit.

    References
    ----------
    .. [1] Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed., 2008, chapter 11.
    """
    totals, lengths, powers = _checked(sums, squares, counts)
    train, test = walk_forward_windows(
        len(lengths),
        train_blocks=train_blocks,
        test_blocks=test_blocks,
        purge=purge,
        embargo=embargo,
        anchored=anchored,
    )
    best = BestOnWindows(lengths, [(window,) for window in train])
    best.take(np.arange(len(totals)), totals, powers)
    table = np.empty((len(totals), 0)) if parameters is None else np.asarray(parameters, dtype=np.float64)
    spread = table.max(axis=0) - table.min(axis=0) if len(table) else np.zeros(table.shape[1])
    drift = parameter_drift(table[best.trials[best.trials >= 0]], spread, categorical)
    return stitch_windows(best, train, test, drift)


def stitch_windows(
    best: "BestOnWindows", train: tuple[Range, ...], test: tuple[Range, ...], drift: Float64Array1D
) -> WalkForward:
    """Return what following the best trials of the training windows over the test windows earns."""
    lengths = best.counts
    blocks = np.concatenate([np.arange(a, b) for a, b in test])
    owner = np.repeat(np.arange(len(test)), [b - a for a, b in test])
    returns, power = best.sums[owner, blocks], best.squares[owner, blocks]
    out_of_sample = np.array(
        [
            sharpe_of(_total(returns[a:b]), _total(power[a:b]), float(lengths[blocks[a:b]].sum()))
            for a, b in ((first - test[0][0], last - test[0][0]) for first, last in test)
        ]
    )
    sharpe = float(sharpe_of(_total(returns), _total(power), float(lengths[blocks].sum())))
    known = best.sharpe[best.trials >= 0]
    level = float(known.mean()) if len(known) else float("nan")
    return WalkForward(
        train=train,
        test=test,
        chosen=best.trials,
        in_sample_sharpe=best.sharpe,
        out_of_sample_sharpe=out_of_sample,
        blocks=blocks,
        returns=returns,
        equity=numerics.exp_array(np.cumsum(returns - power / 2)),
        sharpe=sharpe,
        efficiency=sharpe / level if level > 0 else float("nan"),
        drift=drift,
    )


def parameter_drift(
    chosen: Float64Array2D, spread: Float64Array1D, categorical: Sequence[bool] | None = None
) -> Float64Array1D:
    """Return the mean change of parameters from window to window, see `WalkForward.drift`.

    Parameters
    ----------
    chosen : ndarray (n_windows, n_parameters)
        Of the trials chosen.
    spread : ndarray (n_parameters,)
        Range of each parameter over the trials.
    categorical : sequence of bool, optional
        Which parameters have no order.
    """
    n_parameters = chosen.shape[1]
    if len(chosen) < 2:
        return np.full(n_parameters, np.nan)
    change = np.abs(np.diff(chosen, axis=0))
    unordered = np.zeros(n_parameters, dtype=bool) if categorical is None else np.asarray(categorical, dtype=bool)
    relative = change / np.where(spread > 0, spread, 1.0)
    share: Float64Array1D = np.where(unordered, change > 0, relative).mean(axis=0)
    return share


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
        [bars].
    n_folds, n_test_folds : int
        N and k, 1 <= k < N.
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
    totals, lengths, powers = _checked(sums, squares, counts)
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


def join_paths(best: "BestOnWindows", splits: tuple[tuple[int, ...], ...]) -> CombinatorialPurged:
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
        paths[j] = sharpe_of(_total(best.sums[owner, blocks]), _total(best.squares[owner, blocks]), bars)
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


class BestOnWindows:
    """The trial of the highest Sharpe ratio on each of some unions of block ranges, found piece by piece.

    Parameters
    ----------
    counts : ndarray (n_blocks,)
        [bars].
    windows : sequence of sequence of (start, stop)
        Blocks of each union.

    Attributes
    ----------
    trials : ndarray (n_windows,)
        The first of the best ones, -1 where none has a Sharpe ratio.
    sharpe : ndarray (n_windows,)
        That ratio per bar [1]; NaN where none has one.
    sums, squares : ndarray (n_windows, n_blocks)
        All block moments of these trials [1]; 0 where there is none: then cash is held.
    """

    def __init__(self, counts: Float64Array1D, windows: Sequence[Sequence[Range]]) -> None:
        self.counts = counts
        self.trials = np.full(len(windows), -1, dtype=np.int64)
        self.sharpe = np.full(len(windows), np.nan)
        self.sums = np.zeros((len(windows), len(counts)))
        self.squares = np.zeros((len(windows), len(counts)))
        self._bounds = np.zeros((len(windows), max(len(window) for window in windows), 2), dtype=np.int64)
        for i, window in enumerate(windows):
            for j, part in enumerate(window):
                self._bounds[i, j] = part

    def take(self, trials: Int64Array1D, sums: Float64Array2D, squares: Float64Array2D) -> None:
        """Take in trials (n_trials,) and their moments (n_trials, n_blocks)."""
        row = np.full(len(self.trials), -1, dtype=np.int64)
        _best_on_ranges(sums, squares, self.counts, self._bounds, row, self.sharpe)
        better = np.flatnonzero(row >= 0)
        row = row[better]
        self.trials[better] = trials[row]
        self.sums[better], self.squares[better] = sums[row], squares[row]


def _checked(
    sums: ArrayLike, squares: ArrayLike, counts: ArrayLike
) -> tuple[Float64Array2D, Float64Array1D, Float64Array2D]:
    totals, lengths = as_moments(sums, counts)
    powers = np.ascontiguousarray(squares, dtype=np.float64)
    if powers.shape != totals.shape:
        raise ValueError(f"`sums` and `squares` must have one shape, but got {totals.shape} and {powers.shape}.")
    return totals, lengths, powers


def _total(values: Float64Array1D) -> float:
    return float(values.sum())


@jit
def _best_on_ranges(
    sums: Float64Array2D,
    squares: Float64Array2D,
    counts: Float64Array1D,
    bounds: Int64Array1D,
    chosen: Int64Array1D,
    sharpe: Float64Array1D,
) -> None:
    """Raise `sharpe` (n_windows,) to the best of these trials, whose row is `chosen`, from running sums over blocks."""
    n_trials, n_blocks = sums.shape
    total, square, bars = np.zeros(n_blocks + 1), np.zeros(n_blocks + 1), np.zeros(n_blocks + 1)
    for b in range(n_blocks):
        bars[b + 1] = bars[b] + counts[b]
    for k in range(n_trials):
        for b in range(n_blocks):
            total[b + 1] = total[b] + sums[k, b]
            square[b + 1] = square[b] + squares[k, b]
        for i in range(len(bounds)):
            s, q, n = 0.0, 0.0, 0.0
            for j in range(bounds.shape[1]):
                a, z = bounds[i, j, 0], bounds[i, j, 1]
                s += total[z] - total[a]
                q += square[z] - square[a]
                n += bars[z] - bars[a]
            # What the differences of running sums leave of a constant stretch.
            if q <= 1e-12 * square[n_blocks]:
                continue
            value = sharpe_of(s, q, n)
            if value == value and not value <= sharpe[i]:
                sharpe[i] = value
                chosen[i] = k
