"""Optuna's own tables, made by Optuna in a schema of their own."""

from sqlalchemy import text

from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database

# Any number; the same for all commands that make these tables.
TABLES_LOCK = 0x6F7074756E61


def ensure_optuna_tables(database: Database) -> None:
    """Make schema and tables unless they are there.

    Raises
    ------
    DatabaseError
        If the role may not.
    """
    is_there = text(f"SELECT to_regclass('{OPTUNA_SCHEMA}.version_info') IS NOT NULL")
    with database.one_line_errors(), database.sync_engine.connect() as connection:
        if connection.scalar(is_there):
            return
        # Optuna takes half a second to import, which a command that needs no tables need not wait for.
        from optuna.storages import RDBStorage

        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": TABLES_LOCK})
        try:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {OPTUNA_SCHEMA}"))
            connection.commit()
            storage = RDBStorage(database.optuna_url)
            storage.remove_session()
            storage.engine.dispose()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": TABLES_LOCK})
            connection.commit()
