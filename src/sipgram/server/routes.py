"""Which service answers which method: the one table of them (RFC 3261 §8.2.1)."""

from typing import Final

from sipgram.services.answers import Reply

METHODS: Final = (
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"INFO",
    b"INVITE",
    b"MESSAGE",
    b"NOTIFY",
    b"OPTIONS",
    b"PRACK",
    b"PUBLISH",
    b"REFER",
    b"REGISTER",
    b"SUBSCRIBE",
    b"UPDATE",
)
"""What we answer, or pass on to a phone; so is a method that we do not know (§16)."""

FOR_SERVERS: Final = frozenset((b"PUBLISH",))
"""Methods that no phone serves: 405 where no service of ours does, also with an AoR as Request-URI."""

AS_UAS: Final = frozenset((b"REGISTER", b"SUBSCRIBE", b"PUBLISH"))
"""What we answer ourselves and never pass on from the way in: challenged with 401 (D3)."""

ALLOW: Final = b"Allow: " + b", ".join(METHODS)

CAPABILITIES: Final = Reply(
    200,
    headers=(
        ALLOW,
        b"Accept: application/sdp, text/plain",
        b"Accept-Encoding: identity",
        b"Accept-Language: en",
        b"Supported:",
        b"Allow-Events: dialog, message-summary, presence, presence.winfo, reg",
    ),
)
"""What OPTIONS to the server itself tells (§11.2)."""

OVERLOADED: Final = Reply(503, "Service Unavailable: draining or overloaded", (b"Retry-After: 5",))
"""For the whole node alone (D11)."""
