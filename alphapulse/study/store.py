"""Studies in the database: made, continued, found; whole generations in, single trials out."""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import asyncpg
import numpy as np

from alphapulse.backtesting.metrics import DEFINITIONS, METRICS
from alphapulse.data_pipeline.database import Database
from alphapulse.data_pipeline.patience import passes
from alphapulse.errors import DatabaseError, StudyError, did_you_mean
from alphapulse.plain import command_line, plain
from alphapulse.search.space import SearchSpace
from alphapulse.study.columns import CANDIDATE
from alphapulse.study.identity import check_same_study
from alphapulse.study.part.sums import Sums
from alphapulse.study.records import (
    Generation,
    Status,
    Study,
    StudyBars,
    StudyPlan,
    TrialRecord,
)
from alphapulse.study.writer import Writer, lock_study

BAR_COLUMNS = ("symbols", "timeframe", "data_start", "holdout_start", "data_end")


class NotStoredError(StudyError):
    """A trial of a study was run, but is not among those that are stored.

    Attributes
    ----------
    number : int
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class Store:
    """The studies of one database.

    Writing runs on an event loop beside the caller: `append` returns at once, unless two generations are on
    their way already. All methods raise DatabaseError of one line where the database fails. Whole columns of a study
    are read by `StudyColumns`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._writers: dict[int, Writer] = {}

    def open_study(self, plan: StudyPlan) -> Study:
        """Create a study, or continue it, and keep other drivers out until `finish` or the end of the process.

        Raises
        ------
        StudyError
            If a stored study of this name is of another making, or another driver runs it.
        """
        connection = self.database.run(self.database.patience.until_done(self.database.connect))
        try:
            self.database.run(lock_study(connection, plan.name))
            study = self.database.run(_find(connection, plan.name))
            if study is None:
                self.database.run(_insert(connection, plan))
            else:
                check_same_study(study, plan, plain(plan.config))
                self.database.run(connection.execute(CONTINUE_STUDY, study.id, plan.n_trials))
                patience = plan.config.get("patience")
                if patience != study.config.get("patience"):
                    self.database.run(_set_patience(connection, study.id, patience))
            opened = self.database.run(_find(connection, plan.name))
            assert opened is not None
        except BaseException:
            self.database.submit(_terminate(connection))
            raise
        self._writers[opened.id] = Writer(self.database, connection, opened)
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
        query = "UPDATE sweep SET status = $2, updated_at = now() WHERE id = $1"
        try:
            try:
                writer.wait()
            except DatabaseError as error:
                # One that is away was waited for; one that refuses trials may well take this.
                if error.__cause__ is not None and not passes(error.__cause__):
                    writer.run(query, study.id, status)
                raise
            writer.run(query, study.id, status)
        finally:
            self.database.run(writer.close())

    def close(self) -> None:
        """Let other drivers in to the studies that were not finished; their status stays RUNNING."""
        while self._writers:
            self.database.run(self._writers.popitem()[1].close())

    def find_study(self, name: str) -> Study:
        """Return a study by name; StudyError if there is none."""
        rows = self.database.fetch(f"{STUDIES} WHERE name = $1", name)
        if rows:
            return _study(rows[0])
        names = [row["name"] for row in self.database.fetch("SELECT name FROM sweep ORDER BY updated_at DESC")]
        known = (
            f"the latest are {', '.join(names[:5])}" if names else "there are none; run `python -m alphapulse.sweep`"
        )
        raise StudyError(f"No study {name!r} in the {self.database}{did_you_mean(name, names) or f'; {known}'}")

    def exists(self, name: str) -> bool:
        """Return whether there is a study of this name."""
        return bool(self.database.fetch("SELECT 1 FROM sweep WHERE name = $1", name))

    def studies(self) -> list[Study]:
        """Return all studies, latest first."""
        return [_study(row) for row in self.database.fetch(f"{STUDIES} ORDER BY updated_at DESC")]

    def n_done(self, study: Study) -> int:
        """Return the number of trials that are stored by now."""
        return int(self.database.fetch("SELECT n_done FROM sweep WHERE id = $1", study.id)[0]["n_done"])

    def state(self, study: Study) -> bytes | None:
        """Return what the last stored generation left."""
        state: bytes | None = self.database.fetch("SELECT state FROM sweep WHERE id = $1", study.id)[0]["state"]
        return state

    def sums(self, study: Study) -> Sums | None:
        """Return what is known of all trials of a study of which a part is stored; None where all are."""
        if not study.is_part:
            return None
        text = self.database.fetch("SELECT part FROM sweep WHERE id = $1", study.id)[0]["part"]
        return Sums(study.n_trials) if text is None else Sums.from_json(text)

    def discard(self, study: Study, numbers: Sequence[int], blocks: Sequence[int]) -> None:
        """Take trials out of an open study, and the block moments of some."""
        writer = self._writers[study.id]
        writer.wait()
        for table, surplus in (("trial", numbers), ("trial_symbol", numbers), ("trial_blocks", blocks)):
            if surplus:
                query = f"DELETE FROM {table} WHERE sweep_id = $1 AND number = ANY($2::int[])"
                writer.run(query, study.id, list(surplus))

    def save_sums(self, study: Study, sums: Sums) -> None:
        """Keep what is known of all trials of a study."""
        self.database.fetch("UPDATE sweep SET part = $2 WHERE id = $1", study.id, sums.to_json())

    def trial(self, study: Study, number: int) -> TrialRecord:
        """Return one trial; StudyError if there is none, NotStoredError where it is not among those that are stored."""
        rows = self.database.fetch("SELECT * FROM trial WHERE sweep_id = $1 AND number = $2", study.id, number)
        sums = self.sums(study)
        if not rows and sums is not None and 0 <= number < sums.n_trials:
            again = command_line("replay", study=study.name, trial=number)
            raise NotStoredError(
                f"Trial {number:,} of study {study.name!r} is not stored ({sums.stored.rstrip('.')}); "
                f"`{again}` runs it again.",
                number,
            )
        if not rows:
            raise StudyError(
                f"Study {study.name!r} has no trial {number}; its {self.n_done(study)} trials count from 0."
            )
        return _record(study, rows[0])

    def trials(self, study: Study, numbers: Sequence[int]) -> list[TrialRecord]:
        """Return the stored trials among `numbers`, by number."""
        query = "SELECT * FROM trial WHERE sweep_id = $1 AND number = ANY($2::int[]) ORDER BY number"
        return [_record(study, row) for row in self.database.fetch(query, study.id, list(numbers))]

    def on_symbols(self, study: Study, number: int) -> dict[str, dict[str, float]]:
        """Return the metrics of a trial of a universe by symbol and name; none where it failed, or there is none."""
        query = "SELECT * FROM trial_symbol WHERE sweep_id = $1 AND number = $2"
        rows = self.database.fetch(query, study.id, number)
        return {row["symbol"]: {name: math.nan if row[name] is None else row[name] for name in METRICS} for row in rows}

    def best(self, study: Study, n: int) -> list[TrialRecord]:
        """Return the `n` best trials by the first objective that break no condition, earlier first among equals.

        Of trials of the same setting the first stands for all.
        """
        order = "DESC" if study.directions[0] == "maximize" else "ASC"
        query = f"SELECT * FROM trial WHERE sweep_id = $1 AND {CANDIDATE} ORDER BY value[1] {order}, number LIMIT $2"
        n_read = n
        while True:
            rows = self.database.fetch(query, study.id, n_read)
            distinct = {tuple(row["params"]): row for row in reversed(rows)}
            best = [row for row in rows if distinct[tuple(row["params"])] is row]
            if len(best) >= n or len(rows) < n_read:
                return [_record(study, row) for row in best[:n]]
            n_read *= 8

    def n_distinct(self, study: Study) -> int:
        """Return how many different settings the trials have; where a part is stored, at most so many."""
        sums = self.sums(study)
        if sums is not None:
            return sums.n_trials if sums.n_distinct is None else sums.n_distinct
        is_drawn_afresh = study.config.get("sampler") in ("random", "qmc") and not study.config.get("when")
        if study.space.size is None and is_drawn_afresh:
            # A continuous parameter does not come twice, unless it is bred from others, or inactive.
            return self.n_done(study)
        query = "SELECT count(DISTINCT params) AS n FROM trial WHERE sweep_id = $1"
        return int(self.database.fetch(query, study.id)[0]["n"])

    def nearest(self, study: Study) -> TrialRecord | None:
        """Return the trial that breaks the conditions on results least, the earliest of equals; None if all failed."""
        rows = self.database.fetch(
            "SELECT * FROM trial t WHERE sweep_id = $1 AND state = 'COMPLETE' "
            "ORDER BY (SELECT sum(greatest(v, 0)) FROM unnest(t.violation) AS v), number LIMIT 1",
            study.id,
        )
        return _record(study, rows[0]) if rows else None

    def n_infeasible(self, study: Study) -> int:
        """Return how many trials have their objectives and break a condition on results."""
        sums = self.sums(study)
        if sums is not None:
            return sums.n_infeasible
        query = f"SELECT count(*) AS n FROM trial WHERE sweep_id = $1 AND state = 'COMPLETE' AND NOT {CANDIDATE}"
        return int(self.database.fetch(query, study.id)[0]["n"]) if study.feasible else 0

    def share_worse(self, study: Study, number: int) -> float | None:
        """Return the share of the other trials that are worse than a good one by the first objective.

        Where a part of the trials is stored, `number` is 0.

        A trial that failed or breaks a condition is worse. None if there is no other trial, or this one is such.
        """
        sums = self.sums(study)
        if sums is not None:
            is_good = "SELECT 1 FROM trial WHERE sweep_id = $1 AND number = $2 AND " + CANDIDATE
            known = sums.n_trials > 1 and self.database.fetch(is_good, study.id, number)
            return sums.n_worse / (sums.n_trials - 1) if known else None
        sign = 1 if study.directions[0] == "maximize" else -1
        rows = self.database.fetch(
            f"SELECT avg((NOT o.is_candidate OR $3 * o.value < $3 * t.value)::int)::float8 AS share FROM "
            f"(SELECT value[1] AS value FROM trial WHERE sweep_id = $1 AND number = $2 AND {CANDIDATE}) AS t, "
            f"(SELECT value[1] AS value, {CANDIDATE} AS is_candidate FROM trial "
            "WHERE sweep_id = $1 AND number <> $2) AS o",
            study.id,
            number,
            sign,
        )
        share: float | None = rows[0]["share"]
        return share

    def failures(self, study: Study) -> dict[str, int]:
        """Return how many trials failed for each reason, the most frequent first."""
        sums = self.sums(study)
        if sums is not None:
            return dict(sorted(sums.failures.items(), key=lambda pair: (-pair[1], pair[0])))
        rows = self.database.fetch(
            "SELECT coalesce(error, '') AS error, count(*) AS n FROM trial WHERE sweep_id = $1 AND state = 'FAIL' "
            "GROUP BY 1 ORDER BY n DESC, error",
            study.id,
        )
        return {row["error"]: row["n"] for row in rows}

    def save_verdict(self, study: Study, verdict: Mapping[str, Any]) -> None:
        """Keep the verdict with the study; NaN becomes null."""
        self.database.fetch("UPDATE sweep SET verdict = $2, updated_at = now() WHERE id = $1", study.id, _json(verdict))


