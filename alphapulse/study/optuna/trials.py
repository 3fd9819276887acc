"""Trials of a study in Optuna's tables: rows come from `trial` by set-based SQL.

Optuna's own API would write a few dozen trials a second. What is to be there stands in a temporary table `chosen` of
numbers, which the caller fills.
"""

from typing import Any

from sqlalchemy import Connection, Row, text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.database import OPTUNA_SCHEMA
from alphapulse.search.space import SearchSpace

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

# NaN is a key that is inactive in the trial.
INSERT_PARAMS = f"""
INSERT INTO {OPTUNA_SCHEMA}.trial_params (trial_id, param_name, param_value, distribution_json)
SELECT a.trial_id, d.key, a.params[d.place], d.distribution
FROM added a CROSS JOIN unnest(CAST(:keys AS text[]), CAST(:distributions AS text[]))
    WITH ORDINALITY AS d(key, distribution, place)
WHERE a.params[d.place] <> 'NaN'
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
    ('generation', a.generation::text),
    ('ruined', CASE WHEN a.ruined THEN 'true' END),
    ('error', to_json(a.error)::text)
) AS v(key, value)
WHERE v.value IS NOT NULL
"""

# What optuna-dashboard shades a trial by, and Optuna takes for its constraints; above 0 is infeasible. JSON has neither
# NaN nor infinity.
INSERT_CONSTRAINTS = f"""
INSERT INTO {OPTUNA_SCHEMA}.trial_system_attributes (trial_id, key, value_json)
SELECT trial_id, 'constraints',
    (SELECT json_agg(least(greatest(v.value, -1e300), 1e300) ORDER BY v.place)::text
        FROM unnest(violation) WITH ORDINALITY AS v(value, place))
FROM added WHERE violation IS NOT NULL
"""


def create_chosen(connection: Connection) -> None:
    """Make the temporary table `chosen`, empty, until the end of the transaction."""
    connection.execute(text("CREATE TEMPORARY TABLE chosen (number int PRIMARY KEY) ON COMMIT DROP"))


def remove_surplus(connection: Connection, optuna_id: int) -> None:
    """Take out the trials that are not among `chosen`, with all that hangs on them."""
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


def add_chosen(connection: Connection, sweep: Row[Any], optuna_id: int) -> None:
    """Add those of `chosen` that are not there yet; `sweep` is the row of the study."""
    # Optuna takes half a second to import, which a run without a mirror need not wait for.
    from optuna.distributions import distribution_to_json

    distributions = SearchSpace.from_json(sweep.space).distributions()
    values = {
        "id": sweep.id,
        "optuna_id": optuna_id,
        "keys": list(distributions),
        "distributions": [distribution_to_json(d) for d in distributions.values()],
    }
    for statement in (
        CREATE_ADDED,
        INSERT_TRIALS,
        SKIP_CHECKS,
        INSERT_PARAMS,
        INSERT_VALUES,
        INSERT_ATTRIBUTES,
        INSERT_CONSTRAINTS,
    ):
        connection.execute(text(statement), values)
