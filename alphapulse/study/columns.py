"""A stored study read back as whole arrays, in pieces where it may hold more trials than memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import asyncpg
import numpy as np

from alphapulse.backtesting.batch import FAILED, OK, RUINED
from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.binary_copy import Kind, copy_out
from alphapulse.data_pipeline.database import Database
from alphapulse.errors import StudyError
from alphapulse.study.records import Study
from alphapulse.study.trials import BlockMoments, Trials
from alphapulse.typing import Float64Array1D, Float64Array2D, Int64Array1D

# What is read at once: enough to cost no queries, little beside what a driver holds anyway.
TRIALS_A_PIECE = 50_000
BLOCK_BYTES_A_PIECE = 1 << 23
CANDIDATE = "(state = 'COMPLETE' AND coalesce(0 >= ALL (violation), true))"
"""Whether a row of `trial` has its objectives and breaks no condition on results: no other is ever called good."""

SHARPE = "coalesce(CASE WHEN state = 'COMPLETE' THEN sharpe_ratio END, 'NaN')"


@dataclass(frozen=True)
class StudyColumns:
    """The columns of one study.

    Attributes
    ----------
    database : Database
    study : Study
    """

    database: Database
    study: Study

    def trials(self, start: int, stop: int) -> Trials:
        """Return the stored trials [start, stop), bit for bit as they were appended."""
        return self.numbered_trials(start, stop)[1]

    def numbered_trials(self, start: int, stop: int) -> tuple[Int64Array1D, Trials]:
        """Return numbers (n,) and the stored trials [start, stop), of which some may not be stored."""
        study = self.study
        kinds: dict[str, Kind] = {
            "number": np.int32,
            "params": (np.float64, len(study.space)),
            "value": (np.float64, len(study.objectives)),
            **({"violation": (np.float64, len(study.feasible))} if study.feasible else {}),
            "is_failed": np.bool_,
            "ruined": np.bool_,
            "seconds": np.float64,
            **dict.fromkeys(METRICS, np.float64),
        }
        violation = f"coalesce(violation, {_nans(len(study.feasible))}), " if study.feasible else ""
        query = (
            f"SELECT number, params, coalesce(value, {_nans(len(study.objectives))}), {violation}"
            "state = 'FAIL', ruined, seconds, "
            f"{', '.join(_not_null(name) for name in METRICS)} FROM trial "
            "WHERE sweep_id = $1 AND number >= $2 AND number < $3 ORDER BY number"
        )
        n_rows = 0 if study.is_part else max(stop - start, 0)
        columns = self._copy(query, study.id, start, stop, kinds=kinds, n_rows=n_rows)
        numbers = columns["number"].astype(np.int64)
        # A trial that ran to its end has a total return, whatever else is undefined.
        is_unfinished = columns["is_failed"] & np.isnan(columns["total_return"]) & ~columns["ruined"]
        failed = self.database.fetch(
            "SELECT number, error FROM trial WHERE sweep_id = $1 AND number >= $2 AND number < $3 "
            "AND state = 'FAIL' AND error IS NOT NULL",
            study.id,
            start,
            stop,
        )
        trials = Trials(
            parameters=columns["params"],
            values=columns["value"],
            metrics=np.stack([columns[name] for name in METRICS], axis=1),
            status=np.where(columns["ruined"], RUINED, np.where(is_unfinished, FAILED, OK)).astype(np.int8),
            seconds=columns["seconds"],
            errors={int(np.searchsorted(numbers, row["number"])): row["error"] for row in failed},
            violations=columns.get("violation", np.empty((0, 0))),
        )
        return numbers, trials

    def metrics_on(self, symbol: str, start: int, stop: int) -> tuple[Int64Array1D, Float64Array2D]:
        """Return numbers (n,) and metrics (n, n_metrics) on one symbol of the trials [start, stop) of a universe.

        A trial that failed has none.
        """
        kinds: dict[str, Kind] = {"number": np.int32, **dict.fromkeys(METRICS, np.float64)}
        query = (
            f"SELECT number, {', '.join(_not_null(name) for name in METRICS)} FROM trial_symbol "
            "WHERE sweep_id = $1 AND number >= $2 AND number < $3 AND symbol = $4 ORDER BY number"
        )
        columns = self._copy(query, self.study.id, start, stop, symbol, kinds=kinds, n_rows=0)
        return columns["number"].astype(np.int64), np.stack([columns[name] for name in METRICS], axis=1)

    def symbols(self) -> list[str]:
        """Return the symbols that the first trial with any has metrics on; none where there is no universe."""
        query = (
            "SELECT symbol FROM trial_symbol WHERE sweep_id = $1 AND number = "
            "(SELECT min(number) FROM trial_symbol WHERE sweep_id = $1) ORDER BY symbol"
        )
        return [row["symbol"] for row in self.database.fetch(query, self.study.id)]

    def numbers(self, table: Literal["trial", "trial_blocks"] = "trial") -> Int64Array1D:
        """Return the numbers of the trials (n,) that are stored, or whose block moments are, ascending."""
        pieces = self._pieces(f"SELECT number FROM {table} WHERE sweep_id = $1", {"number": np.int32}, TRIALS_A_PIECE)
        found: Int64Array1D = np.concatenate([np.empty(0, np.int64), *(piece["number"] for piece in pieces)])
        return found

    def candidates(self) -> Iterator[tuple[Int64Array1D, Float64Array2D]]:
        """Yield numbers (n,) and objectives (n, n_objectives) of the trials that may be called good, in pieces."""
        kinds: dict[str, Kind] = {"number": np.int32, "value": (np.float64, len(self.study.objectives))}
        query = f"SELECT number, value FROM trial WHERE sweep_id = $1 AND {CANDIDATE}"
        for piece in self._pieces(query, kinds, TRIALS_A_PIECE):
            yield piece["number"].astype(np.int64), piece["value"]

    def sharpes(self, n_trials: int) -> Iterator[Float64Array1D]:
        """Yield the annual Sharpe ratios of the first `n_trials` trials in order, in pieces; NaN for a failed one."""
        kinds: dict[str, Kind] = {"number": np.int32, "sharpe": np.float64}
        query = f"SELECT number, {SHARPE} FROM trial WHERE sweep_id = $1 AND number < $4"
        for piece in self._pieces(query, kinds, TRIALS_A_PIECE, n_trials):
            yield piece["sharpe"]

    def points(self, n_trials: int) -> Iterator[tuple[Float64Array2D, Float64Array1D, Float64Array1D]]:
        """Yield parameters, values of the first objective and annual Sharpe ratios of the first trials, in pieces.

        Both are NaN for a failed trial, the value also where a trial breaks a condition on results.
        """
        kinds: dict[str, Kind] = {
            "number": np.int32,
            "params": (np.float64, len(self.study.space)),
            "value": np.float64,
            "sharpe": np.float64,
        }
        query = (
            f"SELECT number, params, coalesce(CASE WHEN {CANDIDATE} THEN value[1] END, 'NaN'), {SHARPE} FROM trial "
            "WHERE sweep_id = $1 AND number < $4"
        )
        for piece in self._pieces(query, kinds, TRIALS_A_PIECE, n_trials):
            yield piece["params"], piece["value"], piece["sharpe"]

    def parameters_and_sharpes(self, numbers: Int64Array1D) -> tuple[Float64Array2D, Float64Array1D]:
        """Return parameters (n, n_dimensions) and annual Sharpe ratios (n,) of the trials `numbers`, given ascending.

        The ratio of a failed trial is NaN. StudyError is raised if a trial is not stored.
        """
        kinds: dict[str, Kind] = {"params": (np.float64, len(self.study.space)), "sharpe": np.float64}
        query = f"SELECT params, {SHARPE} FROM trial WHERE sweep_id = $1 AND number = ANY($2::int[]) ORDER BY number"
        columns = self._copy(query, self.study.id, numbers.tolist(), kinds=kinds, n_rows=len(numbers))
        if len(columns["sharpe"]) != len(numbers):
            n_missing = len(numbers) - len(columns["sharpe"])
            raise StudyError(f"Study {self.study.name!r} lacks {n_missing} of its trials.")
        return columns["params"], columns["sharpe"]

    def failed_for(self, reason: str) -> tuple[Int64Array1D, Float64Array2D]:
        """Return numbers (n,) and parameters (n, n_dimensions) of trials that failed for a reason.

        A regular expression of PostgreSQL matches it.
        """
        query = "SELECT number, params FROM trial WHERE sweep_id = $1 AND state = 'FAIL' AND error ~ $2 ORDER BY number"
        rows = self.database.fetch(query, self.study.id, reason)
        numbers = np.array([row["number"] for row in rows], dtype=np.int64)
        return numbers, np.array([row["params"] for row in rows], dtype=np.float64).reshape(-1, len(self.study.space))

    def median_seconds(self) -> float:
        """Return the median time of a trial that ran, of at most about 10,000 of them [s]; 0 without one."""
        query = (
            "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median FROM trial "
            "WHERE sweep_id = $1 AND seconds > 0 AND number % greatest(1, $2 / 10000) = 0"
        )
        return float(self.database.fetch(query, self.study.id, self.study.n_trials)[0]["median"] or 0.0)

    @cached_property
    def n_blocks_kept(self) -> int:
        """Number of trials whose block moments are kept."""
        query = "SELECT count(*) AS n FROM trial_blocks WHERE sweep_id = $1"
        return int(self.database.fetch(query, self.study.id)[0]["n"])

    def blocks(self) -> Iterator[BlockMoments]:
        """Yield the kept block moments in pieces, by number."""
        query = "SELECT octet_length(sums) AS width FROM trial_blocks WHERE sweep_id = $1 LIMIT 1"
        first = self.database.fetch(query, self.study.id)
        if not first:
            return
        width = first[0]["width"]
        kinds: dict[str, Kind] = {"number": np.int32, "sums": (np.uint8, width), "squares": (np.uint8, width)}
        query = "SELECT number, sums, squares FROM trial_blocks WHERE sweep_id = $1"
        for piece in self._pieces(query, kinds, max(1, BLOCK_BYTES_A_PIECE // width)):
            numbers = piece["number"].astype(np.int64)
            yield BlockMoments(numbers, piece["sums"].view("<f8"), piece["squares"].view("<f8"))

    def _copy(self, query: str, *arguments: Any, kinds: Mapping[str, Kind], n_rows: int) -> dict[str, np.ndarray]:
        async def copy() -> dict[str, np.ndarray]:
            connection = await self._reader()
            try:
                return await copy_out(connection, query, *arguments, kinds=kinds, n_rows=n_rows)
            finally:
                await connection.close()

        return self.database.run(self.database.patience.until_done(copy))

    def _pieces(
        self, query: str, kinds: Mapping[str, Kind], size: int, *arguments: Any
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield a query's rows by `number`, its first column, up to `size` at a time; `arguments` begin at $4."""
        query += " AND number > $2 ORDER BY number LIMIT $3"
        connection: asyncpg.Connection | None = None
        last, n_rows = -1, size

        async def copy() -> dict[str, np.ndarray]:
            nonlocal connection
            if connection is None:
                connection = await self._reader()
            try:
                asked = (self.study.id, last, size, *arguments)
                return await copy_out(connection, query, *asked, kinds=kinds, n_rows=size)
            except BaseException:
                # What follows is read by another, where the database comes back.
                connection.terminate()
                connection = None
                raise

        try:
            while n_rows == size:
                piece = self.database.run(self.database.patience.until_done(copy))
                n_rows = len(piece["number"])
                if n_rows:
                    last = int(piece["number"][-1])
                    yield piece
        finally:
            if connection is not None:
                self.database.run(connection.close())

    async def _reader(self) -> asyncpg.Connection:
        """Return a connection that reads by the key, in whose order rows were written."""
        connection = await self.database.connect()
        # The planner would rather sort them all on disk.
        await connection.execute("SET enable_sort = off; SET enable_seqscan = off")
        return connection


def _nans(n: int) -> str:
    return f"array_fill('NaN'::float8, ARRAY[{n}])"


def _not_null(name: str) -> str:
    return f"coalesce({name}, 'NaN')"
