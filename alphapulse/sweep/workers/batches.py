"""Batches under way: a lost one is run again, one that ends its worker is split until the guilty trial is alone."""

import math
import statistics
import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from alphapulse.backtesting.batch import FAILED
from alphapulse.study.trials import BlockMoments
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.worker import BatchResult
from alphapulse.sweep.workers.limits import GRACE, Limits, late
from alphapulse.sweep.workers.losses import BatchLostError, WorkerDiedError
from alphapulse.sweep.workers.tasks import LOSSES
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

DEATHS = 3
"""Workers that a trial may end before it is a failed one."""

LONGEST_TRIAL = 60.0
MEDIANS = 100.0
"""Without a limit of the user's a trial may take the longer of `LONGEST_TRIAL` [s] and so many medians."""

N_MEASURED = 500

CLOCKS = 1.0
"""By how much the clocks of two machines may differ [s]."""


class Workers(Protocol):
    """Where batches run, see `alphapulse.sweep.workers.cluster`."""

    n_cpus: int

    def submit(
        self, parameters: Float64Array2D, keep: BoolArray1D, threshold: float, limits: Limits, name: str = ""
    ) -> Any:
        """Start a batch under a name that Ray shows."""

    def wait(self, references: list[Any], timeout: float) -> list[Any]:
        """Return those that are done."""

    def result(self, reference: Any) -> BatchResult:
        """Return the outcome of one that is done, or raise BatchLostError."""


class Job(Protocol):
    """Trials that run together, such as a `Batch`.

    Attributes
    ----------
    rows : (k,) int64
        Which they are.
    parameters : (k, n_dimensions) float64
    n_deaths, n_losses : int
        Workers that ended while they ran these trials, and nodes that were lost with them.
    """

    @property
    def rows(self) -> Int64Array1D: ...  # noqa: D102
    @property
    def parameters(self) -> Float64Array2D: ...  # noqa: D102
    @property
    def n_deaths(self) -> int: ...  # noqa: D102
    @property
    def n_losses(self) -> int: ...  # noqa: D102

    def part(self, rows: slice, n_deaths: int) -> Self:
        """Return some of the trials."""

    def lost(self) -> Self:
        """Return the trials after another node was lost with them."""

    def submit(self, workers: Any, limits: Limits) -> Any:
        """Start the trials and return their reference."""

    def failed(self, experiment: Experiment, reason: str) -> BatchResult:
        """Return the outcome of trials that failed for a reason."""


J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Batch:
    """Trials that run together.

    Attributes
    ----------
    owner : object
        Whose they are.
    rows : (k,) int64
        Which of the owner's.
    parameters : (k, n_dimensions) float64
    keep : (k,) bool
        Trials whose block moments are wanted.
    threshold : float
        See `evaluate_batch`.
    n_deaths, n_losses : int
        Workers that ended while they ran these trials, and nodes that were lost with them.
    name : str
        What Ray shows of it.
    """

    owner: Any
    rows: Int64Array1D
    parameters: Float64Array2D
    keep: BoolArray1D
    threshold: float
    n_deaths: int = 0
    n_losses: int = 0
    name: str = ""

    def part(self, rows: slice, n_deaths: int) -> Self:
        """Return some of the trials."""
        return replace(
            self, rows=self.rows[rows], parameters=self.parameters[rows], keep=self.keep[rows], n_deaths=n_deaths
        )

    def lost(self) -> Self:
        """Return the trials after another node was lost with them."""
        return replace(self, n_losses=self.n_losses + 1)

    def submit(self, workers: Workers, limits: Limits) -> Any:
        """Start the trials and return their reference."""
        return workers.submit(self.parameters, self.keep, self.threshold, limits, self.name)

    def failed(self, experiment: Experiment, reason: str) -> BatchResult:
        """Return the outcome of trials that failed for a reason."""
        return failed_trials(experiment, self.parameters, reason)


def failed_trials(experiment: Experiment, parameters: Float64Array2D, reason: str) -> BatchResult:
    """Return the outcome of trials (n_trials, n_dimensions) that failed for a reason."""
    trials = experiment.untried(parameters)
    trials.status[:] = FAILED
    trials.errors = dict.fromkeys(range(len(trials)), reason)
    nothing = BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))
    return BatchResult(trials, nothing, -np.inf, np.array(-np.inf))


@dataclass(frozen=True)
class TrialLimits:
    """What the user lets a trial cost; None is a limit that follows what trials take."""

    seconds: float | None = None
    gigabytes: float | None = None

    def at(self, median: float) -> Limits:
        """Return the limits of a trial where the median of trials takes so long [s]."""
        seconds = max(LONGEST_TRIAL, MEDIANS * median) if self.seconds is None else self.seconds
        return Limits(seconds, self.gigabytes)


