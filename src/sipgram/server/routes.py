"""Which service answers which method: the one table of them (RFC 3261 §8.2.1)."""

from typing import Final

from sipgram.services.answers import Reply

METHODS: Final = (b"MESSAGE", b"OPTIONS", b"REGISTER")
"""What we answer or relay; anything else gets 405 with these."""

ALLOW: Final = b"Allow: " + b", ".join(METHODS)

CAPABILITIES: Final = Reply(
    200,
    headers=(
        ALLOW,
        b"Accept: application/sdp, text/plain",
        b"Accept-Encoding: identity",
        b"Accept-Language: en",
        b"Supported:",
    ),
)
"""What OPTIONS to the server itself tells (§11.2)."""
