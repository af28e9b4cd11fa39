"""What comes and goes by HTTP: keys, messages on their way, events, webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of the HTTP API."""
    _keys()
    _outbox()
    _events()
    _webhooks()


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _account() -> "sa.ForeignKey":
    return sa.ForeignKey("accounts.id", ondelete="CASCADE")


def _keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("is_for_all", sa.Boolean, nullable=False),
        sa.Column("per_minute", sa.Integer, nullable=False),
        sa.Column("created_utc", sa.Float, nullable=False),
        sa.Column("expires_utc", sa.Float),
        sa.Column("revoked_utc", sa.Float),
    )
    key = sa.ForeignKey("api_keys.id", ondelete="CASCADE")
    op.create_table(
        "api_key_accounts",
        sa.Column("key_id", sa.Text, key, primary_key=True),
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Integer, _account()),
    )
    op.create_index("api_key_accounts_account_id", "api_key_accounts", ["account_id"])


def _outbox() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", _id(), primary_key=True, autoincrement=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("due_utc", sa.Float, nullable=False),
    )
    op.create_index("submissions_key", "submissions", ["caller", "idempotency_key"])
    op.create_index("submissions_due_utc", "submissions", ["due_utc"])
    words = ("caller", "sender", "recipient", "content_type")
    more = ("receipts", "callback_url", "tag", "state")
    times = ("send_at_utc", "sent_utc", "stored_utc", "delivered_utc", "displayed_utc", "ended_utc")
    op.create_table(
        "outbox",
        sa.Column("id", _id(), primary_key=True, autoincrement=False),
        sa.Column("submission", _id(), nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in words),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires_s", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in more),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("devices", sa.Text, nullable=False),
        sa.Column("created_utc", sa.Float, nullable=False),
        *(sa.Column(name, sa.Float) for name in times),
        sa.Column("due_utc", sa.Float),
    )
    op.create_index("outbox_due_utc", "outbox", ["due_utc"])
    op.create_index("outbox_sender", "outbox", ["sender", "id"])
    op.create_index("outbox_submission", "outbox", ["submission"])


def _events() -> None:
    op.create_table(
        "listeners",
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("used_utc", sa.Float, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", _id(), primary_key=True, autoincrement=False),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("due_utc", sa.Float, nullable=False),
    )
    op.create_index("events_aor", "events", ["aor", "id"])
    op.create_index("events_due_utc", "events", ["due_utc"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("aor", sa.Text, nullable=False),
        sa.Column("account_id", sa.Integer, _account()),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
        sa.Column("hmac_key", sa.Text, nullable=False),
        sa.Column("old_hmac_key", sa.Text, nullable=False),
        sa.Column("old_until_utc", sa.Float, nullable=False),
        sa.Column("created_utc", sa.Float, nullable=False),
    )
    op.create_index("webhooks_account_id", "webhooks", ["account_id"])
    op.create_table(
        "webhook_events",
        sa.Column("id", _id(), primary_key=True, autoincrement=False),
        sa.Column("webhook_id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_utc", sa.Float, nullable=False),
        sa.Column("due_utc", sa.Float, nullable=False),
    )
    op.create_index("webhook_events_state", "webhook_events", ["state", "id"])
