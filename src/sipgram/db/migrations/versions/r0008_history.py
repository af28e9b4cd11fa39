"""History, what commands did, whose mail has yet to go, and indexes for ten million records."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add columns and tables; a message that every device refused is called failed."""
    op.add_column("messages", _number("kept"))
    op.add_column("messages", _number("sender_id"))
    op.add_column("copies", sa.Column("flow", sa.Text, nullable=False, server_default=""))
    op.add_column("attempts", _number("number"))
    op.execute("UPDATE messages SET state = 'failed' WHERE state = 'refused'")
    _indexes()
    op.create_table(
        "message_changes",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("device", sa.LargeBinary, nullable=False),
        sa.Column("at_utc", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "removals",
        sa.Column("account_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("at_utc", sa.Float, nullable=False),
    )
    op.create_table(
        "readings",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at_utc", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _indexes() -> None:
    op.drop_index("messages_due_utc", "messages")
    waiting, over = "state = 'waiting'", "state != 'waiting'"
    for name, columns, where in (
        ("messages_waiting", ["id"], waiting),
        ("messages_waiting_due", ["due_utc"], waiting),
        ("messages_over_due", ["due_utc"], over),
        ("messages_over_aor", ["aor", "id"], over),
        ("messages_over_sender", ["sender", "id"], over),
        ("messages_dead", ["state", "id"], over + " AND state != 'delivered'"),
    ):
        condition = sa.text(where)
        op.create_index(
            name, "messages", columns, sqlite_where=condition, postgresql_where=condition
        )
