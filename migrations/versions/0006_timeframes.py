"""One label a timeframe: what was stored as 60m is found as 1h, what was stored as 1w as 1wk."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("ingest", "ohlcv_rejected")


def label_of(text: str) -> str:
    """Return the label of today for one that was stored."""
    match = re.fullmatch(r"([1-9]\d{0,3})([mhdw])", text)
    if match is None:
        return text
    n, unit = int(match[1]), match[2]
    if unit == "m" and n % 60 == 0:
        n, unit = n // 60, "h"
    if unit == "h" and n % 24 == 0:
        n, unit = n // 24, "d"
    return f"{n}{'wk' if unit == 'w' else unit}"


def upgrade() -> None:
    connection = op.get_bind()
    if connection is None or op.get_context().as_sql:
        # A script of SQL cannot ask what is stored.
        return
    stored = connection.scalars(sa.text("SELECT DISTINCT timeframe FROM ohlcv_data")).all()
    for old in stored:
        new = label_of(old)
        if new != old:
            names = {"old": old, "new": new}
            # Where there are bars under both, those of the label that programs could read stay.
            connection.execute(
                sa.text(
                    "DELETE FROM ohlcv_data AS bars WHERE timeframe = :old AND EXISTS (SELECT FROM ohlcv_data AS other "
                    "WHERE (other.symbol, other.timeframe, other.timestamp) = (bars.symbol, :new, bars.timestamp))"
                ),
                names,
            )
            connection.execute(sa.text("UPDATE ohlcv_data SET timeframe = :new WHERE timeframe = :old"), names)
    for table in TABLES:
        for old in connection.scalars(sa.text(f"SELECT DISTINCT timeframe FROM {table}")).all():
            if label_of(old) != old:
                connection.execute(
                    sa.text(f"UPDATE {table} SET timeframe = :new WHERE timeframe = :old"),
                    {"old": old, "new": label_of(old)},
                )


def downgrade() -> None:
    """Nothing to undo: the labels of today were known before."""
