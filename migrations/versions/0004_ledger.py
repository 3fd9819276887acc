"""What was tried on which bars, how often hold-outs were opened, and the null sweeps of each study.

Studies from before have not kept their range of bars: their lines reach from the first day to the last, so that
they count wherever their symbol and timeframe are searched again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0004"
down_revision = "0003"

TRADED = "coalesce(config -> 'data' -> 'symbols' ->> 0, '')"
TIMEFRAME = "coalesce(config -> 'data' ->> 'timeframe', '')"


def upgrade() -> None:
    op.add_column("sweep", sa.Column("symbols", pg.ARRAY(sa.Text)))
    op.add_column("sweep", sa.Column("timeframe", sa.Text))
    for name in ("data_start", "holdout_start", "data_end"):
        op.add_column("sweep", sa.Column(name, sa.DateTime(timezone=True)))
    op.add_column("sweep", sa.Column("n_null", sa.Integer))
    op.create_table(
        "null_sweep",
        sa.Column("sweep_id", sa.BigInteger, nullable=False),
        sa.Column("n_trials", sa.Integer, nullable=False),
        sa.Column("surrogate", sa.Integer, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", "n_trials", "surrogate", name="null_sweep_pkey"),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("sweep_id", sa.BigInteger),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n_trials", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="ledger_pkey"),
        sa.UniqueConstraint("sweep_id", "symbol", name="ledger_sweep_id_key"),
    )
    op.create_index("ledger_symbol_idx", "ledger", ["symbol", "timeframe"])
    op.execute(
        "INSERT INTO ledger (sweep_id, name, symbol, timeframe, start_at, end_at, n_trials, created_at) "
        f"SELECT id, name, {TRADED}, {TIMEFRAME}, '-infinity', 'infinity', n_done, created_at FROM sweep"
    )
    op.rename_table("holdout_opening", "holdout_opening_before")
    op.execute("ALTER INDEX holdout_opening_pkey RENAME TO holdout_opening_before_pkey")
    _create_holdout_opening()
    op.execute(
        "INSERT INTO holdout_opening (symbol, timeframe, start_at, end_at, by, at) "
        f"SELECT {TRADED}, {TIMEFRAME}, '-infinity', 'infinity', 'study ' || name || ' trial ' || trial, "
        "min(opened_at) FROM holdout_opening_before o JOIN sweep ON sweep.id = sweep_id GROUP BY 1, 2, 5"
    )
    op.drop_table("holdout_opening_before")


def _create_holdout_opening() -> None:
    op.create_table(
        "holdout_opening",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="holdout_opening_pkey"),
        sa.UniqueConstraint("symbol", "timeframe", "start_at", "end_at", "by", name="holdout_opening_symbol_key"),
    )


def downgrade() -> None:
    op.drop_table("holdout_opening")
    op.create_table(
        "holdout_opening",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("sweep_id", sa.BigInteger, nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="holdout_opening_pkey"),
    )
    op.create_index("holdout_opening_fingerprint_idx", "holdout_opening", ["fingerprint"])
    op.drop_table("ledger")
    op.drop_table("null_sweep")
    for name in ("n_null", "data_end", "holdout_start", "data_start", "timeframe", "symbols"):
        op.drop_column("sweep", name)
