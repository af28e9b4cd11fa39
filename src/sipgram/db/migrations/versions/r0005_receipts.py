"""What a message asks to be told of: the id that receipts name, and a negative receipt."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add both to the messages."""
    op.add_column(
        "messages",
        sa.Column("imdn_key", sa.LargeBinary, nullable=False, server_default=sa.text("''")),
    )
    op.add_column(
        "messages",
        sa.Column("wants_failure", sa.Boolean, nullable=False, server_default=sa.false()),
    )
