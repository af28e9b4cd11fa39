"""Whether an account takes messages that were sent to lists (RFC 5365)."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it to the accounts."""
    op.add_column("accounts", sa.Column("takes_lists", sa.Boolean))
