"""All tables, in one place; the migrations make them, this module speaks to them.

Instants are ``_utc`` seconds since 1970. What came off the wire is kept as bytes, because
a Contact need not be valid UTF-8.
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
    MetaData,
    Table,
    Text,
    literal_column,
)

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts about the database: ``schema_compat``, ``secret``, ``last_seen_utc`` (D35)."""

accounts = Table(
    "accounts",
    metadata,
    # Never used again (D4): a name made again is another account and inherits nothing.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("created_utc", Float, nullable=False),
    Column("disabled", Boolean, nullable=False),
    # Whether it takes messages that were sent to lists (RFC 5365); null for what the setting says.
    Column("takes_lists", Boolean),
    sqlite_autoincrement=True,
)

aliases = Table(
    "aliases",
    metadata,
    # Folded to one case: two names that differ only by case are refused here (D4).
    Column("folded", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Index("aliases_account_id", "account_id"),
)
"""Every AoR of every account, its first name too; a tel: number has an empty domain."""

credentials = Table(
    "credentials",
    metadata,
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("algorithm", Text, primary_key=True),
    Column("username", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("ha1", Text, nullable=False),
)
"""H(username:realm:password), for the username as ``alice`` and as ``alice@domain`` (D3)."""

groups = Table(
    "groups",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("folded", Text, nullable=False, unique=True),
    Column("user", Text, nullable=False),
    Column("domain", Text, nullable=False),
)
"""One AoR with many members (D4); no alias has the same name."""

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Index("group_members_account_id", "account_id"),
)

account_changes = Table(
    "account_changes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("account_id", Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""News: which accounts changed, in order; a running server follows it."""

bindings = Table(
    "bindings",
    metadata,
    Column("aor", Text, primary_key=True),
    # What makes a binding one and the same (D5): instance and reg-id, else the Contact URI.
    Column("key", LargeBinary, primary_key=True),
    # Without an account when ``--auth none`` lets everybody in.
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE")),
    Column("contact", LargeBinary, nullable=False),
    Column("instance", LargeBinary, nullable=False),
    Column("reg_id", Integer, nullable=False),
    Column("call_id", LargeBinary, nullable=False),
    Column("cseq", Integer, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("flow", Text, nullable=False),
    Column("user_agent", LargeBinary, nullable=False),
    Column("methods", LargeBinary, nullable=False),
    Column("q_thousandths", Integer, nullable=False),
    Column("registered_utc", Float, nullable=False),
    Column("expires_utc", Float, nullable=False),
    Index("bindings_account_id", "account_id"),
)
"""Who is reachable where (RFC 3261 §10), so that a restart forgets nobody (D37).

``flow`` is text such as ``udp:127.0.0.1:5060`` and names where the REGISTER came from;
``path`` holds the Path values joined by commas; absent texts are empty.
"""

messages = Table(
    "messages",
    metadata,
    # Rises with the time of acceptance: the order of delivery (D16), and always an append.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("aor", Text, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("call_id", LargeBinary, nullable=False),
    # Of Call-ID, CSeq, From tag and body: by it a repetition is recognised (D23).
    Column("digest", LargeBinary, nullable=False),
    Column("content_type", LargeBinary, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("received_utc", Float, nullable=False),
    Column("expires_utc", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("is_for_all", Boolean, nullable=False),
    Column("finished_utc", Float),
    # When somebody has to look at it again: at its expiry, later when its record may go.
    Column("due_utc", Float, nullable=False),
    # Of From and imdn.Message-ID, empty without one: a repetition is recognised by it, too (D23).
    Column("imdn_key", LargeBinary, nullable=False),
    # Its sender asked for a negative receipt (D15).
    Column("wants_failure", Boolean, nullable=False),
    # Whose history it is in, a sum of KEPT_FOR_*: then the body stays when the last copy ends.
    Column("kept", Integer, nullable=False, server_default="0"),
    Column("sender_id", Integer, nullable=False, server_default="0"),
)
"""Accepted messages (D19). ``state`` is waiting, delivered, failed, expired or cancelled.

``is_for_all`` says that nobody has taken it: it waits for every device of the account that has
no ended copy, those that come later too (D7). Else it waits where a row of ``copies`` says so.
``account_id`` is 0 under ``--auth none``; no foreign key, whose check each row would pay for.
``sender_id`` is the sender's account, when it has one here.
"""

KEPT_FOR_RECIPIENT = 1
KEPT_FOR_SENDER = 2

is_waiting = messages.c.state == literal_column("'waiting'")
"""In a query as a literal, since only then an engine knows that the partial indexes hold all."""
is_over = messages.c.state != literal_column("'waiting'")
is_dead = is_over & (messages.c.state != literal_column("'delivered'"))

# What waits is written often and found by time alone: its two indexes only grow at their ends.
# What is over is found by all that people ask for.
for _name, _columns, _where in (
    ("messages_waiting", (messages.c.id,), is_waiting),
    ("messages_waiting_due", (messages.c.due_utc,), is_waiting),
    ("messages_over_due", (messages.c.due_utc,), is_over),
    ("messages_over_aor", (messages.c.aor, messages.c.id), is_over),
    ("messages_over_sender", (messages.c.sender, messages.c.id), is_over),
    ("messages_dead", (messages.c.state, messages.c.id), is_dead),
):
    Index(_name, *_columns, sqlite_where=_where, postgresql_where=_where)

copies = Table(
    "copies",
    metadata,
    Column("message_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    # The device's +sip.instance, empty for those without one (D5).
    Column("device", LargeBinary, primary_key=True),
    Column("state", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("contact", LargeBinary, nullable=False),
    Column("at_utc", Float, nullable=False),
    Column("flow", Text, nullable=False, server_default=""),
)
"""What became of a message at one device: waiting, taken or refused."""

attempts = Table(
    "attempts",
    metadata,
    Column("message_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("device", LargeBinary, primary_key=True),
    # Counts the attempts round and round, so that a copy keeps its latest.
    Column("place", Integer, primary_key=True),
    Column("number", Integer, nullable=False, server_default="0"),
    Column("at_utc", Float, nullable=False),
    Column("contact", LargeBinary, nullable=False),
    Column("flow", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", LargeBinary, nullable=False),
)
"""Deliveries that failed; ``status`` is 0 when there was no answer."""

devices = Table(
    "devices",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("device", LargeBinary, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("is_page", Boolean, nullable=False),
    Column("seen_utc", Float, nullable=False),
    # How it is woken (RFC 8599), None for those that are not.
    Column("push", LargeBinary),
)
"""Devices that are away (D7); those that are there are in ``bindings``."""

message_changes = Table(
    "message_changes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("aor", Text, nullable=False),
    Column("device", LargeBinary, nullable=False),
    Column("at_utc", Float, nullable=False),
    sqlite_autoincrement=True,
)
"""News: what a command did to messages and devices, in order; a running server follows it."""

removals = Table(
    "removals",
    metadata,
    Column("account_id", Integer, primary_key=True, autoincrement=False),
    Column("aor", Text, nullable=False),
    Column("at_utc", Float, nullable=False),
)
"""Accounts that are gone, whose messages and devices have yet to go (D36)."""

readings = Table(
    "readings",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("message_id", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("at_utc", Float, nullable=False),
    sqlite_autoincrement=True,
)
"""Which administrator read the body of which message (D36)."""

imports = Table(
    "imports",
    metadata,
    Column("key", Text, primary_key=True),
    Column("at_utc", Float, nullable=False),
)
"""Messages that were taken from another server's database, so that none is taken twice."""

subscriptions = Table(
    "subscriptions",
    metadata,
    # Our tag of the dialog: it names it (RFC 3261 §12).
    Column("tag", LargeBinary, primary_key=True),
    Column("event", LargeBinary, nullable=False),
    Column("aor", Text, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("watcher", Text, nullable=False),
    Column("call_id", LargeBinary, nullable=False),
    Column("remote_tag", LargeBinary, nullable=False),
    Column("local", LargeBinary, nullable=False),
    Column("remote", LargeBinary, nullable=False),
    Column("target", LargeBinary, nullable=False),
    Column("routes", LargeBinary, nullable=False),
    Column("accepted", LargeBinary, nullable=False),
    Column("flow", Text, nullable=False),
    Column("phase", LargeBinary, nullable=False),
    # Higher than every CSeq that was used: reserved in blocks, so that it never goes back.
    Column("local_cseq", Integer, nullable=False),
    Column("remote_cseq", Integer, nullable=False),
    Column("since_utc", Float, nullable=False),
    Column("expires_utc", Float, nullable=False),
    Index("subscriptions_expires_utc", "expires_utc"),
)
"""Who watches what (RFC 6665), so that dialogs go on after a restart."""

publications = Table(
    "publications",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("package", LargeBinary, nullable=False),
    Column("aor", Text, nullable=False),
    Column("account_id", Integer, nullable=False),
    # The entity-tag is made of id and version (RFC 3903 §6).
    Column("version", Integer, nullable=False),
    Column("call_id", LargeBinary, nullable=False),
    Column("content_type", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("contact", LargeBinary, nullable=False),
    Column("published_utc", Float, nullable=False),
    Column("expires_utc", Float, nullable=False),
    Index("publications_expires_utc", "expires_utc"),
)
"""What phones publish of their state (RFC 3903)."""

documents = Table(
    "documents",
    metadata,
    Column("aor", Text, primary_key=True),
    # The XCAP application's name (AUID), such as ``pres-rules``.
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("account_id", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # Rises with every write to any document; a running server follows it.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("changed_utc", Float, nullable=False),
    Index("documents_seq", "seq"),
)
"""Documents of accounts (RFC 4825); an empty body is one that was removed."""
