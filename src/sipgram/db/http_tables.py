"""Tables of what comes and goes by HTTP: keys, messages on their way, events, webhooks.

Instants are ``_utc`` seconds since 1970; ids of messages and events rise with time.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from sipgram.db.tables import metadata


def _id() -> BigInteger:
    return BigInteger().with_variant(Integer, "sqlite")


api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256: a secret of 256 bits needs no slower one.
    Column("hash", LargeBinary, nullable=False),
    # Words joined by blanks: send, read, admin.
    Column("scopes", Text, nullable=False),
    Column("is_for_all", Boolean, nullable=False),
    Column("per_minute", Integer, nullable=False),
    Column("created_utc", Float, nullable=False),
    Column("expires_utc", Float),
    Column("revoked_utc", Float),
)
"""API keys. ``is_for_all`` acts for every account; else ``api_key_accounts`` names them."""

api_key_accounts = Table(
    "api_key_accounts",
    metadata,
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("aor", Text, primary_key=True),
    # None under ``--auth none``. An account that is gone takes this with it (D36).
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE")),
    Index("api_key_accounts_account_id", "account_id"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", _id(), primary_key=True, autoincrement=False),
    Column("caller", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("due_utc", Float, nullable=False),
    Index("submissions_key", "caller", "idempotency_key"),
    Index("submissions_due_utc", "due_utc"),
)
"""Accepted requests of more than one row. Written last: without it the others do not count."""

outbox = Table(
    "outbox",
    metadata,
    # The id that the message has in ``messages`` too, when it must wait.
    Column("id", _id(), primary_key=True, autoincrement=False),
    # 0 for a message that stands alone.
    Column("submission", _id(), nullable=False),
    Column("caller", Text, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # -1 when the sender said nothing of it.
    Column("expires_s", Integer, nullable=False),
    Column("receipts", Text, nullable=False),
    Column("callback_url", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    # JSON: what each device said when the message was relayed at once.
    Column("devices", Text, nullable=False),
    Column("created_utc", Float, nullable=False),
    Column("send_at_utc", Float),
    Column("sent_utc", Float),
    Column("stored_utc", Float),
    Column("delivered_utc", Float),
    Column("displayed_utc", Float),
    Column("ended_utc", Float),
    # When it is to be sent, later when its record may go.
    Column("due_utc", Float),
    Index("outbox_due_utc", "due_utc"),
    Index("outbox_sender", "sender", "id"),
    Index("outbox_submission", "submission"),
)
"""Messages that came by HTTP."""

listeners = Table(
    "listeners",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("used_utc", Float, nullable=False),
)
"""Accounts whose console, bots or API listeners are a virtual device (D8)."""

events = Table(
    "events",
    metadata,
    Column("id", _id(), primary_key=True, autoincrement=False),
    Column("aor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("due_utc", Float, nullable=False),
    Index("events_aor", "aor", "id"),
    Index("events_due_utc", "due_utc"),
)
"""The durable inbox of the virtual devices; ``data`` is JSON."""

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("aor", Text, nullable=False),
    # None under ``--auth none``; an account that is gone takes its webhooks with it (D36).
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE")),
    Column("url", Text, nullable=False),
    # Words joined by blanks.
    Column("kinds", Text, nullable=False),
    Column("hmac_key", Text, nullable=False),
    Column("old_hmac_key", Text, nullable=False),
    Column("old_until_utc", Float, nullable=False),
    Column("created_utc", Float, nullable=False),
    Index("webhooks_account_id", "account_id"),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", _id(), primary_key=True, autoincrement=False),
    # Empty for the callback of a single message.
    Column("webhook_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    # Events of one lane are told in their order.
    Column("lane", Text, nullable=False),
    # The same in every attempt, and for the same fact.
    Column("event_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_utc", Float, nullable=False),
    Column("due_utc", Float, nullable=False),
    Index("webhook_events_state", "state", "id"),
)
"""What is to be told to webhooks: waiting, or dead after 24 hours of trying."""
