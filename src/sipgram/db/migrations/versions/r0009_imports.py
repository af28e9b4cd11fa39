"""Which messages of another server were taken, so that none is taken twice."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "imports",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at_utc", sa.Float, nullable=False),
    )
