"""A metric that a migration adds, and takes out again."""

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import inspect, text

from alphapulse.backtesting.metrics import METRICS
from alphapulse.study.metric_columns import add_metric, drop_metric
from alphapulse.study.tables import trial_table

pytestmark = pytest.mark.postgres


def columns(connection, relation):
    return [column["name"] for column in inspect(connection).get_columns(relation)]


def test_add_metric_and_drop_metric(database):
    with database.sync_engine.connect() as connection, connection.begin() as transaction:
        before = {relation: columns(connection, relation) for relation in ("trial", "trial_named")}
        connection.execute(
            text(
                "INSERT INTO trial (sweep_id, number, generation, state, params, ruined, seconds, completed_at) "
                "VALUES (1, 0, 0, 'COMPLETE', '{}', false, 0, now())"
            )
        )
        with Operations.context(MigrationContext.configure(connection)):
            add_metric("new_one")
            add_metric("second_new_one")
            assert columns(connection, "trial") == [*before["trial"], "new_one", "second_new_one"]
            assert columns(connection, "trial_named") == [*before["trial_named"], "new_one", "second_new_one"]
            assert connection.execute(text("SELECT new_one FROM trial")).all() == [(None,)]
            drop_metric("new_one")
            assert columns(connection, "trial_named") == [*before["trial_named"], "second_new_one"]
            drop_metric("second_new_one")
        assert {relation: columns(connection, relation) for relation in before} == before
        transaction.rollback()


def test_trial_has_a_column_a_metric(database):
    assert [column.name for column in trial_table.columns if column.name in METRICS] == list(METRICS)
    with database.sync_engine.connect() as connection:
        for relation in ("trial", "trial_named"):
            assert [name for name in columns(connection, relation) if name in METRICS] == list(METRICS)
