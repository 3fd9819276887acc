"""Studies in the database: whole generations in, by COPY and in order; whole arrays out."""

import asyncio
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import asyncpg
import numpy as np

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.binary_copy import Kind, copy_out
from alphapulse.data_pipeline.database import Database
from alphapulse.errors import StudyError, did_you_mean
from alphapulse.search.space import SearchSpace
from alphapulse.study.identity import check_same_study
from alphapulse.study.records import (
    Generation,
    Status,
    Stored,
    Study,
    TrialRecord,
    space_from_json,
    space_to_json,
)
from alphapulse.study.writer import FAILED, RUINED, Writer
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

# A killed driver's server process needs a moment to notice and to drop its lock.
LOCK_PATIENCE = 5.0
# What is read at once: enough to cost no queries, little beside what a driver holds anyway.
TRIALS_A_PIECE = 50_000
BLOCK_BYTES_A_PIECE = 1 << 23
SHARPE = "coalesce(CASE WHEN state = 'COMPLETE' THEN sharpe_ratio END, 'NaN')"


class Store:
    """The studies of one database.

    Writing runs on an event loop beside the caller: `append` returns at once, unless two generations are on
    their way already. All methods raise DatabaseError of one line where the database fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writers: dict[int, Writer] = {}

    def open_study(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        seed: int,
        fingerprint: str,
        code_version: str,
        packages: Mapping[str, str],
        space: SearchSpace,
        objectives: Sequence[str],
        directions: Sequence[str],
        n_trials: int = 0,
    ) -> Study:
        """Create a study, or continue it, and keep other drivers out until `finish` or the end of the process.

        Parameters
        ----------
        name : str
        config : mapping
            The resolved configuration; kept with a new study, compared with that of an old one.
        seed, fingerprint, space, objectives, directions
            What makes the study; continuing it with another is refused.
        code_version, packages
            Kept with a new study.
        n_trials : int
            Trials asked for in total.

        Raises
        ------
        StudyError
            If the stored study is a different one, or another driver runs it.
        """
        cleaned = _clean(config)
        connection = self._database.run(self._database.connect())
        try:
            self._database.run(_lock(connection, name))
            study = self._database.run(_find(connection, name))
            if study is None:
                row = (
                    name, _json(cleaned), _json(space_to_json(space)), seed, list(objectives), list(directions),
                    fingerprint, code_version, _json(packages), n_trials,
                )  # fmt: skip
                self._database.run(connection.execute(INSERT_STUDY, *row))
            else:
                check_same_study(
                    study,
                    config=cleaned,
                    seed=seed,
                    fingerprint=fingerprint,
                    space=space,
                    objectives=tuple(objectives),
                    directions=tuple(directions),
                )
                self._database.run(
                    connection.execute(
                        "UPDATE sweep SET status = 'RUNNING', n_trials = greatest($2, n_done), updated_at = now() "
                        "WHERE id = $1",
                        study.id,
                        n_trials,
                    )
                )
            opened = self._database.run(_find(connection, name))
            assert opened is not None
        except BaseException:
            self._database.submit(_terminate(connection))
            raise
        self._writers[opened.id] = Writer(self._database, connection, opened)
        return opened

    def append(self, study: Study, generation: Generation) -> "Future[None]":
        """Store a generation in one transaction after all that were appended before it.

        Blocks while two generations are on their way. The future raises DatabaseError if this one or an
        earlier one could not be stored; then nothing of it is.
        """
        return self._writers[study.id].append(generation)

    def seconds_writing(self, study: Study) -> float:
        """Return the time that `append` has spent on an open study so far, beside everything else [s]."""
        return self._writers[study.id].seconds

    def finish(self, study: Study, status: Status) -> None:
        """Wait for what is on its way, set the status and let other drivers in."""
        writer = self._writers.pop(study.id)
        try:
            writer.wait()
            self._database.run(
                writer.connection.execute(
                    "UPDATE sweep SET status = $2, updated_at = now() WHERE id = $1", study.id, status
                )
            )
        finally:
            self._database.run(writer.close())

    def close(self) -> None:
        """Let other drivers in to the studies that were not finished; their status stays RUNNING."""
        while self._writers:
            self._database.run(self._writers.popitem()[1].close())

    def find_study(self, name: str) -> Study:
        """Return a study by name; StudyError if there is none."""
        row = self._fetch("SELECT * FROM sweep WHERE name = $1", name)
        if row:
            return _study(row[0])
        names = [record["name"] for record in self._fetch("SELECT name FROM sweep ORDER BY updated_at DESC")]
        known = (
            f"the latest are {', '.join(names[:5])}" if names else "there are none; run `python -m alphapulse.sweep`"
        )
        raise StudyError(f"No study {name!r} in the {self._database}{did_you_mean(name, names) or f'; {known}'}")

    def studies(self) -> list[Study]:
        """Return all studies, latest first."""
        return [_study(row) for row in self._fetch("SELECT * FROM sweep ORDER BY updated_at DESC")]

    def n_trials_done(self, study: Study) -> int:
        """Return the number of stored trials."""
        return int(self._fetch("SELECT n_done FROM sweep WHERE id = $1", study.id)[0]["n_done"])

    def state(self, study: Study) -> bytes | None:
        """Return what the last stored generation left."""
        state: bytes | None = self._fetch("SELECT state FROM sweep WHERE id = $1", study.id)[0]["state"]
        return state

    def history(self, study: Study, start: int = 0, stop: int | None = None) -> Stored:
        """Return the stored trials [start, stop), all from `start` on by default, bit for bit as they were appended."""
        stop = self.n_trials_done(study) if stop is None else stop
        kinds: dict[str, Kind] = {
            "params": (np.float64, len(study.space)),
            "value": (np.float64, len(study.objectives)),
            "is_failed": np.bool_,
            "ruined": np.bool_,
            **dict.fromkeys(METRICS, np.float64),
        }
        query = (
            f"SELECT params, {_value(study)}, state = 'FAIL', ruined, "
            f"{', '.join(_not_null(name) for name in METRICS)} FROM trial "
            "WHERE sweep_id = $1 AND number >= $2 AND number < $3 ORDER BY number"
        )
        columns = self._copy(query, study.id, start, stop, kinds=kinds, n_rows=max(stop - start, 0))
        metrics = np.stack([columns[name] for name in METRICS], axis=1)
        # A trial that ran to its end has a total return, whatever else is undefined.
        is_unfinished = columns["is_failed"] & np.isnan(columns["total_return"]) & ~columns["ruined"]
        failed = self._fetch(
            "SELECT number, error FROM trial WHERE sweep_id = $1 AND number >= $2 AND number < $3 "
            "AND state = 'FAIL' AND error IS NOT NULL",
            study.id,
            start,
            stop,
        )
        return Stored(
            parameters=columns["params"],
            values=columns["value"],
            metrics=metrics,
            status=np.where(columns["ruined"], RUINED, np.where(is_unfinished, FAILED, 0)).astype(np.int8),
            errors={row["number"] - start: row["error"] for row in failed},
        )

    def sharpes(self, study: Study, n_trials: int) -> Iterator[Float64Array1D]:
        """Yield the annual Sharpe ratios of the first `n_trials` trials in order, in pieces; NaN for a failed one."""
        kinds: dict[str, Kind] = {"number": np.int32, "sharpe": np.float64}
        query = f"SELECT number, {SHARPE} FROM trial WHERE sweep_id = $1 AND number < $4"
        for piece in self._pieces(query, study.id, kinds, TRIALS_A_PIECE, n_trials):
            yield piece["sharpe"]

    def parameters_and_sharpes(self, study: Study, numbers: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters (n, n_dimensions) and annual Sharpe ratios (n,) of the trials `numbers`, given ascending.

        NaN for a failed one. StudyError if one is not stored.
        """
        kinds: dict[str, Kind] = {"params": (np.float64, len(study.space)), "sharpe": np.float64}
        query = f"SELECT params, {SHARPE} FROM trial WHERE sweep_id = $1 AND number = ANY($2::int[]) ORDER BY number"
        columns = self._copy(query, study.id, numbers.tolist(), kinds=kinds, n_rows=len(numbers))
        if len(columns["sharpe"]) != len(numbers):
            raise StudyError(f"Study {study.name!r} lacks {len(numbers) - len(columns['sharpe'])} of its trials.")
        return columns["params"], columns["sharpe"]

    def n_blocks_kept(self, study: Study) -> int:
        """Return the number of trials whose block moments are kept."""
        return int(self._fetch("SELECT count(*) AS n FROM trial_blocks WHERE sweep_id = $1", study.id)[0]["n"])

    def blocks(self, study: Study) -> Iterator[tuple[Int64Array1D, Float64Array2D, Float64Array2D]]:
        """Yield the kept block moments in pieces: numbers (n,), sums and squares (n, n_blocks), by number."""
        first = self._fetch(
            "SELECT octet_length(sums) AS width FROM trial_blocks WHERE sweep_id = $1 LIMIT 1", study.id
        )
        if not first:
            return
        width = first[0]["width"]
        kinds: dict[str, Kind] = {"number": np.int32, "sums": (np.uint8, width), "squares": (np.uint8, width)}
        query = "SELECT number, sums, squares FROM trial_blocks WHERE sweep_id = $1"
        for piece in self._pieces(query, study.id, kinds, max(1, BLOCK_BYTES_A_PIECE // width)):
            yield piece["number"].astype(np.int64), piece["sums"].view("<f8"), piece["squares"].view("<f8")

    def trial(self, study: Study, number: int) -> TrialRecord:
        """Return one trial; StudyError if it is not stored."""
        rows = self._fetch("SELECT * FROM trial WHERE sweep_id = $1 AND number = $2", study.id, number)
        if not rows:
            raise StudyError(
                f"Study {study.name!r} has no trial {number}; its {self.n_trials_done(study)} trials count from 0."
            )
        return _record(study, rows[0])

    def best(self, study: Study, n: int) -> list[TrialRecord]:
        """Return the `n` best complete trials by the first objective, earlier ones first among equals."""
        order = "DESC" if study.directions[0] == "maximize" else "ASC"
        rows = self._fetch(
            "SELECT * FROM trial WHERE sweep_id = $1 AND state = 'COMPLETE' "
            f"ORDER BY value[1] {order}, number LIMIT $2",
            study.id,
            n,
        )
        return [_record(study, row) for row in rows]

    def failures(self, study: Study) -> dict[str, int]:
        """Return how many trials failed for each reason, the most frequent first."""
        rows = self._fetch(
            "SELECT coalesce(error, '') AS error, count(*) AS n FROM trial WHERE sweep_id = $1 AND state = 'FAIL' "
            "GROUP BY 1 ORDER BY n DESC, error",
            study.id,
        )
        return {row["error"]: row["n"] for row in rows}

    def count_trials(self, fingerprint: str) -> int:
        """Return the trials of all studies that ran on this data."""
        query = "SELECT coalesce(sum(n_done), 0)::bigint AS n FROM sweep WHERE fingerprint = $1"
        return int(self._fetch(query, fingerprint)[0]["n"])

    def record_opening(self, fingerprint: str, study: Study, trial: int) -> int:
        """Note that `trial` was tried on the hold-out of this data; return how often it has been opened by now.

        The same trial of the same study counts once.
        """
        self._fetch(
            "INSERT INTO holdout_opening (fingerprint, sweep_id, trial) SELECT $1, $2, $3 WHERE NOT EXISTS "
            "(SELECT 1 FROM holdout_opening WHERE fingerprint = $1 AND sweep_id = $2 AND trial = $3)",
            fingerprint,
            study.id,
            trial,
        )
        return self.count_openings(fingerprint)

    def count_openings(self, fingerprint: str) -> int:
        """Return how often the hold-out of this data has been opened."""
        return int(self._fetch("SELECT count(*) AS n FROM holdout_opening WHERE fingerprint = $1", fingerprint)[0]["n"])

    def save_verdict(self, study: Study, verdict: Mapping[str, Any]) -> None:
        """Keep the verdict with the study; NaN becomes null."""
        self._fetch("UPDATE sweep SET verdict = $2, updated_at = now() WHERE id = $1", study.id, _json(verdict))

    def _fetch(self, query: str, *arguments: Any) -> list[Any]:
        async def fetch() -> list[Any]:
            connection = await self._database.connect()
            try:
                rows: list[Any] = await connection.fetch(query, *arguments)
                return rows
            finally:
                await connection.close()

        return self._database.run(fetch())

    def _copy(self, query: str, *arguments: Any, kinds: Mapping[str, Kind], n_rows: int) -> dict[str, np.ndarray]:
        async def copy() -> dict[str, np.ndarray]:
            connection = await self._reader()
            try:
                return await copy_out(connection, query, *arguments, kinds=kinds, n_rows=n_rows)
            finally:
                await connection.close()

        return self._database.run(copy())

    def _pieces(
        self, query: str, study_id: int, kinds: Mapping[str, Kind], size: int, *arguments: Any
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield a query's rows by `number`, its first column, up to `size` at a time; `arguments` begin at $4."""
        query += " AND number > $2 ORDER BY number LIMIT $3"
        connection = self._database.run(self._reader())
        try:
            last, n_rows = -1, size
            while n_rows == size:
                copying = copy_out(connection, query, study_id, last, size, *arguments, kinds=kinds, n_rows=size)
                piece = self._database.run(copying)
                n_rows = len(piece["number"])
                if n_rows:
                    last = int(piece["number"][-1])
                    yield piece
        finally:
            self._database.run(connection.close())

    async def _reader(self) -> asyncpg.Connection:
        """Return a connection that reads by the key, in whose order rows were written."""
        connection = await self._database.connect()
        # The planner would rather sort them all on disk.
        await connection.execute("SET enable_sort = off; SET enable_seqscan = off")
        return connection


INSERT_STUDY = """
INSERT INTO sweep (name, config, space, seed, objectives, directions, fingerprint, code_version, packages, n_trials,
    status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'RUNNING')
"""


async def _lock(connection: asyncpg.Connection, name: str) -> None:
    """Take the lock of the study `name` for as long as the connection lives."""
    deadline = asyncio.get_running_loop().time() + LOCK_PATIENCE
    while not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"study {name}"):
        if asyncio.get_running_loop().time() > deadline:
            raise StudyError(f"Study {name!r} is being run by another command; wait for its end, or choose study=NAME.")
        await asyncio.sleep(0.1)


async def _terminate(connection: asyncpg.Connection) -> None:
    connection.terminate()


async def _find(connection: asyncpg.Connection, name: str) -> Study | None:
    row = await connection.fetchrow("SELECT * FROM sweep WHERE name = $1", name)
    return None if row is None else _study(row)


def _study(row: Any) -> Study:
    return Study(
        **{
            **dict(row),
            "config": json.loads(row["config"]),
            "space": space_from_json(json.loads(row["space"])),
            "objectives": tuple(row["objectives"]),
            "directions": tuple(row["directions"]),
            "packages": json.loads(row["packages"]),
            "verdict": None if row["verdict"] is None else json.loads(row["verdict"]),
        }
    )


def _record(study: Study, row: Any) -> TrialRecord:
    parameters = np.array(row["params"], dtype=np.float64)
    return TrialRecord(
        number=row["number"],
        generation=row["generation"],
        state=row["state"],
        parameters=parameters,
        params=study.space.values(parameters),
        values=[math.nan] * len(study.objectives) if row["value"] is None else list(row["value"]),
        metrics={name: math.nan if row[name] is None else row[name] for name in METRICS},
        ruined=row["ruined"],
        error=row["error"],
        seconds=row["seconds"],
        completed_at=row["completed_at"],
    )


def _not_null(name: str) -> str:
    return f"coalesce({name}, 'NaN')"


def _value(study: Study) -> str:
    return f"coalesce(value, array_fill('NaN'::float8, ARRAY[{len(study.objectives)}]))"


def _json(value: Any) -> str:
    return json.dumps(_clean(value), allow_nan=False)


def _clean(value: Any) -> Any:
    """Return `value` in JSON's types: NaN and infinities become null, arrays lists, and what it lacks text."""
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _clean(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
