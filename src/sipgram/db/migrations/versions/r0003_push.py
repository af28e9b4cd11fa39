"""How devices that are away are woken (RFC 8599)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the push parameters; bindings have them in their Contact."""
    op.add_column("devices", sa.Column("push", sa.LargeBinary))
