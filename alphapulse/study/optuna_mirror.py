"""A study in Optuna's own tables, so that optuna-dashboard and `optuna.load_study` open it like any other.

The tables are made by Optuna itself in a schema of their own; rows come from `trial` by set-based SQL, where
Optuna's API would write a few dozen trials a second.
"""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database
from alphapulse.errors import StudyError
from alphapulse.search.space import SearchSpace
from alphapulse.study.optuna_tables import ensure_optuna_tables

SWEEP_ATTRIBUTE = "alphapulse:sweep_id"
NOTE_ATTRIBUTE = "alphapulse:mirror"
# What `Study.metric_names` reads.
METRIC_NAMES_ATTRIBUTE = "study:metric_names"
# Any number; two commands that mirror one study take turns.
MIRROR_LOCK = 0x6D6972726F72

# All that hangs on a trial; the last three are written by what others do to a study in the dashboard or with Optuna.
CHILD_TABLES = (
    "trial_params",
    "trial_values",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_intermediate_values",
    "trial_heartbeats",
)

# What is missing, read once, under the numbers that Optuna's tables would have given it. Each trial is looked up by
# its key: new trials have no statistics yet, and the planner would rather read the whole study.
CREATE_ADDED = f"""
CREATE TEMPORARY TABLE added ON COMMIT DROP AS
SELECT nextval(pg_get_serial_sequence('{OPTUNA_SCHEMA}.trials', 'trial_id'))::int AS trial_id, t.*
FROM (
    SELECT number FROM chosen EXCEPT SELECT number FROM {OPTUNA_SCHEMA}.trials WHERE study_id = :optuna_id
    ORDER BY number
) AS missing
CROSS JOIN LATERAL (SELECT * FROM trial WHERE sweep_id = :id AND number = missing.number LIMIT 1) AS t
"""

# Optuna keeps naive UTC.
INSERT_TRIALS = f"""
INSERT INTO {OPTUNA_SCHEMA}.trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
SELECT trial_id, number, :optuna_id, state::{OPTUNA_SCHEMA}.trialstate,
    (completed_at - seconds * interval '1 second') AT TIME ZONE 'UTC', completed_at AT TIME ZONE 'UTC'
FROM added ORDER BY trial_id
"""

# The check that the trial of a row exists takes as long as all else. The trials were inserted a statement ago and
# nobody else sees them yet, so it can find nothing. Only a superuser may leave it out.
SKIP_CHECKS = """
SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles WHERE rolname = current_user AND rolsuper
"""

INSERT_PARAMS = f"""
INSERT INTO {OPTUNA_SCHEMA}.trial_params (trial_id, param_name, param_value, distribution_json)
SELECT a.trial_id, d.key, a.params[d.place], d.distribution
FROM added a CROSS JOIN unnest(CAST(:keys AS text[]), CAST(:distributions AS text[]))
    WITH ORDINALITY AS d(key, distribution, place)
ORDER BY a.trial_id, d.place
"""

INSERT_VALUES = f"""
INSERT INTO {OPTUNA_SCHEMA}.trial_values (trial_id, objective, value, value_type)
SELECT a.trial_id, v.place - 1, v.value, 'FINITE'::{OPTUNA_SCHEMA}.trialvaluetype
FROM added a CROSS JOIN LATERAL unnest(a.value) WITH ORDINALITY AS v(value, place)
WHERE a.state = 'COMPLETE'
"""

