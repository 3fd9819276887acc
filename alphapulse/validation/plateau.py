"""Plateaus: is a trial good because its neighbourhood is, or by itself alone? And objectives that ask for both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from alphapulse import numerics
from alphapulse.compiling import jit
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D
from alphapulse.validation.blocks import as_moments, merge_blocks, sharpe_of

# Share of the range that counts as near in a continuous parameter.
NEAR = 0.1
# Above 1 by rounding: one step is a neighbour.
REACH = 1.0 + 1e-9


class ParameterRange(Protocol):
    """What is read of one dimension of a search space."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest parameter."""

    @property
    def step(self) -> float | None:
        """Distance of neighbours; None is 10 % of the range."""

    @property
    def log(self) -> bool:
        """Whether distances are measured in the logarithm."""

    @property
    def is_whole(self) -> bool:
        """Whether parameters are whole numbers."""

    @property
    def is_ordered(self) -> bool:
        """Whether parameters that differ can be near."""


@dataclass(frozen=True)
class ParameterGrid:
    """The parameters of a search as arrays, one entry a parameter.

    Attributes
    ----------
    low, high : ndarray (n_parameters,) float64
        Inclusive bounds.
    step : ndarray (n_parameters,) float64
        Distance of the values on a grid; NaN is continuous (an integer without a stated step too).
    log, integer, categorical : ndarray (n_parameters,) bool
        Whether distances are in the logarithm, values are whole, and values have no order.
    """

    low: Float64Array1D
    high: Float64Array1D
    step: Float64Array1D
    log: BoolArray1D
    integer: BoolArray1D
    categorical: BoolArray1D

    @classmethod
    def of(cls, dimensions: Iterable[ParameterRange]) -> "ParameterGrid":
        """Return the arrays of the dimensions of a search space."""
        rows = list(dimensions)
        return cls(
            low=np.array([d.bounds[0] for d in rows], dtype=np.float64),
            high=np.array([d.bounds[1] for d in rows], dtype=np.float64),
            step=np.array([np.nan if d.step is None else d.step for d in rows], dtype=np.float64),
            log=np.array([d.log for d in rows], dtype=bool),
            integer=np.array([d.is_whole for d in rows], dtype=bool),
            categorical=np.array([not d.is_ordered for d in rows], dtype=bool),
        )

    def scaled(self, parameters: ArrayLike) -> Float64Array2D:
        """Return parameters (n_trials, n_parameters) in units in which 1 is the reach of a neighbourhood.

        A step of a grid, or 10 % of the range (of its logarithm if `log`); two choices are 2 apart or more, and so is
        NaN, a parameter that is inactive, from all others.
        """
        table = np.ascontiguousarray(parameters, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(self.low):
            raise ValueError(f"`parameters` must have the shape (n_trials, {len(self.low)}), but got {table.shape}.")
        out = np.empty_like(table)
        for i in range(len(self.low)):
            column, low, high = table[:, i], self.low[i], self.high[i]
            if self.categorical[i]:
                out[:, i] = 2 * column
                continue
            if self.log[i] and np.isnan(self.step[i]):
                column, low, high = numerics.log_array(column.copy()), numerics.log(low), numerics.log(high)
            reach = NEAR * (high - low) if np.isnan(self.step[i]) else self.step[i]
            out[:, i] = (column - low) / (reach if reach > 0 else 1.0)
        out[np.isnan(table)] = -2.0
        return out


@dataclass(frozen=True)
class Plateau:
    """Outcome of `plateau`, one entry a candidate, in descending order of its own value.

    Attributes
    ----------
    trials : ndarray (n_candidates,)
        Rows of the parameters.
    values : ndarray (n_candidates,)
        Values of the candidates themselves.
    medians : ndarray (n_candidates,)
        Median value of the trials in its neighbourhood, itself among them; NaN if it has no neighbour.
    n_neighbours : ndarray (n_candidates,)
        Other trials in the neighbourhood with a value.
    robust : int
        Row of the eligible candidate with the highest median, -1 if none has a neighbour.
    """

    trials: Int64Array1D
    values: Float64Array1D
    medians: Float64Array1D
    n_neighbours: Int64Array1D
    robust: int

    @property
    def ratios(self) -> Float64Array1D:
        """Median over own value [1], (n_candidates,): 1 on a flat plateau, near 0 on a spike; NaN unless positive."""
        positive = self.values > 0
        return np.where(positive, self.medians / np.where(positive, self.values, 1.0), np.nan)


def plateau(
    parameters: ArrayLike,
    values: ArrayLike,
    grid: ParameterGrid,
    *,
    n_candidates: int = 1000,
    include: Sequence[int] = (),
    eligible: ArrayLike | None = None,
) -> Plateau:
    """Compare the best trials with their neighbourhoods among all trials.

    A neighbour is within one step (grid) or 10 % of the range (continuous) in every parameter, and has the same
    choice in a categorical one.

    Parameters
    ----------
    parameters : array_like (n_trials, n_parameters)
        A categorical parameter is the place of its choice; NaN is inactive, near to what is so too.
    values : array_like (n_trials,)
        Objective, higher is better (Sharpe ratio). NaN, a failed trial, is nobody's neighbour.
    grid : ParameterGrid
    n_candidates : int
        How many of the best trials to judge.
    include : sequence of int
        Rows to judge in any case.
    eligible : array_like (n_trials,), optional
        Rows among which the robust one is; all by default.

    Returns
    -------
    Plateau

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    value = np.ascontiguousarray(values, dtype=np.float64)
    scaled = grid.scaled(parameters)
    if value.shape != (len(scaled),):
        raise ValueError(f"`values` must have the shape ({len(scaled)},), but got {value.shape}.")
    known = np.flatnonzero(~np.isnan(value))
    ranked = known[np.argsort(-value[known], kind="stable")]
    wanted = np.zeros(len(value), dtype=bool)
    wanted[ranked[:n_candidates]] = True
    wanted[list(include)] = True
    trials = ranked[wanted[ranked]]
    # Sorted by the widest-spread parameter, a neighbourhood is a short run of rows.
    space, level = scaled[known], value[known]
    key = _widest(space)
    order = np.argsort(space[:, key], kind="stable") if space.shape[1] else np.arange(len(known))
    medians, n_neighbours = np.full(len(trials), np.nan), np.zeros(len(trials), dtype=np.int64)
    rows, candidates = np.ascontiguousarray(space[order]), np.ascontiguousarray(scaled[trials])
    first, last = np.zeros(len(trials), dtype=np.int64), np.full(len(trials), len(rows))
    if space.shape[1]:
        first = np.searchsorted(rows[:, key], candidates[:, key] - REACH)
        last = np.searchsorted(rows[:, key], candidates[:, key] + REACH, side="right")
    near, levels = np.empty(len(rows)), level[order]
    for c in range(len(trials)):
        n = _gather(rows, levels, candidates[c], first[c], last[c], near)
        n_neighbours[c] = n - 1
        medians[c] = np.median(near[:n]) if n > 0 else np.nan
    medians[n_neighbours == 0] = np.nan
    ranked_by = medians if eligible is None else np.where(np.asarray(eligible, dtype=bool)[trials], medians, np.nan)
    robust = int(trials[np.nanargmax(ranked_by)]) if not np.isnan(ranked_by).all() else -1
    return Plateau(trials, value[trials], medians, n_neighbours, robust)


def neighbours(grid: ParameterGrid, parameters: ArrayLike) -> np.ndarray:
    """Return the points one step, or 10 % of the range, below and above in each parameter.

    Parameters
    ----------
    grid : ParameterGrid
    parameters : array_like (n_trials, n_parameters)

    Returns
    -------
    ndarray (n_trials, 2 * n_ordered, n_parameters)
        The points, inside the bounds (a point at a bound is its own neighbour there) and on the grid. Categorical
        parameters are left as they are, and what is inactive, NaN.
    """
    table = np.ascontiguousarray(parameters, dtype=np.float64)
    ordered = np.flatnonzero(~grid.categorical)
    out = np.repeat(table[:, None, :], 2 * len(ordered), axis=1)
    for place, i in enumerate(ordered):
        for side, sign in enumerate((-1.0, 1.0)):
            out[:, 2 * place + side, i] = _moved(grid, int(i), table[:, i], sign)
    return out


def plateau_objective(values: ArrayLike, *, maximize: bool = True) -> Float64Array1D:
    """Return the median objective of trials and their neighbours.

    Parameters
    ----------
    values : array_like (n_trials, 1 + n_neighbours)
        Objectives of the trial and of its `neighbours`. NaN, a failure, is worse than any number.
    maximize : bool

    Returns
    -------
    ndarray (n_trials,)
        The median, of an even number of values the worse middle one. NaN where the trial itself failed, or so many
        neighbours that no median is left.
    """
    table = np.asarray(values, dtype=np.float64)
    sign = -1.0 if maximize else 1.0
    # NaN sorts last, which is the worst end in both directions.
    ranked = np.sort(sign * table, axis=1)
    median = sign * ranked[:, table.shape[1] // 2]
    return np.where(np.isnan(table[:, 0]), np.nan, median)


def worst_fold_sharpe(sums: ArrayLike, squares: ArrayLike, counts: ArrayLike, n_folds: int = 5) -> Float64Array1D:
    """Return the lowest per-bar Sharpe ratio over contiguous folds of the blocks.

    Parameters
    ----------
    sums, squares : array_like (n_trials, n_blocks)
        Sum of the returns and of their squares in each block [1].
    counts : array_like (n_blocks,)
        Bars in each block [bars].
    n_folds : int
        Number of folds, from 1 to n_blocks.

    Returns
    -------
    ndarray (n_trials,)
        The lowest ratio per bar [1]. NaN if a fold has no variance.

    Raises
    ------
    ValueError
        If the shapes do not fit or `1 <= n_folds <= n_blocks` does not hold.
    """
    totals, lengths = as_moments(sums, counts)
    if not 1 <= n_folds <= len(lengths):
        raise ValueError(f"`1 <= n_folds <= n_blocks` must hold, but got n_folds={n_folds}, n_blocks={len(lengths)}.")
    folds = merge_blocks(totals, np.ascontiguousarray(squares, dtype=np.float64), lengths, n_folds)
    out = np.empty(len(totals))
    _worst_fold(*folds, out)
    return out


def _widest(space: Float64Array2D) -> int:
    """Return the parameter in which a unit is the smallest share of the spread."""
    if len(space) == 0 or space.shape[1] == 0:
        return 0
    return int(np.argmax(space.max(axis=0) - space.min(axis=0)))


def _moved(grid: ParameterGrid, i: int, column: Float64Array1D, sign: float) -> Float64Array1D:
    """Return parameter i moved by one step or 10 % of its range, kept inside the bounds."""
    low, high, step = grid.low[i], grid.high[i], grid.step[i]
    if not np.isnan(step):
        # The highest value of a grid need not be `high`.
        top = low + np.floor((high - low) / step + 1e-9) * step
        stepped: Float64Array1D = np.clip(column + sign * step, low, top)
        return stepped
    if grid.log[i]:
        factor = numerics.exp(sign * NEAR * (numerics.log(high) - numerics.log(low)))
        moved = column * factor
    else:
        moved = column + sign * NEAR * (high - low)
    if grid.integer[i]:
        # Never less than one, or a narrow range would have no neighbours.
        moved = np.floor(moved + 0.5)
        moved = np.minimum(moved, column - 1) if sign < 0 else np.maximum(moved, column + 1)
    inside: Float64Array1D = np.clip(moved, low, high)
    return inside


@jit
def _gather(
    space: Float64Array2D, level: Float64Array1D, candidate: Float64Array1D, first: int, last: int, near: Float64Array1D
) -> int:
    """Write the `level` of the rows [first, last) of `space` near a candidate to the head of `near`; return how many.

    Medians and bounds are numpy's: compiled, they would cost a new machine two seconds.
    """
    count = 0
    for row in range(first, last):
        inside = True
        for i in range(space.shape[1]):
            if abs(space[row, i] - candidate[i]) > REACH:
                inside = False
                break
        if inside:
            near[count] = level[row]
            count += 1
    return count


@jit
def _worst_fold(sums: Float64Array2D, squares: Float64Array2D, counts: Float64Array1D, out: Float64Array1D) -> None:
    for k in range(len(sums)):
        worst = np.inf
        for f in range(len(counts)):
            value = sharpe_of(sums[k, f], squares[k, f], counts[f])
            if not worst <= value and worst == worst:
                worst = value
        out[k] = worst
