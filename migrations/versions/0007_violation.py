"""By how much a trial breaks each condition on results; the studies before have none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("trial", sa.Column("violation", postgresql.ARRAY(sa.Double)))


def downgrade() -> None:
    op.drop_column("trial", "violation")