class Batches(Generic[J]):
    """The batches that workers have been given.

    Parameters
    ----------
    workers : Workers
    experiment : Experiment
        Tells what a trial without an outcome is.
    limits : TrialLimits

    Attributes
    ----------
    fatal : list of (n_dimensions,) float64
        Settings that have ended their workers.
    """

    def __init__(self, workers: Workers, experiment: Experiment, limits: TrialLimits) -> None:
        self._workers = workers
        self._experiment = experiment
        self._limits = limits
        self._tasks: dict[Any, tuple[J, Limits, float]] = {}
        self._again: deque[J] = deque()
        self._measured: deque[float] = deque(maxlen=N_MEASURED)
        self._twins: dict[Any, Any] = {}
        self.fatal: list[Float64Array1D] = []

    @property
    def n_cpus(self) -> int:
        """Processors of the workers that are there by now."""
        return self._workers.n_cpus

    @property
    def n_under_way(self) -> int:
        """Number of batches whose outcome is not known."""
        return len(self._tasks) + len(self._again)

    def submit(self, batch: J) -> None:
        """Start a batch."""
        limits = self._limits.at(statistics.median(self._measured) if self._measured else 0.0)
        if len(batch.rows) == 1 and batch.n_deaths:
            # Only its own note tells whether its worker will have died of it or been ended for its time.
            limits = limits._replace(mark=f"trial {uuid.uuid4().hex}")
        reference = batch.submit(self._workers, limits)
        self._tasks[reference] = (batch, limits, time.monotonic())

    def collect(self, timeout: float) -> list[tuple[J, Any]]:
        """Return batches whose outcome is known by now, with it, waiting up to `timeout` [s] for the first.

        Raises
        ------
        ClusterError
            If there are no workers any more.
        """
        while self._again:
            self.submit(self._again.popleft())
        self._double_stragglers()
        done: list[tuple[J, Any]] = []
        for reference in self._workers.wait(list(self._tasks), timeout):
            if reference not in self._tasks:
                continue
            batch, limits, started = self._tasks.pop(reference)
            twin = self._twins.pop(reference, None)
            self._twins.pop(twin, None)
            try:
                result = self._workers.result(reference)
            except BatchLostError as error:
                if twin is not None:
                    continue
                done += self._lost(batch, error, limits, time.monotonic() - started)
                continue
            # Both have the same bits; whichever comes later is not waited for.
            self._tasks.pop(twin, None)
            if len(batch.rows) and not result.is_first:
                self._measured.append(result.seconds / len(batch.rows))
            done.append((batch, result))
        return done

    def _double_stragglers(self) -> None:
        """Run batches a second time that should long have been done: their process or machine is stuck or stopped."""
        now, median = time.monotonic(), statistics.median(self._measured) if self._measured else 0.0
        for reference, (batch, limits, started) in list(self._tasks.items()):
            longest = max(LONGEST_TRIAL, limits.seconds, MEDIANS * median * len(batch.rows)) + 2 * GRACE
            # Before anything was measured a batch has one trial, which has its limit.
            if now - started < longest or reference in self._twins or (len(batch.rows) > 1 and not median):
                continue
            before = set(self._tasks)
            self.submit(batch)
            (twin,) = set(self._tasks) - before
            self._twins |= {reference: twin, twin: reference}

    def _lost(self, batch: J, error: BatchLostError, limits: Limits, elapsed: float) -> list[tuple[J, Any]]:
        """Run what was lost again, in halves where it may be the batch itself that ended its worker."""
        if not isinstance(error, WorkerDiedError):
            if batch.n_losses == LOSSES:
                raise error
            self._again.append(batch.lost())
            return []
        n_deaths, n_rows = batch.n_deaths + 1, len(batch.rows)
        if n_rows > 1:
            # Time ends a worker that gives Python no turn: then each trial has its time alone.
            is_late = elapsed >= limits.seconds + GRACE
            size = 1 if is_late else n_rows - n_rows // 2
            self._again += [batch.part(slice(first, first + size), n_deaths) for first in range(0, n_rows, size)]
            return []
        # A clock of the day may jump; what this process has waited is no shorter than what the trial has run.
        ran = -math.inf if error.mark is None else min(error.mark.seconds, elapsed)
        is_late = ran >= limits.seconds + GRACE - CLOCKS
        if not is_late and n_deaths < DEATHS:
            self._again.append(batch.part(slice(None), n_deaths))
            return []
        reason = f"{error.reason} ({n_deaths} times)"
        if error.mark is not None and error.mark.reason:
            reason = error.mark.reason
        elif is_late:
            reason = f"LimitExceeded: {late(limits.seconds)}"
        self.fatal.append(batch.parameters[0])
        return [(batch, batch.failed(self._experiment, reason))]
