"""The metadata that all tables share, and the table of bars. The migrations make what stands here; a test compares."""

from sqlalchemy import Column, DateTime, Double, MetaData, PrimaryKeyConstraint, Table, Text

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
    PrimaryKeyConstraint("symbol", "timeframe", "timestamp"),
)
