"""Generations of trials in flight: proposed, cut into batches, evaluated, committed in order, told to the search."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.study.records import Generation, Stored
from alphapulse.sweep.duplicates import Answers, Duplicates
from alphapulse.sweep.study_state import Streaming, sampled
from alphapulse.sweep.worker import BatchResult
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int8Array1D, Int64Array1D

IN_FLIGHT = 2
BATCH_SECONDS = 0.1
SHORTEST_BATCH_SECONDS = 0.005
FIRST_GUESS = 2e-4
QUEUED_PER_CPU = 2
HISTORY_CHUNK = 20_000


class Sampler(Protocol):
    """What the search promises, see `alphapulse.search.choosing`."""

    generation_size: int

    def propose(self, generation: int) -> Float64Array2D:
        """Return parameters (<= generation_size, n_dimensions), none when the space is exhausted.

        They depend on the parameters of all generations before, and on the results of those two before and earlier.
        """

    def tell(self, generation: int, parameters: Float64Array2D, values: Float64Array2D) -> None:
        """Take in a whole generation, in order."""


class Workers(Protocol):
    """Where batches go, see `alphapulse.sweep.cluster`."""

    n_cpus: int

    def submit(self, parameters: Float64Array2D, keep: BoolArray1D, threshold: float) -> Any:
        """Start a batch."""

    def wait(self, references: list[Any], timeout: float) -> list[Any]:
        """Return those that are done."""

    def result(self, reference: Any) -> BatchResult:
        """Return the outcome of one that is done."""


@dataclass
class _Work:
    """A generation between proposal and commit; rows [offset, stop) are to be run."""

    number: int
    first_trial: int
    parameters: Float64Array2D
    offset: int
    stop: int
    answers: Answers
    threshold: float
    metrics: Float64Array2D
    values: Float64Array2D
    status: Int8Array1D
    seconds: Float64Array1D
    done: BoolArray1D
    errors: dict[int, str] = field(default_factory=dict)
    batches: list[tuple[Int64Array1D, BatchResult]] = field(default_factory=list)
    n_submitted: int = 0
    n_waiting: int = 0

    @property
    def unsubmitted(self) -> int:
        return len(self.answers.run) - self.n_submitted

    @property
    def complete(self) -> bool:
        return self.unsubmitted == 0 and self.n_waiting == 0


class Generations:
    """Runs a study from its first missing trial to the last wanted one.

    What is proposed, kept and committed depends on the study alone; how batches are cut and when they come
    back does not matter to it.

    Parameters
    ----------
    sampler : Sampler
    workers : Workers
    commit : callable
        Takes a `Generation`; called in order, may block when the database is slower than the workers.
    streaming : Streaming
        State after the trials that are stored.
    duplicates : Duplicates
    n_trials : int
        Trials of the study in total.
    keep_blocks : int
        Trials whose block moments are all kept.
    maximize : bool
        Direction of the first objective.
    watch : callable, optional
        Called now and then with the number of committed trials and the best value of the first objective.
    stop : callable, optional
        Asked now and then whether to end early.
    """

    def __init__(
        self,
        sampler: Sampler,
        workers: Workers,
        commit: Callable[[Generation], None],
        streaming: Streaming,
        duplicates: Duplicates,
        *,
        n_objectives: int,
        n_trials: int,
        keep_blocks: int,
        maximize: bool = True,
        watch: Callable[[int, float], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._sampler = sampler
        self._workers = workers
        self._commit = commit
        self._streaming = streaming
        self._duplicates = duplicates
        self._n_objectives = n_objectives
        self._n_trials = n_trials
        self._keep_blocks = keep_blocks
        self._sign = 1.0 if maximize else -1.0
        self._watch = watch or (lambda n_done, best: None)
        self._stop = stop or (lambda: False)
        self._flight: deque[_Work] = deque()
        self._tasks: dict[Any, tuple[_Work, Int64Array1D]] = {}
        self._seconds_per_trial = FIRST_GUESS
        self._next_generation = 0
        self._next_trial = 0
        self._partial: Stored | None = None
        self._exhausted = False
        self.n_done = 0

    def continue_from(self, n_done: int, history: Callable[[int, int], Stored], *, needs_history: bool) -> None:
        """Start after the first `n_done` trials.

        Parameters
        ----------
        n_done : int
            Trials that are stored.
        history : callable
            Returns the stored trials [start, stop).
        needs_history : bool
            Whether the sampler wants to be told of past generations.
        """
        size = self._sampler.generation_size
        n_past = n_done // size
        self.n_done = n_done
        self._next_generation = n_past
        self._next_trial = n_past * size
        if n_done > self._next_trial:
            self._partial = history(self._next_trial, n_done)
        if not n_past or not (needs_history or self._duplicates.finite):
            return
        chunk = max(1, HISTORY_CHUNK // size)
        for first in range(0, n_past - 1, chunk):
            last = min(first + chunk, n_past - 1)
            past = history(first * size, last * size)
            for number in range(last - first):
                part = _rows(past, number * size, (number + 1) * size)
                self._tell(first + number, part, needs_history)
                self._record(part)
        # The generation before the next one was in flight when a run that was never cut proposed the next: its
        # parameters are known to the sampler then, its outcome answers no duplicate yet.
        latest = history((n_past - 1) * size, n_past * size)
        self._tell(n_past - 1, latest, needs_history)
        self._propose()
        self._record(latest)

    def _tell(self, number: int, past: Stored, needs_history: bool) -> None:
        if needs_history:
            self._sampler.tell(number, past.parameters, past.values)

    def _record(self, past: Stored) -> None:
        self._duplicates.record(past.parameters, past.metrics, past.values, past.status, past.errors)

    def run(self) -> None:
        """Run until `n_trials` are committed or the space is exhausted.

        If `stop` says so first, the finished first rows of the oldest generation are committed too; the rest of
        what was in flight runs again when the study continues.
        """
        while not self._stop():
            while self._wants_generation():
                self._propose()
            self._submit()
            if not self._flight:
                return
            if self._flight[0].complete:
                self._finish(self._flight.popleft())
                continue
            for reference in self._workers.wait(list(self._tasks), timeout=0.5):
                self._take(reference)
            self._watch(self.n_done, self.best)
        if self._flight:
            self._finish_early(self._flight.popleft())

    def _finish_early(self, work: _Work) -> None:
        self._fill_same(work)
        missing = np.flatnonzero(~work.done[work.offset : work.stop])
        work.stop = work.offset + int(missing[0]) if len(missing) else work.stop
        if work.stop > work.offset:
            self._store(work)

    @property
    def best(self) -> float:
        """Best value of the first objective among the committed trials; NaN without one."""
        return self._sign * float(self._streaming.best[-1]) if len(self._streaming.best) else math.nan

    def _wants_generation(self) -> bool:
        return len(self._flight) < IN_FLIGHT and not self._exhausted and self._next_trial < self._n_trials

    def _propose(self) -> None:
        number, first = self._next_generation, self._next_trial
        parameters = np.ascontiguousarray(self._sampler.propose(number), dtype=np.float64)
        n_rows = len(parameters)
        self._exhausted = n_rows < self._sampler.generation_size
        if n_rows == 0:
            return
        partial, self._partial = self._partial, None
        offset = 0 if partial is None else len(partial.values)
        stop = min(n_rows, max(self._n_trials - first, offset))
        answers = self._duplicates.find(parameters).between(offset, stop)
        work = _Work(
            number,
            first,
            parameters,
            offset,
            stop,
            answers,
            self._streaming.threshold(number),
            np.full((n_rows, len(METRICS)), np.nan),
            np.full((n_rows, self._n_objectives), np.nan),
            np.zeros(n_rows, dtype=np.int8),
            np.zeros(n_rows),
            np.zeros(n_rows, dtype=np.bool_),
        )
        if partial is not None:
            work.values[:offset] = partial.values
            work.metrics[:offset] = partial.metrics
            work.status[:offset] = partial.status
            work.errors.update(partial.errors)
        self._duplicates.fill(answers, work.metrics, work.values, work.status, work.errors)
        work.done[answers.known] = True
        self._flight.append(work)
        self._next_generation += 1
        self._next_trial += n_rows

    def _submit(self) -> None:
        """Keep the workers' queues filled, with the batches of the oldest generation first."""
        for work in self._flight:
            while work.unsubmitted and len(self._tasks) < (QUEUED_PER_CPU + 1) * self._workers.n_cpus:
                size = self._batch_size(len(work.answers.run))
                rows = work.answers.run[work.n_submitted : work.n_submitted + size]
                keep = sampled(work.first_trial + rows, self._keep_blocks)
                reference = self._workers.submit(work.parameters[rows], keep, work.threshold)
                self._tasks[reference] = (work, rows)
                work.n_submitted += len(rows)
                work.n_waiting += 1

    def _batch_size(self, n_rows: int) -> int:
        """Return trials for about `BATCH_SECONDS`, fewer where a small generation would leave processors idle."""
        longest = BATCH_SECONDS / self._seconds_per_trial
        shortest = SHORTEST_BATCH_SECONDS / self._seconds_per_trial
        return max(1, int(min(longest, max(shortest, n_rows / self._workers.n_cpus))))

    def _take(self, reference: Any) -> None:
        work, rows = self._tasks.pop(reference)
        result = self._workers.result(reference)
        work.metrics[rows] = result.metrics
        work.values[rows] = result.values
        work.status[rows] = result.status
        work.seconds[rows] = result.seconds / len(rows)
        work.errors.update({int(rows[place]): text for place, text in result.errors.items()})
        work.done[rows] = True
        work.batches.append((rows, result))
        work.n_waiting -= 1
        self._seconds_per_trial += 0.3 * (max(result.seconds / len(rows), 1e-7) - self._seconds_per_trial)

    def _finish(self, work: _Work) -> None:
        self._fill_same(work)
        if work.stop > work.offset:
            self._store(work)
        if work.stop == len(work.parameters):
            self._sampler.tell(work.number, work.parameters, work.values)
            self._duplicates.record(work.parameters, work.metrics, work.values, work.status, work.errors)

    def _fill_same(self, work: _Work) -> None:
        same, first = work.answers.same, work.answers.first
        for column in (work.metrics, work.values, work.status, work.done):
            column[same] = column[first]
        for row, source in zip(same.tolist(), first.tolist(), strict=True):
            if source in work.errors:
                work.errors[row] = work.errors[source]

    def _store(self, work: _Work) -> None:
        """Commit rows [offset, stop); batches that reach beyond them are left out and run again later."""
        batches = [(rows, result) for rows, result in work.batches if rows[-1] < work.stop]
        reach = work.stop
        if len(batches) < len(work.batches):
            cut = min(int(rows[0]) for rows, _ in work.batches if rows[-1] >= work.stop)
            reach = min(reach, cut)
            batches = [(rows, result) for rows, result in batches if rows[-1] < reach]
        work.stop = reach
        if work.stop <= work.offset:
            return
        for _, result in batches:
            self._streaming.merge(result.observed, result.maxima, np.empty(0))
            self._streaming.seconds += result.seconds
        rows = slice(work.offset, work.stop)
        self._streaming.merge(-np.inf, self._streaming.maxima, self._sign * work.values[rows, 0])
        if work.stop == len(work.parameters):
            self._streaming.complete(work.number)
        batches.sort(key=lambda batch: int(batch[0][0]))
        kept = [(work.first_trial + places[result.kept], result) for places, result in batches]
        errors = {row - work.offset: text for row, text in work.errors.items() if work.offset <= row < work.stop}
        self._commit(
            Generation(
                number=work.number,
                first_trial=work.first_trial + work.offset,
                parameters=work.parameters[rows],
                values=work.values[rows],
                metrics=work.metrics[rows],
                status=work.status[rows],
                errors=errors,
                seconds=work.seconds[rows],
                block_numbers=_joined([numbers for numbers, _ in kept], np.empty(0, dtype=np.int64)),
                block_sums=_joined([result.block_sums for _, result in kept], np.empty((0, 0))),
                block_squares=_joined([result.block_squares for _, result in kept], np.empty((0, 0))),
                state=self._streaming.to_bytes(),
            )
        )
        self.n_done = work.first_trial + work.stop


def _rows(stored: Stored, start: int, stop: int) -> Stored:
    rows = slice(start, stop)
    errors = {row - start: text for row, text in stored.errors.items() if start <= row < stop}
    return Stored(stored.parameters[rows], stored.values[rows], stored.metrics[rows], stored.status[rows], errors)


def _joined(parts: list[np.ndarray], nothing: np.ndarray) -> np.ndarray:
    return np.concatenate(parts) if parts else nothing
