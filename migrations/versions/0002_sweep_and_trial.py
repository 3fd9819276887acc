"""Studies, their trials, block moments, openings of the hold-out, and two views for people who read with SQL.

No foreign key leads from `trial` and `trial_blocks` to `sweep`: its check would run once a row in the path
that writes a hundred thousand of them a second, and only the store writes there.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql as pg

revision = "0002"
down_revision = "0001"

METRICS = (
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "cagr",
    "total_return",
    "volatility",
    "max_drawdown",
    "skewness",
    "kurtosis",
    "value_at_risk_95",
    "n_trades",
    "win_rate",
    "profit_factor",
    "exposure",
    "turnover",
    "costs_paid",
    "alpha",
    "beta",
    "information_ratio",
)

# A parameter as what it stands for: the choice, the whole number, or the number.
PARAMETER = """
    CASE d.dimension ->> 'kind'
        WHEN 'categorical' THEN d.dimension -> 'choices' -> (t.params[d.place]::int)
        WHEN 'int' THEN to_jsonb(t.params[d.place]::bigint)
        ELSE to_jsonb(t.params[d.place])
    END
"""
DIMENSIONS = "jsonb_array_elements(s.space) WITH ORDINALITY AS d(dimension, place)"


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("config", pg.JSONB, nullable=False),
        sa.Column("space", pg.JSONB, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("objectives", pg.ARRAY(sa.Text), nullable=False),
        sa.Column("directions", pg.ARRAY(sa.Text), nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("packages", pg.JSONB, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("n_trials", sa.Integer, nullable=False),
        sa.Column("n_done", sa.Integer, nullable=False, server_default="0"),
        sa.Column("state", sa.LargeBinary),
        sa.Column("verdict", pg.JSONB),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name="sweep_pkey"),
        sa.UniqueConstraint("name", name="sweep_name_key"),
        sa.CheckConstraint("status IN ('RUNNING', 'COMPLETE', 'INTERRUPTED')", name="sweep_status_check"),
    )
    op.create_index("sweep_fingerprint_idx", "sweep", ["fingerprint"])
    op.create_table(
        "trial",
        sa.Column("sweep_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("params", pg.ARRAY(sa.Double), nullable=False),
        sa.Column("value", pg.ARRAY(sa.Double)),
        *(sa.Column(name, sa.Double) for name in METRICS),
        sa.Column("ruined", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="trial_pkey"),
        sa.CheckConstraint("state IN ('COMPLETE', 'FAIL')", name="trial_state_check"),
    )
    op.create_table(
        "trial_blocks",
        sa.Column("sweep_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("sums", sa.LargeBinary, nullable=False),
        sa.Column("squares", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="trial_blocks_pkey"),
    )
    # Moments do not compress, and up to 8 kB of them stay in the row.
    op.execute("ALTER TABLE trial_blocks ALTER sums SET STORAGE EXTERNAL, ALTER squares SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE trial_blocks SET (toast_tuple_target = 8160)")
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
    op.execute(
        f"""
        CREATE VIEW trial_params AS
        SELECT s.name AS study, t.number, d.dimension ->> 'key' AS key, {PARAMETER} AS value
        FROM sweep s JOIN trial t ON t.sweep_id = s.id CROSS JOIN LATERAL {DIMENSIONS}
        """
    )
    op.execute(
        f"""
        CREATE VIEW trial_named AS
        SELECT s.name AS study, t.number, t.generation, t.state, t.value,
            (SELECT jsonb_object_agg(d.dimension ->> 'key', {PARAMETER}) FROM {DIMENSIONS}) AS params,
            {", ".join(f"t.{name}" for name in METRICS)},
            t.ruined, t.error, t.seconds, t.completed_at
        FROM sweep s JOIN trial t ON t.sweep_id = s.id
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW trial_named, trial_params")
    for table in ("holdout_opening", "trial_blocks", "trial", "sweep"):
        op.drop_table(table)
