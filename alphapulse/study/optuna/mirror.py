"""A study in Optuna's own tables, so that optuna-dashboard and `optuna.load_study` open it like any other.

The tables are made by Optuna itself in a schema of their own. While a study runs they follow it by `follow`, which
adds what is new; which trials of a large study stay is chosen by `mirror` at its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database
from alphapulse.study.columns import CANDIDATE
from alphapulse.study.optuna.study import describe, ensure_study, read_sweep, set_fact
from alphapulse.study.optuna.tables import ensure_optuna_tables
from alphapulse.study.optuna.trials import add_chosen, create_chosen, remove_surplus
from alphapulse.study.records import Status

# Any number; two commands that mirror one study take turns.
MIRROR_LOCK = 0x6D6972726F72

# A study whose driver was killed: nobody holds the lock that the driver of a running one has.
END_KILLED = """
WITH running AS MATERIALIZED (SELECT id, name FROM sweep WHERE status = 'RUNNING')
UPDATE sweep SET status = 'INTERRUPTED' FROM running
WHERE sweep.id = running.id AND pg_try_advisory_xact_lock(hashtextextended('study ' || running.name, 0))
"""

OUT_OF_DATE = f"""
SELECT w.id, (w.config -> 'optuna' ->> 'mirror_limit')::int AS mirror_limit FROM sweep w
LEFT JOIN {OPTUNA_SCHEMA}.studies s ON s.study_name = w.name
LEFT JOIN {OPTUNA_SCHEMA}.study_user_attributes n ON n.study_id = s.study_id AND n.key = 'alphapulse:n_trials'
LEFT JOIN {OPTUNA_SCHEMA}.study_user_attributes t ON t.study_id = s.study_id AND t.key = 'alphapulse:status'
LEFT JOIN {OPTUNA_SCHEMA}.study_user_attributes i ON i.study_id = s.study_id AND i.key = 'alphapulse:sweep_id'
WHERE w.n_done > 0 AND w.status <> 'RUNNING' AND (s.study_id IS NULL OR i.value_json = w.id::text)
    AND (n.value_json IS DISTINCT FROM w.n_done::text OR t.value_json IS DISTINCT FROM to_json(w.status)::text)
ORDER BY w.id
"""


@dataclass(frozen=True)
class Mirror:
    """What Optuna's tables hold of a study.

    Attributes
    ----------
    n_mirrored, n_trials : int
        Trials there, and trials of the study.
    note : str
        The same in words; also an attribute of Optuna's study.
    """

    n_mirrored: int
    n_trials: int
    note: str


@dataclass(frozen=True)
class Followed:
    """How far Optuna's tables have followed a study.

    Attributes
    ----------
    next_number : int
        First trial that was not added in turn.
    n_seen : int
        Trials among which the best one beyond the limit was looked for.
    best : float or None
        Its value of the first objective, larger is better.
    """

    next_number: int = 0
    n_seen: int = 0
    best: float | None = None


def mirror(
    database: Database,
    study_id: int,
    limit: int = 10_000,
    *,
    status: Status | None = None,
    facts: Mapping[str, str] | None = None,
) -> Mirror:
    """Bring Optuna's tables up to date with a study.

    Up to `limit` trials all are mirrored; beyond it the best half of `limit` by the first objective and a random
    sample that depends on the trials' numbers alone. A trial keeps its number. Running it again adds what is new,
    and takes out what no longer belongs.

    Parameters
    ----------
    database : Database
    study_id : int
        Of the row of `sweep`.
    limit : int
        Most trials to mirror; with 0 nothing is done.
    status, facts
        As `describe` takes them.

    Raises
    ------
    StudyError
        If Optuna's tables hold a study of this name that is not of this making.
    """
    if limit <= 0:
        return Mirror(0, 0, "no trials are mirrored")
    ensure_optuna_tables(database)
    with database.one_line_errors(), database.sync_engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIRROR_LOCK})
        sweep = read_sweep(connection, study_id)
        optuna_id = ensure_study(connection, sweep)
        create_chosen(connection)
        _choose(connection, sweep, limit)
        remove_surplus(connection, optuna_id)
        add_chosen(connection, sweep, optuna_id)
        n_mirrored = connection.scalar(text("SELECT count(*) FROM chosen"))
        said = f"all {sweep.n_done} trials"
        if n_mirrored < sweep.n_done:
            said = (
                f"{n_mirrored} of {sweep.n_done} trials: the best {limit // 2} and a random sample of "
                f"{n_mirrored - limit // 2}; table `trial` has {'some more' if sweep.is_part else 'all'}"
            )
        set_fact(connection, optuna_id, "mirror", said)
        describe(connection, sweep, optuna_id, status=status, facts=facts)
    return Mirror(n_mirrored, sweep.n_done, said)


def describe_study(
    database: Database, study_id: int, *, status: Status | None = None, facts: Mapping[str, str] | None = None
) -> None:
    """Bring the attributes and the note of a study up to date, its trials not; see `mirror`."""
    ensure_optuna_tables(database)
    with database.one_line_errors(), database.sync_engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIRROR_LOCK})
        sweep = read_sweep(connection, study_id)
        describe(connection, sweep, ensure_study(connection, sweep), status=status, facts=facts)


def start_following(connection: Connection, study_id: int, limit: int, facts: Mapping[str, str]) -> Followed:
    """Begin to follow a study, from where Optuna's tables are; `facts` are told of it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIRROR_LOCK})
    sweep = read_sweep(connection, study_id)
    optuna_id = ensure_study(connection, sweep)
    describe(connection, sweep, optuna_id, facts=facts)
    there = connection.execute(
        text(
            "SELECT min(n.number) FILTER (WHERE t.number IS NULL) AS first, count(t.number) AS n "
            "FROM generate_series(0, :last) AS n(number) "
            f"LEFT JOIN {OPTUNA_SCHEMA}.trials t ON t.study_id = :optuna_id AND t.number = n.number"
        ),
        {"last": sweep.n_done, "optuna_id": optuna_id},
    ).one()
    if sweep.n_done > limit and there.n > there.first:
        # What is there was chosen among all; until the next choice only what is better comes in.
        return Followed(limit)
    return Followed(min(there.first, limit))


