"""Generations of trials in flight: proposed, cut into batches, evaluated, committed in order, told to the search."""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from alphapulse.search.choosing import Schedule
from alphapulse.study.records import Generation
from alphapulse.study.trials import Trials
from alphapulse.sweep.duplicates import Duplicates
from alphapulse.sweep.experiment import Experiment
from alphapulse.sweep.flight import Work, kept_blocks, on_symbols
from alphapulse.sweep.patience import Patience, whole_generations
from alphapulse.sweep.study_state import StudyState, sampled
from alphapulse.sweep.worker import BatchResult
from alphapulse.sweep.workers.batches import Batch, Batches
from alphapulse.sweep.workers.pace import Pace
from alphapulse.typing import BoolArray1D, Float64Array1D, Float64Array2D

COMMIT_SECONDS = 3.0
"""How often what is finished of a generation is committed."""

QUEUED_PER_CPU = 2

AHEAD_BYTES = 256 * 2**20
"""What may be held of generations that wait for an earlier one, where the search does not."""

Ended = Literal["complete", "exhausted", "patience", "stopped"]


class Sampler(Protocol):
    """What the search promises, see `alphapulse.search.choosing`."""

    schedule: Schedule
    lag: int

    @property
    def needs_history(self) -> bool:
        """Whether it learns from results; one that does not is asked further ahead."""

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
        batches: Batches[Batch],
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
        self._flight: deque[Work] = deque()
        self._held: Float64Array2D | None = None
        self._recent: deque[tuple[int, Float64Array2D, Trials | None]] = deque()
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

    def continue_from(self, n_done: int, history: Callable[[int, int], Trials]) -> None:
        """Start after the first `n_done` trials.

        Parameters
        ----------
        n_done : int
            Number of trials that are stored.
        history : callable
            Returns the stored trials [start, stop).
        """
        schedule, needs_history = self._sampler.schedule, self._sampler.needs_history
        n_past = schedule.n_whole(n_done)
        self.n_done = n_done
        self._next_generation = n_past
        self._next_trial = schedule.first_trial(n_past)
        if n_done > self._next_trial:
            self._partial = history(self._next_trial, n_done)
        if not n_past or not (needs_history or self._duplicates.finite or self._patience.n):
            return
        for number, part in whole_generations(schedule, n_done, history):
            self._patience.take(part)
            if needs_history:
                self._sampler.tell(number, part.parameters, part.values, part.violations)
            self._recent.append((number, part.parameters, part))
            self._let_answer(number + 1)

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
            self._submit()
            while self._wants_generation() and self._propose():
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
        while self._flight and self._flight[0].complete:
            self._finish(self._flight.popleft())
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
        if self._exhausted or self._next_trial >= self._n_trials:
            return False
        if len(self._flight) < self._sampler.lag:
            return True
        # A search that needs no results goes on while one slow trial holds up the commit of what came after it.
        return (
            not self._sampler.needs_history
            and self._has_room
            and sum(work.n_bytes for work in self._flight) < AHEAD_BYTES
        )

    @property
    def _has_room(self) -> bool:
        """Whether the workers' queues take another batch."""
        return self._batches.n_under_way < (QUEUED_PER_CPU + 1) * self._batches.n_cpus

    def _propose(self) -> bool:
        """Take the next generation into flight; return False where one in flight has to be known before."""
        number, first = self._next_generation, self._next_trial
        if self._held is None:
            started = time.perf_counter()
            self._held = np.ascontiguousarray(self._sampler.propose(number), dtype=np.float64)
            self._state.proposing += time.perf_counter() - started
            self._let_answer(number)
        answers = self._duplicates.find(self._held)
        if answers.waits:
            return False
        trials, self._held = self._experiment.untried(self._held), None
        n_rows = len(trials)
        self._exhausted = n_rows < self._sampler.schedule.size(number)
        if n_rows == 0:
            return True
        self._recent.append((number, trials.parameters, None))
        partial, self._partial = self._partial, None
        offset = 0 if partial is None else len(partial)
        stop = min(n_rows, max(self._n_trials - first, offset))
        answers = answers.between(offset, stop)
        if partial is not None:
            trials.put(np.arange(offset), partial)
        self._duplicates.fill(answers, trials)
        done = np.zeros(n_rows, dtype=np.bool_)
        done[answers.known] = True
        self._flight.append(Work(number, first, trials, offset, stop, answers, done))
        self._next_generation += 1
        self._next_trial += n_rows
        return True

    def _let_answer(self, generation: int) -> None:
        """Let the generations answer that have an outcome where `generation` is proposed from it, whenever they ran."""
        while self._recent and self._recent[0][0] <= generation - self._sampler.lag:
            _, parameters, trials = self._recent.popleft()
            self._duplicates.expect(parameters)
            if trials is not None:
                self._duplicates.record(trials)

    def _submit(self) -> None:
        """Keep the workers' queues filled, with the batches of the oldest generation first."""
        for work in self._flight:
            while work.n_unsubmitted and self._has_room:
                rows = work.next_rows(self._pace.size(len(work.answers.run), self._batches.n_cpus))
                keep = sampled(work.first_trial + rows, self._keep_blocks)
                threshold = self._state.threshold_by_now(work.number)
                first, last = work.first_trial + rows[0], work.first_trial + rows[-1]
                name = f"generation {work.number} trials {first}-{last}"
                self._batches.submit(Batch(work, rows, work.trials.parameters[rows], keep, threshold, name=name))
                work.n_submitted += len(rows)
                work.n_waiting += len(rows)

    def _take(self, batch: Batch, result: BatchResult) -> None:
        work, rows = batch.owner, batch.rows
        work.take(rows, result)
        self._pace.measure(len(rows), result.seconds, is_first=result.is_first)
        self._best = max(self._best, float(np.nanmax(self._scores(result.trials), initial=-math.inf)))

    def _finish(self, work: Work) -> None:
        work.fill_same()
        self._store(work, work.stop)
        if work.is_whole:
            trials = work.trials
            self._sampler.tell(work.number, trials.parameters, trials.values, trials.violations)
            numbers = [number for number, _, _ in self._recent]
            if work.number in numbers:
                self._recent[numbers.index(work.number)] = (work.number, trials.parameters, trials)
            else:
                self._duplicates.record(trials)
            self._patience.take(trials)

    def _scores(self, trials: Trials) -> Float64Array1D:
        """Return the first objective, larger is better (n_trials,); NaN where a trial failed or breaks a condition."""
        scores: Float64Array1D = np.where(trials.is_candidate, self._sign * trials.values[:, 0], np.nan)
        return scores

    def _keeps(self, work: Work) -> BoolArray1D:
        """Return which trials of a generation keep their block moments, now that all before it are in (n_trials,)."""
        threshold = self._state.threshold(work.number)
        numbers = work.first_trial + np.arange(len(work.trials))
        kept: BoolArray1D = sampled(numbers, self._keep_blocks) | (self._scores(work.trials) >= threshold)
        return kept

    def _store_finished(self, work: Work) -> None:
        work.fill_same()
        self._store(work, work.finished())

    def _store(self, work: Work, stop: int) -> None:
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
                blocks=kept_blocks(work.first_trial, batches, self._keeps(work)),
                state=self._state.to_bytes(),
                by_symbol=on_symbols(work.first_trial, batches),
            )
        )
        self.n_done = work.first_trial + stop
        work.offset = stop