INSERT_ATTRIBUTES = f"""
INSERT INTO {OPTUNA_SCHEMA}.trial_user_attributes (trial_id, key, value_json)
SELECT a.trial_id, v.key, v.value
FROM added a CROSS JOIN LATERAL (VALUES
    {", ".join(f"('{name}', a.{name}::text)" for name in METRICS)},
    ('ruined', CASE WHEN a.ruined THEN 'true' END),
    ('error', to_json(a.error)::text)
) AS v(key, value)
WHERE v.value IS NOT NULL
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


def mirror(database: Database, study_id: int, limit: int = 10_000) -> Mirror:
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
        return _mirror(connection, study_id, limit)


def _mirror(connection: Connection, study_id: int, limit: int) -> Mirror:
    sweep = connection.execute(
        text("SELECT id, name, space, objectives, directions, n_done FROM sweep WHERE id = :id"), {"id": study_id}
    ).one()
    optuna_id = _ensure_study(connection, sweep)
    _choose(connection, sweep, limit)
    _remove_surplus(connection, optuna_id)
    _insert_trials(connection, sweep, optuna_id)
    n_mirrored = connection.scalar(text("SELECT count(*) FROM chosen"))
    note = f"all {sweep.n_done} trials"
    if n_mirrored < sweep.n_done:
        note = (
            f"{n_mirrored} of {sweep.n_done} trials: the best {limit // 2} and a random sample of "
            f"{n_mirrored - limit // 2}; table `trial` has all"
        )
    _set_attribute(connection, optuna_id, "user", NOTE_ATTRIBUTE, note)
    return Mirror(n_mirrored, sweep.n_done, note)


def _ensure_study(connection: Connection, sweep: Row[Any]) -> int:
    """Return the number of Optuna's study, made if need be."""
    made = connection.scalar(
        text(
            f"INSERT INTO {OPTUNA_SCHEMA}.studies (study_name) VALUES (:name) "
            "ON CONFLICT (study_name) DO NOTHING RETURNING study_id"
        ),
        {"name": sweep.name},
    )
    if made is not None:
        connection.execute(
            text(
                f"INSERT INTO {OPTUNA_SCHEMA}.study_directions (study_id, direction, objective) "
                f"SELECT :id, upper(d.name)::{OPTUNA_SCHEMA}.studydirection, d.place - 1 "
                "FROM unnest(CAST(:directions AS text[])) WITH ORDINALITY AS d(name, place)"
            ),
            {"id": made, "directions": sweep.directions},
        )
        _set_attribute(connection, made, "user", SWEEP_ATTRIBUTE, sweep.id)
        _set_attribute(connection, made, "system", METRIC_NAMES_ATTRIBUTE, sweep.objectives)
        return int(made)
    found = connection.execute(
        text(
            f"SELECT s.study_id, a.value_json FROM {OPTUNA_SCHEMA}.studies s "
            f"LEFT JOIN {OPTUNA_SCHEMA}.study_user_attributes a ON a.study_id = s.study_id AND a.key = :key "
            "WHERE s.study_name = :name"
        ),
        {"key": SWEEP_ATTRIBUTE, "name": sweep.name},
    ).one()
    if found.value_json != json.dumps(sweep.id):
        raise StudyError(
            f"Optuna's tables hold another study named {sweep.name!r}; delete it in the dashboard, or rename it, "
            "and the next sweep of this name is mirrored."
        )
    return int(found.study_id)


def _set_attribute(connection: Connection, optuna_id: int, kind: str, key: str, value: Any) -> None:
    connection.execute(
        text(
            f"INSERT INTO {OPTUNA_SCHEMA}.study_{kind}_attributes (study_id, key, value_json) "
            "VALUES (:id, :key, :value) ON CONFLICT (study_id, key) DO UPDATE SET value_json = excluded.value_json"
        ),
        {"id": optuna_id, "key": key, "value": json.dumps(value)},
    )


def _choose(connection: Connection, sweep: Row[Any], limit: int) -> None:
    """Make the temporary table `chosen` of the numbers of the trials to mirror."""
    connection.execute(text("CREATE TEMPORARY TABLE chosen (number int PRIMARY KEY) ON COMMIT DROP"))
    values = {"id": sweep.id, "best": limit // 2, "limit": limit}
    if sweep.n_done <= limit:
        connection.execute(text("INSERT INTO chosen SELECT number FROM trial WHERE sweep_id = :id"), values)
        return
    order = "DESC" if sweep.directions[0] == "maximize" else "ASC"
    connection.execute(
        text(
            "INSERT INTO chosen SELECT number FROM trial WHERE sweep_id = :id AND state = 'COMPLETE' "
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


def _remove_surplus(connection: Connection, optuna_id: int) -> None:
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE surplus ON COMMIT DROP AS "
            f"SELECT t.trial_id FROM {OPTUNA_SCHEMA}.trials t "
            "WHERE t.study_id = :id AND t.number NOT IN (SELECT number FROM chosen)"
        ),
        {"id": optuna_id},
    )
    for table in (*CHILD_TABLES, "trials"):
        connection.execute(
            text(f"DELETE FROM {OPTUNA_SCHEMA}.{table} WHERE trial_id IN (SELECT trial_id FROM surplus)")
        )


def _insert_trials(connection: Connection, sweep: Row[Any], optuna_id: int) -> None:
    # Optuna takes half a second to import, which a run without a mirror need not wait for.
    from optuna.distributions import distribution_to_json

    distributions = SearchSpace.from_json(sweep.space).distributions()
    values = {
        "id": sweep.id,
        "optuna_id": optuna_id,
        "keys": list(distributions),
        "distributions": [distribution_to_json(d) for d in distributions.values()],
    }
    for statement in (CREATE_ADDED, INSERT_TRIALS, SKIP_CHECKS, INSERT_PARAMS, INSERT_VALUES, INSERT_ATTRIBUTES):
        connection.execute(text(statement), values)
