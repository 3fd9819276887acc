"""Trades are round trips: their metrics are columns, NULL in the trials of before."""

from alphapulse.study.metric_columns import add_metric, drop_metric

revision = "0008"
down_revision = "0007"

METRICS = ("payoff", "expectancy", "average_trade", "longest_trade")


def upgrade() -> None:
    for name in METRICS:
        add_metric(name)


def downgrade() -> None:
    for name in reversed(METRICS):
        drop_metric(name)
