"""Studies deleted and renamed, Optuna's copy with them; what they tried stays in the ledger."""

from sqlalchemy import Connection, text

from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database
from alphapulse.errors import StudyError
from alphapulse.study.records import Study
from alphapulse.study.store import Store

TABLES = ("trial", "trial_symbol", "trial_blocks", "null_sweep")

OPTUNAS = f"""
SELECT s.study_id FROM {OPTUNA_SCHEMA}.studies s
JOIN {OPTUNA_SCHEMA}.study_user_attributes a ON a.study_id = s.study_id AND a.key = 'alphapulse:sweep_id'
WHERE s.study_name = :name AND a.value_json = :id
"""
DELETE_OPTUNAS = [
    f"DELETE FROM {OPTUNA_SCHEMA}.{table} WHERE trial_id IN "
    f"(SELECT trial_id FROM {OPTUNA_SCHEMA}.trials WHERE study_id = :id)"
    for table in (
        "trial_user_attributes",
        "trial_system_attributes",
        "trial_params",
        "trial_values",
        "trial_intermediate_values",
        "trial_heartbeats",
    )
] + [
    f"DELETE FROM {OPTUNA_SCHEMA}.{table} WHERE study_id = :id"
    for table in ("trials", "study_user_attributes", "study_system_attributes", "study_directions", "studies")
]


def delete_study(database: Database, study: Study) -> None:
    """Delete a study with its trials, its null sweeps and its copy in Optuna's tables.

    Its lines of the ledger stay, since what was tried stays tried.

    Raises
    ------
    StudyError
        If another command is running it.
    """
    with database.one_line_errors(), database.sync_engine.begin() as connection:
        _lock(connection, study)
        optuna_id = _optunas(connection, study)
        if optuna_id is not None:
            for statement in DELETE_OPTUNAS:
                connection.execute(text(statement), {"id": optuna_id})
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table} WHERE sweep_id = :id"), {"id": study.id})
        connection.execute(text("DELETE FROM sweep WHERE id = :id"), {"id": study.id})


def rename_study(database: Database, study: Study, name: str) -> None:
    """Give a study another name, in Optuna's tables too.

    Raises
    ------
    StudyError
        If there is one of that name, or another command is running this one.
    """
    if not name.strip():
        raise StudyError(f"`to` must not be blank, but got {name!r}")
    if Store(database).exists(name):
        raise StudyError(f"There is a study {name!r} already; choose another name, or delete it.")
    with database.one_line_errors(), database.sync_engine.begin() as connection:
        _lock(connection, study)
        optuna_id = _optunas(connection, study)
        if optuna_id is not None:
            connection.execute(
                text(f"UPDATE {OPTUNA_SCHEMA}.studies SET study_name = :name WHERE study_id = :id"),
                {"id": optuna_id, "name": name},
            )
        connection.execute(text("UPDATE sweep SET name = :name WHERE id = :id"), {"id": study.id, "name": name})


def _lock(connection: Connection, study: Study) -> None:
    """Keep drivers of the study out until the transaction ends."""
    locked = connection.scalar(
        text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"study {study.name}"}
    )
    if not locked:
        raise StudyError(f"Study {study.name!r} is being run by another command; wait for its end.")


def _optunas(connection: Connection, study: Study) -> int | None:
    """Return the number of the study's copy in Optuna's tables; None without one."""
    if connection.scalar(text(f"SELECT to_regclass('{OPTUNA_SCHEMA}.studies')")) is None:
        return None
    found = connection.scalar(text(OPTUNAS), {"name": study.name, "id": str(study.id)})
    return None if found is None else int(found)
