"""Trials as columns, one row a trial: what was tried and what came out, wherever trials travel."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.backtesting.metrics import N_METRICS
from alphapulse.search.feasibility import keeps_conditions
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Float64Array3D, Int8Array1D, Int64Array1D


class BlockMoments(NamedTuple):
    """Moments of the returns of some trials in each calendar block.

    Attributes
    ----------
    trials : (n_kept,) int64
        Which trials: their numbers in the study, or their rows in a batch.
    sums, squares : (n_kept, n_blocks) float64
        Sums of returns [1] and of their squares.
    """

    trials: Int64Array1D
    sums: Float64Array2D
    squares: Float64Array2D


class SymbolMetrics(NamedTuple):
    """Metrics of some trials of a universe on each of its symbols.

    Attributes
    ----------
    trials : (n,) int64
        Their numbers in the study.
    symbols : tuple of str
    metrics : (n, n_symbols, n_metrics) float64
        In the order of `METRICS`; NaN is undefined.
    """

    trials: Int64Array1D
    symbols: tuple[str, ...]
    metrics: Float64Array3D


@dataclass
class Trials:
    """Some trials of a study.

    Attributes
    ----------
    parameters : (n, n_dimensions) float64
        In the order of the search space.
    values : (n, n_objectives) float64
        What the search is told; NaN in any of them makes the trial a failed one.
    metrics : (n, n_metrics) float64
        In the order of `METRICS`; NaN is undefined.
    status : (n,) int8
        `OK`, `RUINED` or `FAILED` of `backtesting.batch`.
    seconds : (n,) float64
        Time of evaluation [s]; 0 where the answer was known already.
    errors : dict of int to str
        Reasons of failed trials by row.
    violations : (n, n_conditions) float64
        By how much each condition on results is broken: above 0 where it is, NaN where nothing can be said of it, and
        where the trial failed. By default there is no condition.
    """

    parameters: Float64Array2D
    values: Float64Array2D
    metrics: Float64Array2D
    status: Int8Array1D
    seconds: Float64Array1D
    errors: dict[int, str] = field(default_factory=dict)
    violations: Float64Array2D = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        if self.violations.shape[1] == 0:
            self.violations = np.empty((len(self.values), 0))

    @classmethod
    def blank(cls, parameters: Float64Array2D, n_objectives: int, n_conditions: int = 0) -> "Trials":
        """Return trials with these parameters (n, n_dimensions) whose outcome is not known yet: NaN throughout."""
        n = len(parameters)
        return cls(
            parameters,
            np.full((n, n_objectives), np.nan),
            np.full((n, N_METRICS), np.nan),
            np.zeros(n, dtype=np.int8),
            np.zeros(n),
            violations=np.full((n, n_conditions), np.nan),
        )

    @classmethod
    def joined(cls, parts: "list[Trials]") -> "Trials":
        """Return the trials of at least one part, in order."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()
        errors = [
            (start + row, text) for start, part in zip(starts, parts, strict=True) for row, text in part.errors.items()
        ]
        return cls(
            np.concatenate([part.parameters for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.metrics for part in parts]),
            np.concatenate([part.status for part in parts]),
            np.concatenate([part.seconds for part in parts]),
            dict(errors),
            np.concatenate([part.violations for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Int64Array1D) -> "Trials":
        """Return the trials of some rows; a slice shares their memory."""
        errors = {}
        if self.errors:
            old = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
            errors = {new: self.errors[row] for new, row in enumerate(old) if row in self.errors}
        return Trials(
            self.parameters[rows],
            self.values[rows],
            self.metrics[rows],
            self.status[rows],
            self.seconds[rows],
            errors,
            self.violations[rows],
        )

    @property
    def is_failed(self) -> BoolArray1D:
        """Whether each trial has no objective to tell (n,)."""
        failed: BoolArray1D = np.isnan(self.values).any(axis=1) | (self.status == FAILED)
        return failed

    @property
    def is_candidate(self) -> BoolArray1D:
        """Whether each trial may be called good: it has its objectives and breaks no condition (n,)."""
        return ~self.is_failed & keeps_conditions(self.violations)

    def put(self, rows: Int64Array1D, outcome: "Trials") -> None:
        """Write the outcome of as many trials to `rows`; the parameters stay."""
        self.values[rows] = outcome.values
        self.metrics[rows] = outcome.metrics
        self.status[rows] = outcome.status
        self.seconds[rows] = outcome.seconds
        self.violations[rows] = outcome.violations
        if self.errors:
            for row in rows.tolist():
                self.errors.pop(row, None)
        self.errors.update({int(rows[place]): text for place, text in outcome.errors.items()})

    def answer(self, rows: Int64Array1D, outcome: "Trials") -> None:
        """Write the outcome of equal trials to `rows`, which need not run and take no time."""
        self.put(rows, outcome)
        self.seconds[rows] = 0.0
