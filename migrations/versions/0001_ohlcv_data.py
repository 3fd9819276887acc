"""The table of bars; it becomes a hypertable after the migration, where TimescaleDB is present.

A table of that name that is there already is taken over, its bars included: types, key and columns are made what they
should be, or the line says what is in the way.
"""

import sys

import sqlalchemy as sa
from alembic import op

from alphapulse.errors import DatabaseError

revision = "0001"
down_revision = None

KEY = ("symbol", "timeframe", "timestamp")
PRICES = ("open", "high", "low", "close")
TYPES = {
    "timestamp": "timestamp with time zone",
    "symbol": "text",
    "timeframe": "text",
    **dict.fromkeys((*PRICES, "volume"), "double precision"),
}


def upgrade() -> None:
    if not op.get_context().as_sql and sa.inspect(op.get_bind()).has_table("ohlcv_data"):
        _take_over(op.get_bind())
        return
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


def _take_over(connection: sa.Connection) -> None:
    columns = {
        row.column_name: row
        for row in connection.execute(
            sa.text(
                "SELECT column_name, data_type, is_nullable, column_default, is_identity "
                "FROM information_schema.columns WHERE table_name = 'ohlcv_data' AND table_schema = current_schema()"
            )
        )
    }
    missing = [name for name in TYPES if name not in columns and name != "volume"]
    if missing:
        raise DatabaseError(
            f"A table ohlcv_data is there already, without the column {', '.join(missing)}; rename it, or set "
            "DB_NAME to another database."
        )
    done = []
    if "volume" not in columns:
        op.add_column("ohlcv_data", sa.Column("volume", sa.Double))
        done.append("volume added")
    for name, wanted in TYPES.items():
        if name in columns and columns[name].data_type != wanted:
            # A time without a zone, and a date, are taken for UTC.
            using = "timestamp::timestamp AT TIME ZONE 'UTC'" if name == "timestamp" else f'"{name}"::{wanted}'
            connection.execute(sa.text(f'ALTER TABLE ohlcv_data ALTER "{name}" TYPE {wanted} USING {using}'))
            done.append(f"{name} made {wanted}")
    _check_rows(connection)
    _make_key(connection, done)
    for name in (*KEY, *PRICES):
        connection.execute(sa.text(f'ALTER TABLE ohlcv_data ALTER "{name}" SET NOT NULL'))
    for name, column in columns.items():
        if (
            name not in TYPES
            and column.is_nullable == "NO"
            and not (column.column_default or column.is_identity == "YES")
        ):
            connection.execute(sa.text(f'ALTER TABLE ohlcv_data ALTER "{name}" DROP NOT NULL'))
            done.append(f"{name} may be empty")
    connection.execute(sa.text("ALTER TABLE ohlcv_data ALTER volume DROP NOT NULL"))
    n_rows = connection.scalar(sa.text("SELECT count(*) FROM ohlcv_data"))
    made = f" ({', '.join(done)})" if done else ""
    print(
        f"note: the table ohlcv_data was there already and is taken over with its {n_rows:,} bars{made}; their source "
        "is unknown.",
        file=sys.stderr,
    )


def _check_rows(connection: sa.Connection) -> None:
    empty = " OR ".join(f'"{name}" IS NULL' for name in (*KEY, *PRICES))
    n_empty = connection.scalar(sa.text(f"SELECT count(*) FROM ohlcv_data WHERE {empty}"))
    if n_empty:
        raise DatabaseError(
            f"A table ohlcv_data is there already, with {n_empty:,} rows that lack a price or their key; delete them "
            f"(DELETE FROM ohlcv_data WHERE {empty}), or set DB_NAME to another database."
        )
    n_twice = connection.scalar(
        sa.text("SELECT count(*) - count(DISTINCT (symbol, timeframe, timestamp)) FROM ohlcv_data")
    )
    if n_twice:
        raise DatabaseError(
            f"A table ohlcv_data is there already, with {n_twice:,} bars that come twice (symbol, timeframe, "
            "timestamp); delete all but one of each, or set DB_NAME to another database."
        )


def _make_key(connection: sa.Connection, done: list[str]) -> None:
    key = sa.inspect(connection).get_pk_constraint("ohlcv_data")
    if key["constrained_columns"] == list(KEY) and key["name"] == "ohlcv_data_pkey":
        return
    if key["name"]:
        connection.execute(sa.text(f'ALTER TABLE ohlcv_data DROP CONSTRAINT "{key["name"]}"'))
    op.create_primary_key("ohlcv_data_pkey", "ohlcv_data", list(KEY))
    done.append(f"key made ({', '.join(KEY)})")


def downgrade() -> None:
    op.drop_table("ohlcv_data")
