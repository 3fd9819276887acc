"""The number of the definitions that a study was made with; the studies before this column were made with the first."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("sweep", sa.Column("definitions", sa.Integer, nullable=False, server_default="1"))
    op.alter_column("sweep", "definitions", server_default=None)


def downgrade() -> None:
    op.drop_column("sweep", "definitions")
