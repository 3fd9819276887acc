"""Optuna's tables while a study runs: a thread that brings them what is committed, at a bounded share of the time."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType

from alphapulse.data_pipeline.database import Database
from alphapulse.errors import AlphaPulseError
from alphapulse.study.optuna.mirror import Followed, follow, start_following
from alphapulse.study.optuna.tables import ensure_optuna_tables

SECONDS_BETWEEN = 3.0
SHARE = 0.025
"""Most of the time that steps may take; a step that took long is followed by a long pause [1]."""


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
        self.seconds = 0.0

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

    def _run(self) -> None:
        try:
            # What takes long the first time, once: Optuna's own tables, and its import.
            ensure_optuna_tables(self._database)
        except AlphaPulseError:
            return
        import optuna.distributions  # noqa: F401

        pause = SECONDS_BETWEEN
        followed: Followed | None = None
        while not self._ended.wait(pause):
            started = time.perf_counter()
            try:
                followed = self._step(followed)
            except AlphaPulseError:
                return
            cost = time.perf_counter() - started
            self.seconds += cost
            pause = max(SECONDS_BETWEEN, cost / SHARE)

    def _step(self, followed: Followed | None) -> Followed:
        with self._database.one_line_errors(), self._database.sync_engine.begin() as connection:
            if followed is None:
                followed = start_following(connection, self._study_id, self._limit, self._facts)
            return follow(connection, self._study_id, self._limit, followed)