# A driver that died has left its study RUNNING, but nobody holds its lock, see `lock_study`.
STUDIES = """
SELECT sweep.*, status = 'RUNNING' AND NOT EXISTS (
    SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('study ' || name, 0)
) AS is_left FROM sweep
"""

INSERT_STUDY = """
INSERT INTO sweep (name, config, space, seed, objectives, directions, fingerprint, symbols, timeframe, data_start,
    holdout_start, data_end, code_version, packages, definitions, n_trials, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'RUNNING') RETURNING id
"""

INSERT_LINE = """
INSERT INTO ledger (sweep_id, name, symbol, timeframe, start_at, end_at, n_trials) VALUES ($1, $2, $3, $4, $5, $6, 0)
"""

CONTINUE_STUDY = """
UPDATE sweep SET status = 'RUNNING', n_trials = greatest($2, n_done), updated_at = now() WHERE id = $1
"""


async def _insert(connection: asyncpg.Connection, plan: StudyPlan) -> None:
    """Write a new study and its line of the ledger."""
    bars = plan.bars
    assert bars is not None
    async with connection.transaction():
        study_id = await connection.fetchval(
            INSERT_STUDY, plan.name, _json(plan.config), _json(plan.space.to_json()), plan.seed,
            list(plan.objectives), list(plan.directions), plan.fingerprint, list(bars.symbols), bars.timeframe,
            bars.start, bars.holdout_start, bars.end, plan.code_version, _json(plan.packages), DEFINITIONS,
            plan.n_trials,
        )  # fmt: skip
        searched_until = bars.holdout_start or bars.end
        await connection.executemany(
            INSERT_LINE,
            [(study_id, plan.name, one, bars.timeframe, bars.start, searched_until) for one in bars.traded],
        )


