"""The metrics of a trial of a universe on each of its symbols."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

METRICS = (
    "sharpe_ratio", "sortino_ratio", "calmar_ratio", "cagr", "total_return", "volatility", "max_drawdown", "skewness",
    "kurtosis", "value_at_risk_95", "n_trades", "win_rate", "profit_factor", "exposure", "turnover", "costs_paid",
    "alpha", "beta", "information_ratio", "payoff", "expectancy", "average_trade", "longest_trade",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "trial_symbol",
        sa.Column("sweep_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        *(sa.Column(name, sa.Double) for name in METRICS),
        sa.PrimaryKeyConstraint("sweep_id", "number", "symbol", name="trial_symbol_pkey"),
    )


def downgrade() -> None:
    op.drop_table("trial_symbol")
