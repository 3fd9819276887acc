"""Where bars come from, dividends and splits, and rows that are no bars. Bars from before have an unknown source."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("ohlcv_data", sa.Column("ingest_id", sa.BigInteger))
    op.create_table(
        "ingest",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n_rows", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="ingest_pkey"),
    )
    op.create_index("ingest_symbol_idx", "ingest", ["symbol", "timeframe"])
    op.create_table(
        "corporate_action",
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("symbol", "timestamp", "kind", name="corporate_action_pkey"),
    )
    op.create_table(
        "ohlcv_rejected",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("ingest_id", sa.BigInteger),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True)),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *(sa.Column(name, sa.Double) for name in ("open", "high", "low", "close", "volume")),
        sa.Column("state", sa.Text, nullable=False, server_default="held"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="ohlcv_rejected_pkey"),
    )
    op.create_index("ohlcv_rejected_symbol_idx", "ohlcv_rejected", ["symbol", "timeframe"])


def downgrade() -> None:
    op.drop_table("ohlcv_rejected")
    op.drop_table("corporate_action")
    op.drop_table("ingest")
    op.drop_column("ohlcv_data", "ingest_id")
