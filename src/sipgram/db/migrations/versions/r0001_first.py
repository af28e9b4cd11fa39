"""The first schema: accounts, their names and credentials, bindings."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables; written out, because a revision must not follow ``tables.py``."""
    op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    _accounts()
    _bindings()


def _account() -> sa.ForeignKey:
    return sa.ForeignKey("accounts.id", ondelete="CASCADE")


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("created_utc", sa.Float, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "aliases",
        sa.Column("folded", sa.Text, primary_key=True),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("account_id", sa.Integer, _account(), nullable=False),
    )
    op.create_index("aliases_account_id", "aliases", ["account_id"])
    op.create_table(
        "credentials",
        sa.Column("account_id", sa.Integer, _account(), primary_key=True),
        sa.Column("algorithm", sa.Text, primary_key=True),
        sa.Column("username", sa.Text, primary_key=True),
        sa.Column("realm", sa.Text, nullable=False),
        sa.Column("ha1", sa.Text, nullable=False),
    )
    op.create_table(
        "account_changes",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )


def _bindings() -> None:
    op.create_table(
        "bindings",
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("account_id", sa.Integer, _account()),
        sa.Column("contact", sa.LargeBinary, nullable=False),
        sa.Column("instance", sa.LargeBinary, nullable=False),
        sa.Column("reg_id", sa.Integer, nullable=False),
        sa.Column("call_id", sa.LargeBinary, nullable=False),
        sa.Column("cseq", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("flow", sa.Text, nullable=False),
        sa.Column("user_agent", sa.LargeBinary, nullable=False),
        sa.Column("methods", sa.LargeBinary, nullable=False),
        sa.Column("q_thousandths", sa.Integer, nullable=False),
        sa.Column("registered_utc", sa.Float, nullable=False),
        sa.Column("expires_utc", sa.Float, nullable=False),
    )
    op.create_index("bindings_account_id", "bindings", ["account_id"])
