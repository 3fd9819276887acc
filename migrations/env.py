"""Alembic's entry: on the connection that alphapulse passes, or for the `alembic` command on one of its own."""

from alembic import context
from sqlalchemy import Connection

from alphapulse.data_pipeline.opening import open_database
from alphapulse.data_pipeline.upgrading import upgrade_transaction
from alphapulse.study.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    with upgrade_transaction(open_database(upgrade=False)) as own_connection:
        run(own_connection)
