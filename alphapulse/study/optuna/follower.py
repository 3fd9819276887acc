"""Optuna's tables while a study runs: a thread that brings them what is committed, at a bounded share of the time."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from alphapulse.data_pipeline.database import Database
from alphapulse.errors import AlphaPulseError

if TYPE_CHECKING:
    from alphapulse.study.optuna.mirror import Followed

SECONDS_BETWEEN = 3.0
SHARE = 0.025
"""Most of the time of a search that following it may take, Optuna's import included [1]."""

SHORTEST_SEARCH = 30.0
"""Time whose share may be taken from the start: a search that is over sooner is followed all the same [s]."""

LONGEST_STEP = 0.3
"""What a step is cut to, so that no lock is held for long [s]."""

FIRST_STEP = 5
"""Trials of the first step, which tells what a trial costs."""


class Allowance:
    """How much following may take by now, and how many trials the next step may add.

    Both are learnt from what the steps before have taken, so that a slow database is asked for less.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self._seconds_per_trial = LONGEST_STEP / FIRST_STEP

    def n_trials(self, elapsed: float) -> int:
        """Return how many trials a step may add after `elapsed` seconds of the search; below 1 is none yet."""
        left = SHARE * max(elapsed, SHORTEST_SEARCH) - self.spent
        return int(min(left, LONGEST_STEP) / self._seconds_per_trial)

    def take(self, seconds: float, n_trials: int) -> None:
        """Note that a step took so long for so many trials, which says something of a trial if there were some."""
        self.spent += seconds
        if n_trials:
            self._seconds_per_trial += 0.5 * (seconds / n_trials - self._seconds_per_trial)


class OptunaFollower:
    """While entered, lets Optuna's tables follow a study every few seconds; what it reads is what was committed.

    It never ends a sweep: where it cannot go on it stops, and whoever copies the study at its end meets the reason.

    Parameters
    ----------
    database : Database
    study_id : int
    limit : int
        Most trials to mirror; with 0 nothing is done.
    facts : mapping of str to str
        What is known of the study already, as `describe` takes it.
    """

    def __init__(self, database: Database, study_id: int, *, limit: int, facts: Mapping[str, str]) -> None:
        self._database = database
        self._study_id = study_id
        self._limit = limit
        self._facts = facts
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alphapulse-optuna", daemon=True)
        self._allowance = Allowance()

    def __enter__(self) -> "OptunaFollower":
        if self._limit > 0:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def seconds(self) -> float:
        """What it has taken so far [s]."""
        return self._allowance.spent

    def _run(self) -> None:
        started = time.perf_counter()
        if self._ended.wait(SECONDS_BETWEEN):
            return
        # Of the processor: on a busy machine an import waits more than it takes.
        before = time.thread_time()
        import optuna.distributions  # noqa: F401

        from alphapulse.study.optuna.tables import ensure_optuna_tables

        self._allowance.take(time.thread_time() - before, 0)
        try:
            # Once a database; it is counted in no search.
            ensure_optuna_tables(self._database)
        except AlphaPulseError:
            return
        followed: Followed | None = None
        while not self._ended.is_set():
            before = time.perf_counter()
            n_trials = self._allowance.n_trials(before - started)
            if n_trials > 0:
                try:
                    last, followed = followed, self._step(followed, n_trials)
                except AlphaPulseError:
                    return
                n_added = followed.next_number - (last or followed).next_number
                self._allowance.take(time.perf_counter() - before, n_added)
            self._ended.wait(SECONDS_BETWEEN)

    def _step(self, followed: "Followed | None", n_trials: int) -> "Followed":
        from alphapulse.study.optuna.mirror import follow, start_following

        with self._database.one_line_errors(), self._database.sync_engine.begin() as connection:
            if followed is None:
                return start_following(connection, self._study_id, self._limit, self._facts)
            return follow(connection, self._study_id, self._limit, followed, n_trials)
