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
from alphapulse.study.trials import BlockMoments, SymbolMetrics

MAX_PENDING = 2
# More than that are kept while the database is away, so that the search goes on [bytes].
SPOOL_BYTES = 64 * 2**20
# A server that says nothing for so long is not there any more, or its answer is lost [s].
SILENCE = 120.0
# A killed driver's server process needs a moment to notice and to drop its lock [s].
LOCK_PATIENCE = 5.0


class Writer:
    """The one connection that writes a study; its session holds the study's lock.

    `seconds` [s] is the time in which a generation was on its way to the database.
    """

    def __init__(self, database: Database, connection: asyncpg.Connection, study: Study) -> None:
        self.connection = connection
        self._database = database
        self._patience = database.patience
        self._study = study
        self._n_done = study.n_done
        self._order = asyncio.Lock()
        self._room = threading.Condition()
        self._n_pending = self._pending_bytes = 0
        self._last: Future[None] | None = None
        self.seconds = 0.0

    def append(self, generation: Generation) -> "Future[None]":
        """Start to store a generation; block while `MAX_PENDING` are on their way and more than memory has room for."""
        size = _size(generation)
        with self._room:
            self._room.wait_for(lambda: self._n_pending < MAX_PENDING or self._pending_bytes + size <= SPOOL_BYTES)
            self._n_pending += 1
            self._pending_bytes += size
        future = self._database.submit(self._write(generation))
        future.add_done_callback(lambda _: self._release(size))
        self._last = future
        return future

    def _release(self, size: int) -> None:
        with self._room:
            self._n_pending -= 1
            self._pending_bytes -= size
            self._room.notify_all()

    def wait(self) -> None:
        """Return when all that was appended is stored; raise what kept the last from it."""
        if self._last is not None:
            self._last.result()

    def run(self, query: str, *arguments: Any) -> None:
        """Run a query that changes nothing where it has been run already, on the connection of the study."""

        async def attempt() -> None:
            await self._reconnect_if_lost()
            await self._unless_lost(self.connection.execute(query, *arguments))

        self._database.run(self._patience.until_done(attempt))

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

            tried = False

            async def attempt() -> None:
                nonlocal tried
                await self._reconnect_if_lost()
                if tried and await self._count_stored() > self._n_done:
                    # The commit went well, its answer was lost.
                    return
                tried = True
                await self._unless_lost(self._write_generation(generation))

            started = time.perf_counter()
            with self._database.one_line_errors():
                await self._patience.until_done(attempt)
            self.seconds += time.perf_counter() - started
            self._n_done += generation.n_trials

    async def _reconnect_if_lost(self) -> None:
        """Make a new connection that holds the study's lock where the old one was lost."""
        if not self.connection.is_closed():
            return
        self.connection = await self._database.connect()
        try:
            # The server may take its time to notice that the old session is gone.
            await lock_study(self.connection, self._study.name, self._database.wait)
        except BaseException:
            self.connection.terminate()
            raise

    async def _count_stored(self) -> int:
        return int(await self.connection.fetchval("SELECT n_done FROM sweep WHERE id = $1", self._study.id))

    async def _unless_lost(self, work: Coroutine[Any, Any, Any]) -> None:
        """Await `work`, or raise when the connection is lost or silent: asyncpg waits for ever in a cut COPY."""
        task = asyncio.ensure_future(work)
        lost = asyncio.get_running_loop().create_future()

        def note(connection: Any) -> None:
            if not lost.done():
                lost.set_result(None)

        self.connection.add_termination_listener(note)
        try:
            await asyncio.wait({task, lost}, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connection.remove_termination_listener(note)
        if task.done() and not (self.connection.is_closed() and isinstance(task.exception(), asyncpg.InterfaceError)):
            task.result()
            return
        task.cancel()
        # What it raises on its way out is the loss that is reported here.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.connection.terminate()
        raise ConnectionResetError("the connection was lost while trials were written")

    async def _write_generation(self, generation: Generation) -> None:
        async with self.connection.transaction():
            await self._write_trials(generation)
            await self._write_blocks(generation.blocks)
            if generation.by_symbol is not None:
                await self._write_symbols(generation.by_symbol)
                if generation.part is None:
                    stop = generation.first_trial + generation.n_trials
                    await self.connection.execute(SAME_ON_SYMBOLS, self._study.id, generation.first_trial, stop)
            n_done = self._n_done + generation.n_trials
            await self.connection.execute(
                "UPDATE sweep SET n_done = $2, state = $3, updated_at = now() WHERE id = $1",
                self._study.id,
                n_done,
                generation.state,
            )
            if generation.part is not None:
                query = "UPDATE sweep SET part = $2 WHERE id = $1"
                await self.connection.execute(query, self._study.id, generation.part.sums)
            await self.connection.execute("UPDATE ledger SET n_trials = $2 WHERE sweep_id = $1", self._study.id, n_done)

    async def _write_trials(self, generation: Generation) -> None:
        is_failed, part = generation.trials.is_failed, generation.part
        numbers = generation.first_trial + np.arange(len(is_failed)) if part is None else part.numbers
        now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        for state, rows in (("COMPLETE", np.flatnonzero(~is_failed)), ("FAIL", np.flatnonzero(is_failed))):
            if not len(rows):
                continue
            trials = generation.trials[rows]
            # Several objectives may be undefined in part; a single one that is undefined is no value.
            has_value = state == "COMPLETE" or len(self._study.objectives) > 1
            columns: dict[str, Column] = {
                "sweep_id": np.int64(self._study.id),
                "number": numbers[rows].astype(np.int32),
                "generation": np.int32(generation.number) if part is None else part.generations[rows].astype(np.int32),
                "state": state,
                "params": trials.parameters,
                "value": trials.values if has_value else None,
                "violation": trials.violations if state == "COMPLETE" and self._study.feasible else None,
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

    async def _write_symbols(self, by_symbol: SymbolMetrics) -> None:
        """Write the metrics on each symbol."""
        metrics = by_symbol.metrics.reshape(-1, len(METRICS))
        if len(metrics):
            columns: dict[str, Column] = {
                "sweep_id": np.int64(self._study.id),
                "number": np.repeat(by_symbol.trials.astype(np.int32), len(by_symbol.symbols)),
                **{name: np.ascontiguousarray(metrics[:, place]) for place, name in enumerate(METRICS)},
                "symbol": [symbol.encode() for symbol in by_symbol.symbols] * len(by_symbol.trials),
            }
            await copy_in(self.connection, "trial_symbol", columns, nan_is_null=METRICS)


# A trial that equals an earlier one has the metrics of that one.
SAME_ON_SYMBOLS = f"""
INSERT INTO trial_symbol (sweep_id, number, symbol, {", ".join(METRICS)})
SELECT s.sweep_id, t.number, s.symbol, {", ".join(f"s.{name}" for name in METRICS)}
FROM trial t CROSS JOIN LATERAL (
    SELECT e.number FROM trial e
    WHERE e.sweep_id = t.sweep_id AND e.number < t.number AND e.params = t.params
        AND EXISTS (SELECT 1 FROM trial_symbol f WHERE f.sweep_id = e.sweep_id AND f.number = e.number)
    ORDER BY e.number LIMIT 1
) AS first JOIN trial_symbol s ON s.sweep_id = t.sweep_id AND s.number = first.number
WHERE t.sweep_id = $1 AND t.number >= $2 AND t.number < $3
    AND NOT EXISTS (SELECT 1 FROM trial_symbol o WHERE o.sweep_id = t.sweep_id AND o.number = t.number)
"""


def _size(generation: Generation) -> int:
    """Return the memory that the arrays of a generation take [bytes]."""
    trials, blocks = generation.trials, generation.blocks
    arrays = (trials.parameters, trials.values, trials.metrics, blocks.sums, blocks.squares)
    on_symbols = 0 if generation.by_symbol is None else generation.by_symbol.metrics.nbytes
    return sum(array.nbytes for array in arrays) + on_symbols + len(generation.state)


def _error_text(error: str | None) -> bytes | None:
    # PostgreSQL's text holds any character but the zero one.
    return None if error is None else error.replace("\0", "").encode(errors="replace")


async def lock_study(connection: asyncpg.Connection, name: str, patience: float | None = None) -> None:
    """Take the lock of the study `name` for as long as the connection lives.

    Raises
    ------
    StudyError
        If somebody else holds it for longer than `patience` [s]; None is a moment.
    """
    deadline = asyncio.get_running_loop().time() + (LOCK_PATIENCE if patience is None else patience)
    while not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"study {name}"):
        if asyncio.get_running_loop().time() > deadline:
            raise StudyError(f"Study {name!r} is being run by another command; wait for its end, or choose study=NAME.")
        await asyncio.sleep(0.1)