def follow(connection: Connection, study_id: int, limit: int, followed: Followed, n_trials: int) -> Followed:
    """Add up to `n_trials` of the trials that a running study has committed since; return how far that is.

    They come in the order of their numbers, without a gap, up to `limit`. When those are there, the best of each step
    comes in.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIRROR_LOCK})
    sweep = read_sweep(connection, study_id)
    optuna_id = ensure_study(connection, sweep)
    stop = max(followed.next_number, min(followed.next_number + n_trials, sweep.n_done, limit))
    best = _best(connection, sweep, max(followed.n_seen, limit)) if stop == limit else None
    if best is not None and followed.best is not None and best.value <= followed.best:
        best = None
    create_chosen(connection)
    connection.execute(
        text(
            "INSERT INTO chosen SELECT number FROM trial WHERE sweep_id = :id "
            "AND (number >= :first AND number < :stop OR number = :best)"
        ),
        {"id": sweep.id, "first": followed.next_number, "stop": stop, "best": -1 if best is None else best.number},
    )
    add_chosen(connection, sweep, optuna_id)
    describe(connection, sweep, optuna_id)
    n_seen = sweep.n_done if stop == limit else followed.n_seen
    return Followed(stop, n_seen, followed.best if best is None else best.value)


def _best(connection: Connection, sweep: Row[Any], first: int) -> Row[Any] | None:
    """Return number and value, larger is better, of the best trial from number `first` on."""
    sign = 1 if sweep.directions[0] == "maximize" else -1
    return connection.execute(
        text(
            f"SELECT number, :sign * value[1] AS value FROM trial WHERE sweep_id = :id AND {CANDIDATE} "
            "AND number >= :first AND number < :stop ORDER BY :sign * value[1] DESC, number LIMIT 1"
        ),
        {"id": sweep.id, "first": first, "stop": sweep.n_done, "sign": sign},
    ).one_or_none()


def mirror_all(database: Database) -> None:
    """Bring Optuna's tables up to date with every study that no driver runs, those whose driver was killed too."""
    ensure_optuna_tables(database)
    with database.one_line_errors():
        with database.sync_engine.begin() as connection:
            connection.execute(text(END_KILLED))
        with database.sync_engine.connect() as connection:
            studies = connection.execute(text(OUT_OF_DATE)).all()
    for study in studies:
        mirror(database, study.id, 10_000 if study.mirror_limit is None else study.mirror_limit)


def _choose(connection: Connection, sweep: Row[Any], limit: int) -> None:
    """Fill `chosen` with the numbers of the trials to mirror."""
    values = {"id": sweep.id, "best": limit // 2, "limit": limit}
    if sweep.n_done <= limit:
        connection.execute(text("INSERT INTO chosen SELECT number FROM trial WHERE sweep_id = :id"), values)
        return
    order = "DESC" if sweep.directions[0] == "maximize" else "ASC"
    connection.execute(
        text(
            f"INSERT INTO chosen SELECT number FROM trial WHERE sweep_id = :id AND {CANDIDATE} "
            f"ORDER BY value[1] {order}, number LIMIT :best"
        ),
        values,
    )
    # A hash of the number is as good as chance, and the same at the next call.
    connection.execute(
        text(
            "INSERT INTO chosen SELECT number FROM "
            "(SELECT number FROM trial WHERE sweep_id = :id ORDER BY hashint4extended(number, 0) LIMIT :limit) s "
            "WHERE number NOT IN (SELECT number FROM chosen) ORDER BY hashint4extended(number, 0) "
            "LIMIT :limit - (SELECT count(*) FROM chosen)"
        ),
        values,
    )
