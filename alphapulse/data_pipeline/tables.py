"""The metadata that all tables share, and the tables of bars. The migrations make what stands here; a test compares."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# The key's order serves the one query that sweeps make: all bars of a symbol and timeframe, by time.
ohlcv_data = Table(
    "ohlcv_data",
    metadata,
    Column("timestamp", DateTime(timezone=True), nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("open", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("close", Double, nullable=False),
    Column("volume", Double),
    # Where the bar comes from; NULL is an unknown source. No foreign key: it would cost a look-up a row.
    Column("ingest_id", BigInteger),
    PrimaryKeyConstraint("symbol", "timeframe", "timestamp"),
)

# What a source was asked for and gave: one series, once. All bars that start in [start_at, end_at) are known with it.
ingest = Table(
    "ingest",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("provider", Text, nullable=False),
    Column("path", Text),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    Index("ingest_symbol_idx", "symbol", "timeframe"),
)

# Dividends [quote a share, as of the splits known today] and splits [new shares for an old one] by ex-date, 00:00Z.
corporate_action = Table(
    "corporate_action",
    metadata,
    Column("symbol", Text, nullable=False),
    Column("timestamp", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("symbol", "timestamp", "kind"),
)

# Rows that are no bars, or not to be believed: held, released into ohlcv_data, or dropped.
ohlcv_rejected = Table(
    "ohlcv_rejected",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("ingest_id", BigInteger),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("timestamp", DateTime(timezone=True)),
    Column("line", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("reason", Text, nullable=False),
    *(Column(name, Double) for name in ("open", "high", "low", "close", "volume")),
    Column("state", Text, nullable=False, server_default="held"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id"),
    Index("ohlcv_rejected_symbol_idx", "symbol", "timeframe"),
)
