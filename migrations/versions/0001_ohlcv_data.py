"""The table of bars; it becomes a hypertable after the migration, where TimescaleDB is present."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ohlcv_data",
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("open", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("close", sa.Double, nullable=False),
        sa.Column("volume", sa.Double),
        sa.PrimaryKeyConstraint("symbol", "timeframe", "timestamp", name="ohlcv_data_pkey"),
    )


def downgrade() -> None:
    op.drop_table("ohlcv_data")
