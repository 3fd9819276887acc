"""What following the best trial would have earned: walk-forward.

It needs only the block moments of every trial: the trial chosen on a training window is followed over the next one.
Nothing is run again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.blocks import sharpe_of
from alphapulse.validation.windows import BestOnWindows, Range, checked_moments


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
        Sharpe ratios of the chosen trial in its two windows, per bar [1].
    blocks : ndarray (n_out,)
        Numbers of the blocks out of sample, in order.
    returns : ndarray (n_out,)
        Sum of the stitched returns in each of them [1].
    equity : ndarray (n_out,)
        Growth of one unit at the end of each [1]: exp of the running sum of (r - r^2/2), the logarithmic return to
        second order, which is what moments give.
    sharpe : float
        Sharpe ratio of the stitched returns, per bar [1].
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
        Bars in each block [bars].
    train_blocks, test_blocks, purge, embargo, anchored
        See `walk_forward_windows` [blocks].
    parameters : array_like (n_trials, n_parameters), optional
        They are what `drift` is measured in.
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
    totals, lengths, powers = checked_moments(sums, squares, counts)
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
    best: BestOnWindows, train: tuple[Range, ...], test: tuple[Range, ...], drift: Float64Array1D
) -> WalkForward:
    """Return what following the best trials of the training windows over the test windows earns."""
    lengths = best.counts
    blocks = np.concatenate([np.arange(a, b) for a, b in test])
    owner = np.repeat(np.arange(len(test)), [b - a for a, b in test])
    returns, power = best.sums[owner, blocks], best.squares[owner, blocks]
    out_of_sample = np.array(
        [
            sharpe_of(float(returns[a:b].sum()), float(power[a:b].sum()), float(lengths[blocks[a:b]].sum()))
            for a, b in ((first - test[0][0], last - test[0][0]) for first, last in test)
        ]
    )
    sharpe = float(sharpe_of(float(returns.sum()), float(power.sum()), float(lengths[blocks].sum())))
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
        Parameters of the trials chosen; NaN is inactive.
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
    # One that becomes active or inactive has changed altogether.
    before, after = np.isnan(chosen[:-1]), np.isnan(chosen[1:])
    relative = np.where(before | after, before != after, np.where(unordered, change > 0, relative))
    share: Float64Array1D = relative.mean(axis=0)
    return share