async def _set_patience(connection: asyncpg.Connection, study_id: int, patience: int | None) -> None:
    """Let a study wait for longer; null sweeps and a verdict of the shorter one are void."""
    async with connection.transaction():
        await connection.execute("DELETE FROM null_sweep WHERE sweep_id = $1", study_id)
        await connection.execute(
            "UPDATE sweep SET config = jsonb_set(config, '{patience}', $2), verdict = NULL, n_null = NULL "
            "WHERE id = $1",
            study_id,
            _json(patience),
        )


async def _terminate(connection: asyncpg.Connection) -> None:
    connection.terminate()


async def _find(connection: asyncpg.Connection, name: str) -> Study | None:
    row = await connection.fetchrow("SELECT * FROM sweep WHERE name = $1", name)
    return None if row is None else _study(row)


def _study(row: Any) -> Study:
    columns, config = dict(row), _completed(json.loads(row["config"]))
    columns.pop("part", None)
    symbols, timeframe, start, holdout_start, end = (columns.pop(name) for name in BAR_COLUMNS)
    if columns.pop("is_left", False):
        columns["status"] = "INTERRUPTED"
    return Study(
        **{
            **columns,
            "bars": None
            if symbols is None
            else StudyBars(tuple(symbols), timeframe, start, end, holdout_start, _n_traded(config, symbols)),
            "config": config,
            "space": SearchSpace.from_json(json.loads(row["space"])),
            "objectives": tuple(row["objectives"]),
            "directions": tuple(row["directions"]),
            "packages": json.loads(row["packages"]),
            # The rules had no number before their second version.
            "verdict": None if row["verdict"] is None else {"rules": 1} | json.loads(row["verdict"]),
        }
    )


def _n_traded(config: Mapping[str, Any], symbols: Sequence[str]) -> int:
    """Return how many of a study's symbols are traded: of a universe all but those that are only looked at."""
    is_universe = (config.get("universe") or {}).get("kind") in ("each", "account")
    return len(symbols) - len(config["data"].get("others") or ()) if is_universe else 1


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration; studies of older versions did not start from the strategy's own setting."""
    search = config.get("search")
    return config if search is None else config | {"search": {"start": "none"} | search}


def _record(study: Study, row: Any) -> TrialRecord:
    parameters = np.array(row["params"], dtype=np.float64)
    return TrialRecord(
        number=row["number"],
        generation=row["generation"],
        state=row["state"],
        parameters=parameters,
        params=study.space.values(parameters),
        values=[math.nan] * len(study.objectives) if row["value"] is None else list(row["value"]),
        violation=list(row["violation"] or ()),
        metrics={name: math.nan if row[name] is None else row[name] for name in METRICS},
        ruined=row["ruined"],
        error=row["error"],
        seconds=row["seconds"],
        completed_at=row["completed_at"],
    )


def _json(value: Any) -> str:
    return json.dumps(plain(value), allow_nan=False)
