"""Generations of trials in flight: proposed, cut into batches, evaluated, committed in order, told to the search."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from alphapulse.search.choosing import Schedule
from alphapulse.study.records import Generation
from alphapulse.study.trials import BlockMoments, Trials
from alphapulse.sweep.duplicates import Answers, Duplicates
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.pace import Pace
from alphapulse.sweep.patience import Patience, whole_generations
from alphapulse.sweep.study_state import StudyState, sampled
from alphapulse.sweep.worker import BatchResult
from alphapulse.sweep.workers.batches import Batch, Batches
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D, Int64Array1D

COMMIT_SECONDS = 3.0
"""How often what is finished of a generation is committed."""

QUEUED_PER_CPU = 2

Ended = Literal["complete", "exhausted", "patience", "stopped"]


class Sampler(Protocol):
    """What the search promises, see `alphapulse.search.choosing`."""

    schedule: Schedule
    lag: int

    def propose(self, generation: int) -> Float64Array2D:
        """Return parameters (m, n_dimensions), fewer than `schedule` says when the space is exhausted.

        They depend on the parameters of all generations before, and on the results of those `lag` before and earlier.
        """

    def tell(
        self,
        generation: int,
        parameters: Float64Array2D,
        values: Float64Array2D,
        violations: Float64Array2D | None = None,
    ) -> None:
        """Take in a whole generation, in order."""


@dataclass
class _Work:
    """A generation between proposal and commit; rows [offset, stop) are to be run."""

    number: int
    first_trial: int
    trials: Trials
    offset: int
    stop: int
    answers: Answers
    threshold: float
    done: BoolArray1D
    batches: list[tuple[Int64Array1D, BatchResult]] = field(default_factory=list)
    n_submitted: int = 0
    n_waiting: int = 0

    @property
    def n_unsubmitted(self) -> int:
        return len(self.answers.run) - self.n_submitted

    @property
    def complete(self) -> bool:
        return self.n_unsubmitted == 0 and self.n_waiting == 0

    @property
    def is_whole(self) -> bool:
        return self.stop == len(self.trials)

    def next_rows(self, size: int) -> Int64Array1D:
        """Return up to `size` rows that nobody runs yet."""
        return self.answers.run[self.n_submitted : self.n_submitted + size]

    def take(self, rows: Int64Array1D, result: BatchResult) -> None:
        """Write the outcome of a batch to its rows."""
        self.trials.put(rows, result.trials)
        self.done[rows] = True
        self.batches.append((rows, result))
        self.n_waiting -= len(rows)

    def fill_same(self) -> None:
        """Write the outcome of rows that equal another row of this generation."""
        same, first = self.answers.same, self.answers.first
        self.trials.answer(same, self.trials[first])
        self.done[same] = self.done[first]

    @property
    def n_evaluated(self) -> int:
        """Number of trials that have an outcome and are not committed."""
        return int(np.count_nonzero(self.done[self.offset : self.stop]))

    def finished(self) -> int:
        """Return the first row of [offset, stop) that has no outcome, or `stop`."""
        missing = np.flatnonzero(~self.done[self.offset : self.stop])
        return self.offset + int(missing[0]) if len(missing) else self.stop

    def cut(self, stop: int) -> tuple[int, list[tuple[Int64Array1D, BatchResult]]]:
        """Take out the batches before `stop` and return them in order; where one reaches beyond, `stop` moves there."""
        stop = min([stop, *(int(rows[0]) for rows, _ in self.batches if rows[-1] >= stop)])
        cut = sorted((b for b in self.batches if b[0][-1] < stop), key=lambda batch: int(batch[0][0]))
        self.batches = [b for b in self.batches if b[0][-1] >= stop]
        return stop, cut


class Generations:
    """Runs a study from its first missing trial to the last wanted one.

    What is proposed, kept and committed depends on the study alone; how batches are cut and when they come
    back does not matter to it.

    Parameters
    ----------
    sampler : Sampler
    batches : Batches
        The way to the workers.
    experiment : Experiment
        Tells the space, the objectives and their directions.
    state : StudyState
        State after the trials that are stored; changed.
    commit : callable
        Takes a `Generation`; called in order, may block when the database is slower than the workers.
    n_trials : int
        Trials of the study in total.
    keep_blocks : int
        Number of trials whose block moments are all kept.
    patience : int, optional
        Generations without a better value after which the study ends; None is no number of them.
    watch : callable, optional
        Called now and then with the number of evaluated trials and the best value of the first objective.
    stop : callable, optional
        Asked now and then whether to end early.

    Attributes
    ----------
    n_done : int
        Trials that are committed.
    ended : {"complete", "exhausted", "patience", "stopped"}
        Why `run` returned.
    """

    def __init__(
        self,
        sampler: Sampler,
        batches: Batches,
        experiment: Experiment,
        state: StudyState,
        commit: Callable[[Generation], None],
        *,
        n_trials: int,
        keep_blocks: int,
        patience: int | None = None,
        watch: Callable[[int, float], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._sampler = sampler
        self._batches = batches
        self._commit = commit
        self._state = state
        self._experiment = experiment
        self._duplicates = Duplicates(experiment.space, len(experiment.objectives), len(experiment.feasible))
        self._n_trials = n_trials
        self._keep_blocks = keep_blocks
        self._sign = 1.0 if experiment.directions[0] == "maximize" else -1.0
        self._watch = watch or (lambda n_done, best: None)
        self._stop = stop or (lambda: False)
        self._flight: deque[_Work] = deque()
        self._pace = Pace()
        self._best = float(state.best[-1]) if len(state.best) else -math.inf
        self._committed_at = time.monotonic()
        self._next_generation = 0
        self._next_trial = 0
        self._partial: Trials | None = None
        self._exhausted = False
        self._patience = Patience(experiment.directions, patience)
        self.n_done = 0
        self.ended: Ended = "stopped"

    def continue_from(self, n_done: int, history: Callable[[int, int], Trials], *, needs_history: bool) -> None:
        """Start after the first `n_done` trials.

        Parameters
        ----------
        n_done : int
            Number of trials that are stored.
        history : callable
            Returns the stored trials [start, stop).
        needs_history : bool
            Whether the sampler wants to be told of past generations.
        """
        schedule = self._sampler.schedule
        n_past = schedule.n_whole(n_done)
        self.n_done = n_done
        self._next_generation = n_past
        self._next_trial = schedule.first_trial(n_past)
        if n_done > self._next_trial:
            self._partial = history(self._next_trial, n_done)
        uses_outcomes = needs_history or self._duplicates.finite
        if not n_past or not (uses_outcomes or self._patience.n):
            return
        # The generations in flight when a run that was never cut proposed the next: their parameters are known to the
        # sampler then, their outcome answers no duplicate yet.
        in_flight = []
        n_known = n_past - (self._sampler.lag - 1)
        for number, part in whole_generations(schedule, n_done, history):
            self._patience.take(part)
            if needs_history:
                self._sampler.tell(number, part.parameters, part.values, part.violations)
            if number < n_known:
                self._duplicates.record(part)
            else:
                in_flight.append(part)
        if uses_outcomes and not self._patience.ended:
            self._propose()
        for part in in_flight:
            self._duplicates.record(part)

    def run(self) -> None:
        """Run until `n_trials` are committed, the space is exhausted or patience is at its end; `ended` says which.

        Every `COMMIT_SECONDS`, and where `stop` ends it, the finished first rows of the oldest generation are
        committed; the rest of what was in flight when it ended runs again when the study continues.
        """
        while not self._stop():
            if self._patience.ended:
                # What is in flight was proposed before that was known, and is no part of the study.
                self.ended = "patience"
                return
            while self._wants_generation():
                self._propose()
            self._submit()
            if not self._flight:
                self.ended = "exhausted" if self.n_done < self._n_trials else "complete"
                return
            if self._flight[0].complete:
                self._finish(self._flight.popleft())
                continue
            if time.monotonic() - self._committed_at > COMMIT_SECONDS:
                self._store_finished(self._flight[0])
            for batch, result in self._batches.collect(timeout=0.5):
                self._take(batch, result)
            self._watch(self.n_evaluated, self.best)
        if self._flight:
            self._store_finished(self._flight.popleft())

    @property
    def n_evaluated(self) -> int:
        """Committed trials, and those in flight whose outcome is known."""
        return self.n_done + sum(work.n_evaluated for work in self._flight)

    @property
    def best(self) -> float:
        """Best value of the first objective among the evaluated trials that break no condition; NaN without one."""
        return self._sign * self._best if self._best > -math.inf else math.nan

    def _wants_generation(self) -> bool:
        return len(self._flight) < self._sampler.lag and not self._exhausted and self._next_trial < self._n_trials

    def _propose(self) -> None:
        number, first = self._next_generation, self._next_trial
        started = time.perf_counter()
        proposed = self._sampler.propose(number)
        self._state.proposing += time.perf_counter() - started
        trials = self._experiment.untried(np.ascontiguousarray(proposed, dtype=np.float64))
        n_rows = len(trials)
        self._exhausted = n_rows < self._sampler.schedule.size(number)
        if n_rows == 0:
            return
        partial, self._partial = self._partial, None
        offset = 0 if partial is None else len(partial)
        stop = min(n_rows, max(self._n_trials - first, offset))
        answers = self._duplicates.find(trials.parameters).between(offset, stop)
        if partial is not None:
            trials.put(np.arange(offset), partial)
        self._duplicates.fill(answers, trials)
        done = np.zeros(n_rows, dtype=np.bool_)
        done[answers.known] = True
        self._flight.append(_Work(number, first, trials, offset, stop, answers, self._state.threshold(number), done))
        self._next_generation += 1
        self._next_trial += n_rows

    def _submit(self) -> None:
        """Keep the workers' queues filled, with the batches of the oldest generation first."""
        for work in self._flight:
            while work.n_unsubmitted and self._batches.n_under_way < (QUEUED_PER_CPU + 1) * self._batches.n_cpus:
                rows = work.next_rows(self._pace.size(len(work.answers.run), self._batches.n_cpus))
                keep = sampled(work.first_trial + rows, self._keep_blocks)
                self._batches.submit(Batch(work, rows, work.trials.parameters[rows], keep, work.threshold))
                work.n_submitted += len(rows)
                work.n_waiting += len(rows)

    def _take(self, batch: Batch, result: BatchResult) -> None:
        work, rows = batch.owner, batch.rows
        work.take(rows, result)
        self._pace.measure(len(rows), result.seconds, is_first=result.is_first)
        self._best = max(self._best, float(np.nanmax(self._scores(result.trials), initial=-math.inf)))

    def _finish(self, work: _Work) -> None:
        work.fill_same()
        self._store(work, work.stop)
        if work.is_whole:
            trials = work.trials
            self._sampler.tell(work.number, trials.parameters, trials.values, trials.violations)
            self._duplicates.record(trials)
            self._patience.take(trials)

    def _scores(self, trials: Trials) -> Float64Array1D:
        """Return the first objective, larger is better (n_trials,); NaN where a trial failed or breaks a condition."""
        scores: Float64Array1D = np.where(trials.is_candidate, self._sign * trials.values[:, 0], np.nan)
        return scores

    def _store_finished(self, work: _Work) -> None:
        work.fill_same()
        self._store(work, work.finished())

    def _store(self, work: _Work, stop: int) -> None:
        """Commit rows [offset, stop); those of a batch that reaches beyond them stay behind."""
        self._committed_at = time.monotonic()
        stop, batches = work.cut(stop)
        if stop <= work.offset:
            return
        for _, result in batches:
            self._state.merge(result.observed, result.maxima, np.empty(0))
            self._state.seconds += result.seconds
        trials = work.trials[work.offset : stop]
        self._state.merge(-np.inf, self._state.maxima, self._scores(trials))
        if stop == len(work.trials):
            self._state.complete(work.number)
        self._commit(
            Generation(
                number=work.number,
                first_trial=work.first_trial + work.offset,
                trials=trials,
                blocks=_kept_blocks(work.first_trial, batches),
                state=self._state.to_bytes(),
            )
        )
        self.n_done = work.first_trial + stop
        work.offset = stop


def _kept_blocks(first_trial: int, batches: list[tuple[Int64Array1D, BatchResult]]) -> BlockMoments:
    """Return the block moments that batches of a generation kept, by number in the study."""
    batches = [(rows, result) for rows, result in batches if len(result.kept.trials)]
    if not batches:
        return BlockMoments(np.empty(0, dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))
    return BlockMoments(
        np.concatenate([first_trial + rows[result.kept.trials] for rows, result in batches]),
        np.concatenate([result.kept.sums for _, result in batches]),
        np.concatenate([result.kept.squares for _, result in batches]),
    )
