"""Subscriptions, publications, and the documents of presence."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables of presence."""
    _subscriptions()
    _publications()
    op.create_table(
        "documents",
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("seq", _big(), nullable=False),
        sa.Column("changed_utc", sa.Float, nullable=False),
    )
    op.create_index("documents_seq", "documents", ["seq"])


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("tag", sa.LargeBinary, primary_key=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("watcher", sa.Text, nullable=False),
        sa.Column("call_id", sa.LargeBinary, nullable=False),
        sa.Column("remote_tag", sa.LargeBinary, nullable=False),
        sa.Column("local", sa.LargeBinary, nullable=False),
        sa.Column("remote", sa.LargeBinary, nullable=False),
        sa.Column("target", sa.LargeBinary, nullable=False),
        sa.Column("routes", sa.LargeBinary, nullable=False),
        sa.Column("accepted", sa.LargeBinary, nullable=False),
        sa.Column("flow", sa.Text, nullable=False),
        sa.Column("phase", sa.LargeBinary, nullable=False),
        sa.Column("local_cseq", sa.Integer, nullable=False),
        sa.Column("remote_cseq", sa.Integer, nullable=False),
        sa.Column("since_utc", sa.Float, nullable=False),
        sa.Column("expires_utc", sa.Float, nullable=False),
    )
    op.create_index("subscriptions_expires_utc", "subscriptions", ["expires_utc"])


def _publications() -> None:
    op.create_table(
        "publications",
        sa.Column("id", _big(), primary_key=True, autoincrement=False),
        sa.Column("package", sa.LargeBinary, nullable=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("call_id", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("contact", sa.LargeBinary, nullable=False),
        sa.Column("published_utc", sa.Float, nullable=False),
        sa.Column("expires_utc", sa.Float, nullable=False),
    )
    op.create_index("publications_expires_utc", "publications", ["expires_utc"])
