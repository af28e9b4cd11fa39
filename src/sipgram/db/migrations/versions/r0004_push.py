"""How devices that are away are woken (RFC 8599)."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the push parameters; bindings have them in their Contact."""
    op.add_column("devices", sa.Column("push", sa.LargeBinary))
