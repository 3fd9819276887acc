"""The tables of studies: `sweep`, `trial`, the kept block moments, and the openings of hold-outs."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alphapulse.backtesting.metrics import METRICS
from alphapulse.data_pipeline.tables import metadata

sweep_table = Table(
    "sweep",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("name", Text, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("space", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("objectives", ARRAY(Text), nullable=False),
    Column("directions", ARRAY(Text), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("symbols", ARRAY(Text)),
    Column("timeframe", Text),
    Column("data_start", DateTime(timezone=True)),
    Column("holdout_start", DateTime(timezone=True)),
    Column("data_end", DateTime(timezone=True)),
    Column("code_version", Text, nullable=False),
    Column("packages", JSONB, nullable=False),
    Column("definitions", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("n_done", Integer, nullable=False, server_default="0"),
    Column("n_null", Integer),
    Column("state", LargeBinary),
    Column("part", JSONB),
    Column("verdict", JSONB),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
    CheckConstraint("status IN ('RUNNING', 'COMPLETE', 'INTERRUPTED')", name="status"),
    Index(None, "fingerprint"),
)

trial_table = Table(
    "trial",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("params", ARRAY(Double), nullable=False),
    Column("value", ARRAY(Double)),
    Column("violation", ARRAY(Double)),
    *(Column(name, Double) for name in METRICS),
    Column("ruined", Boolean, nullable=False),
    Column("error", Text),
    Column("seconds", Double, nullable=False),
    Column("completed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("sweep_id", "number"),
    CheckConstraint("state IN ('COMPLETE', 'FAIL')", name="state"),
)

# The metrics of a trial of a universe on each of its symbols; those of the portfolio are in `trial`.
trial_symbol_table = Table(
    "trial_symbol",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("symbol", Text, nullable=False),
    *(Column(name, Double) for name in METRICS),
    PrimaryKeyConstraint("sweep_id", "number", "symbol"),
)

trial_blocks_table = Table(
    "trial_blocks",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    Column("squares", LargeBinary, nullable=False),
    PrimaryKeyConstraint("sweep_id", "number"),
)

null_sweep_table = Table(
    "null_sweep",
    metadata,
    Column("sweep_id", BigInteger, nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("surrogate", Integer, nullable=False),
    Column("value", Double),
    Column("seconds", Double, nullable=False),
    PrimaryKeyConstraint("sweep_id", "n_trials", "surrogate"),
)

# No foreign key leads to `sweep`: what was tried stays tried when a study is deleted. A backtest has no `sweep_id`.
ledger_table = Table(
    "ledger",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("sweep_id", BigInteger),
    Column("name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("n_trials", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("sweep_id", "symbol"),
    Index(None, "symbol", "timeframe"),
)

holdout_opening_table = Table(
    "holdout_opening",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("by", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("symbol", "timeframe", "start_at", "end_at", "by"),
)
