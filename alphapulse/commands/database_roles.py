"""Roles of a server database beside its owner: who writes studies and bars, and who reads them."""

import psycopg
from psycopg import sql
from sqlalchemy import text

from alphapulse.data_pipeline.database import OPTUNA_SCHEMA, Database

SCHEMAS = ("public", OPTUNA_SCHEMA)
RIGHTS = {
    "writer": ("SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT, UPDATE"),
    "reader": ("SELECT", "SELECT"),
}
"""What each role may do with tables and with sequences, those that are made later included."""


def role_names(database: str) -> dict[str, str]:
    """Return the names of the roles of a database: its own with `_writer` and `_reader`."""
    return {kind: f"{database}_{kind}" for kind in RIGHTS}


def make_roles(admin: Database, owner: str) -> None:
    """Make the roles of a database whose tables are there; nobody logs in with them, people are made members.

    Parameters
    ----------
    admin : Database
        The database, entered by a role that may create roles.
    owner : str
        The role that owns the tables.
    """
    with admin.sync_engine.begin() as connection:
        for kind, name in role_names(admin.name).items():
            tables, sequences = RIGHTS[kind]
            exists = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
            raw = connection.connection.driver_connection
            assert isinstance(raw, psycopg.Connection)
            if not exists:
                raw.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
            for schema in SCHEMAS:
                later = "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT"
                for statement in (
                    "GRANT USAGE ON SCHEMA {schema} TO {role}",
                    f"GRANT {tables} ON ALL TABLES IN SCHEMA {{schema}} TO {{role}}",
                    f"GRANT {sequences} ON ALL SEQUENCES IN SCHEMA {{schema}} TO {{role}}",
                    f"{later} {tables} ON TABLES TO {{role}}",
                    f"{later} {sequences} ON SEQUENCES TO {{role}}",
                ):
                    parts = {"schema": schema, "role": name, "owner": owner}
                    raw.execute(sql.SQL(statement).format(**{key: sql.Identifier(part) for key, part in parts.items()}))
