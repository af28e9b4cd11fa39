"""Messages that wait, what became of them, and the devices that are away."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of the message store."""
    _messages()
    _copies()
    op.create_table(
        "devices",
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("is_page", sa.Boolean, nullable=False),
        sa.Column("seen_utc", sa.Float, nullable=False),
    )


def _message_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", _message_id(), primary_key=True, autoincrement=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("sender", sa.LargeBinary, nullable=False),
        sa.Column("call_id", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.LargeBinary, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("received_utc", sa.Float, nullable=False),
        sa.Column("expires_utc", sa.Float, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("is_for_all", sa.Boolean, nullable=False),
        sa.Column("finished_utc", sa.Float),
        sa.Column("due_utc", sa.Float, nullable=False),
    )
    op.create_index("messages_due_utc", "messages", ["due_utc"])


def _copies() -> None:
    op.create_table(
        "copies",
        sa.Column("message_id", _message_id(), primary_key=True, autoincrement=False),
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("contact", sa.LargeBinary, nullable=False),
        sa.Column("at_utc", sa.Float, nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("message_id", _message_id(), primary_key=True, autoincrement=False),
        sa.Column("device", sa.LargeBinary, primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("at_utc", sa.Float, nullable=False),
        sa.Column("contact", sa.LargeBinary, nullable=False),
        sa.Column("flow", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.LargeBinary, nullable=False),
    )
