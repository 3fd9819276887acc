"""The search of a study of which a part is stored: a stream of numbered trials over the workers."""

import math
import pickle
import time
from collections.abc import Callable

from alphapulse.search.choosing import Sampler
from alphapulse.study.records import Generation
from alphapulse.sweep.failures import Failures
from alphapulse.sweep.generations import AHEAD_BYTES, COMMIT_SECONDS, QUEUED_PER_CPU, Ended
from alphapulse.sweep.null.search import SearchPlan
from alphapulse.sweep.scale.drawing import Drawing
from alphapulse.sweep.scale.keeping import Keeper
from alphapulse.sweep.scale.stretch import Stretch, StretchBatch, StretchResult
from alphapulse.sweep.workers.batches import Batches
from alphapulse.sweep.workers.pace import Pace

MOST_ROWS = 20_000
"""Trials that wait for a commit before it is made at once."""

SECONDS_PER_CPU = 1 / 400
"""Of a batch, so that the driver, which takes a millisecond for each, is busy with them half of the time [s]."""


class Stream:
    """Runs trials by their numbers from the first missing one to the last wanted one.

    Stretches come back in any order and are taken in by number, so that what is stored depends on the trials alone.

    Parameters
    ----------
    sampler : Sampler
        One that needs no results.
    plan : SearchPlan
        The same search for the workers.
    batches : Batches
        The way to the workers.
    keeper : Keeper
        What is known of the trials that are stored; changed.
    commit : callable
        Takes a `Generation`; called in order, may block when the database is slower than the workers.
    failures : Failures
        Ends the search where too many trials raise.
    n_trials : int
        Trials of the study in total.
    patience : int, optional
        Generations without a better value after which the study ends; None is no number of them.
    watch, stop : callable
        As `Generations` has them.

    Attributes
    ----------
    keeper : Keeper
    ended : {"complete", "exhausted", "patience", "stopped"}
        Why `run` returned.
    """

    def __init__(
        self,
        sampler: Sampler,
        plan: SearchPlan,
        batches: Batches[StretchBatch],
        keeper: Keeper,
        commit: Callable[[Generation], None],
        failures: Failures,
        *,
        n_trials: int,
        patience: int | None,
        watch: Callable[[int, float], None],
        stop: Callable[[], bool],
    ) -> None:
        self._sampler, self._search = sampler, pickle.dumps(plan)
        self._batches, self.keeper, self._commit, self._failures = batches, keeper, commit, failures
        self._drawing = Drawing(sampler)
        self._n_trials = n_trials if sampler.n_points is None or sampler.in_order else min(n_trials, sampler.n_points)
        self._n_wanted = n_trials
        self._patience = patience
        self._watch, self._stop = watch, stop
        self._sign = 1.0 if sampler.directions[0] == "maximize" else -1.0
        self._pace = StreamPace()
        self._next = keeper.n_trials
        self._results: dict[int, StretchResult] = {}
        self._n_bytes = 0
        self._best = keeper.best
        self._committed_at = time.monotonic()
        self.ended: Ended = "stopped"

    @property
    def n_done(self) -> int:
        """Trials that are committed, when `run` has returned."""
        return self.keeper.n_trials

    def run(self) -> None:
        """Run until `n_trials` are committed, the space is exhausted or patience is at its end; `ended` says which."""
        keeper = self.keeper
        try:
            while not self._stop():
                if self._patience is not None and keeper.sums.n_waited >= self._patience:
                    # What is in flight was begun before that was known, and is no part of the study.
                    self.ended = "patience"
                    return
                self._submit()
                if not self._batches.n_under_way and not self._results:
                    self.ended = "exhausted" if keeper.n_trials < self._n_wanted else "complete"
                    return
                for batch, result in self._batches.collect(timeout=0.5):
                    self._results[result.first] = result
                    self._n_bytes += result.n_bytes
                    self._best = max(self._best, result.best)
                    self._pace.measure(len(batch.rows), result.seconds, is_first=result.is_first)
                self._take_in()
                if keeper.n_rows > MOST_ROWS or time.monotonic() - self._committed_at > COMMIT_SECONDS:
                    self._store()
                n_waiting = sum(len(result.scores) for result in self._results.values())
                self._watch(
                    keeper.n_trials + n_waiting, self._sign * self._best if self._best > -math.inf else math.nan
                )
        finally:
            self._store()

    def _submit(self) -> None:
        """Keep the workers' queues filled, in the order of the trials."""
        batches = self._batches
        while (
            self._next < self._n_trials
            and batches.n_under_way < (QUEUED_PER_CPU + 1) * batches.n_cpus
            and self._n_bytes < AHEAD_BYTES
        ):
            size = self._pace.size(self._n_trials - self._next, batches.n_cpus)
            stop = min(self._next + size, self._n_trials)
            if self._patience is not None:
                length = self._sampler.generation_size
                stop = min(stop, (self._next // length + 1) * length)
            parameters = None
            if self._sampler.in_order:
                parameters = self._drawing.between(self._next, stop)
                if len(parameters) < stop - self._next:
                    stop = self._n_trials = self._next + len(parameters)
                if stop == self._next:
                    return
            stretch = Stretch(self._search, self._next, stop, self.keeper.rules, parameters)
            batches.submit(StretchBatch(stretch, self._drawing))
            self._next = stop

    def _take_in(self) -> None:
        """Take in what has come back, as far as nothing before it is missing."""
        while (result := self._results.pop(self.keeper.n_trials, None)) is not None:
            self._n_bytes -= result.n_bytes
            self.keeper.take(result)
            self._failures.take(len(result.scores), result.raised)
            if self._patience is not None and self.keeper.sums.n_waited >= self._patience:
                return

    def _store(self) -> None:
        self._committed_at = time.monotonic()
        piece = self.keeper.piece()
        if piece is not None:
            self._commit(piece)


class StreamPace(Pace):
    """Batches of about a second, longer ones where many processors would keep the driver busy, shorter ones at the end,
    where a long one would leave the other processors idle.
    """

    def size(self, n_left: int, n_cpus: int) -> int:
        """Return the trials of a batch where `n_left` are to be run."""
        return self.within(n_left / (4 * n_cpus), max(self.longest_seconds, SECONDS_PER_CPU * n_cpus))
