"""What is known of all trials of a study of which a part is stored."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("sweep", sa.Column("part", JSONB))


def downgrade() -> None:
    op.drop_column("sweep", "part")
