"""The writing side of the store: one connection a study, a transaction a generation, in order."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import asyncpg
import numpy as np

from alphapulse.backtesting.batch import RUINED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.binary_copy import Column, copy_in
from alphapulse.data_pipeline.database import Database
from alphapulse.errors import StudyError
from alphapulse.study.records import Generation, Study
from alphapulse.study.trials import BlockMoments

MAX_PENDING = 2


class Writer:
    """The one connection that writes a study; its session holds the study's lock.

    `seconds` [s] is the time in which a generation was on its way to the database.
    """

    def __init__(self, database: Database, connection: asyncpg.Connection, study: Study) -> None:
        self.connection = connection
        self._database = database
        self._study = study
        self._n_done = study.n_done
        self._order = asyncio.Lock()
        self._room = threading.BoundedSemaphore(MAX_PENDING)
        self._last: Future[None] | None = None
        self.seconds = 0.0

    def append(self, generation: Generation) -> "Future[None]":
        """Start to store a generation; block while `MAX_PENDING` are on their way."""
        self._room.acquire()
        future = self._database.submit(self._write(generation))
        future.add_done_callback(lambda _: self._room.release())
        self._last = future
        return future

    def wait(self) -> None:
        """Return when all that was appended is stored; raise what kept the last from it."""
        if self._last is not None:
            self._last.result()

    async def close(self) -> None:
        """End the session and with it the lock."""
        await self.connection.close(timeout=10)

    async def _write(self, generation: Generation) -> None:
        async with self._order:
            if generation.first_trial != self._n_done:
                raise StudyError(
                    f"Trials of {self._study.name!r} must be stored in order from {self._n_done}, but got a generation "
                    f"from {generation.first_trial}; an earlier one was not stored."
                )
            started = time.perf_counter()
            with self._database.one_line_errors():
                await self._unless_lost(self._write_generation(generation))
            self.seconds += time.perf_counter() - started
            self._n_done += len(generation.trials)

    async def _unless_lost(self, writing: Coroutine[Any, Any, None]) -> None:
        """Await `writing`, or raise when the connection is lost: asyncpg waits for ever in a COPY that was cut."""
        task = asyncio.ensure_future(writing)
        lost = asyncio.get_running_loop().create_future()

        def note(connection: Any) -> None:
            if not lost.done():
                lost.set_result(None)

        self.connection.add_termination_listener(note)
        try:
            await asyncio.wait({task, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connection.remove_termination_listener(note)
        if task.done():
            task.result()
            return
        task.cancel()
        # What it raises on its way out is the loss that is reported here.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise ConnectionResetError("the connection was lost while trials were written")

    async def _write_generation(self, generation: Generation) -> None:
        async with self.connection.transaction():
            await self._write_trials(generation)
            await self._write_blocks(generation.blocks)
            n_done = self._n_done + len(generation.trials)
            await self.connection.execute(
                "UPDATE sweep SET n_done = $2, state = $3, updated_at = now() WHERE id = $1",
                self._study.id,
                n_done,
                generation.state,
            )
            await self.connection.execute("UPDATE ledger SET n_trials = $2 WHERE sweep_id = $1", self._study.id, n_done)

    async def _write_trials(self, generation: Generation) -> None:
        is_failed = generation.trials.is_failed
        now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        for state, rows in (("COMPLETE", np.flatnonzero(~is_failed)), ("FAIL", np.flatnonzero(is_failed))):
            if not len(rows):
                continue
            trials = generation.trials[rows]
            # Several objectives may be undefined in part; a single one that is undefined is no value.
            has_value = state == "COMPLETE" or len(self._study.objectives) > 1
            columns: dict[str, Column] = {
                "sweep_id": np.int64(self._study.id),
                "number": (generation.first_trial + rows).astype(np.int32),
                "generation": np.int32(generation.number),
                "state": state,
                "params": trials.parameters,
                "value": trials.values if has_value else None,
                **{name: trials.metrics[:, place] for place, name in enumerate(METRICS)},
                "ruined": trials.status == RUINED,
                "seconds": trials.seconds,
                "completed_at": now,
            }
            if state == "FAIL":
                columns["error"] = [_error_text(trials.errors.get(row)) for row in range(len(rows))]
            await copy_in(self.connection, "trial", columns, nan_is_null=METRICS)

    async def _write_blocks(self, blocks: BlockMoments) -> None:
        if not len(blocks.trials):
            return
        columns: dict[str, Column] = {
            "sweep_id": np.int64(self._study.id),
            "number": blocks.trials.astype(np.int32),
            "sums": np.ascontiguousarray(blocks.sums, dtype="<f8").view(np.uint8),
            "squares": np.ascontiguousarray(blocks.squares, dtype="<f8").view(np.uint8),
        }
        await copy_in(self.connection, "trial_blocks", columns)


def _error_text(error: str | None) -> bytes | None:
    # PostgreSQL's text holds any character but the zero one.
    return None if error is None else error.replace("\0", "").encode(errors="replace")
