"""What a fork asks of whoever knows which bodies a device cannot read (DELIVERY.md D20, D21)."""

from collections.abc import Sequence
from typing import Final, Protocol

from sipgram.sip.message.message import Cut, Message

REFUSES_BODY: Final = frozenset((415, 488))
"""Answers after which another form of the same text may be taken."""
PLAIN: Final = b" plain"
"""Added to a target's name when the branch of a request in its other form is made."""


class ReadingTarget(Protocol):
    """A contact, as far as it told what it cannot read."""

    cannot_read: frozenset[bytes]
    "Media types that it refused (D20, D21)."


class Adapter(Protocol):
    """Changes a body for those who cannot read it as it is."""

    def cuts(self, request: Message, target: ReadingTarget) -> Sequence[Cut]:
        """Return the edits that a target needs, from what it refused before; none for none."""

    def on_refused(self, request: Message, target: ReadingTarget) -> Sequence[Cut] | None:
        """Take a 415 or 488; return the edits to try, or None when it stands.

        No edits at all mean that nothing is lost: the answer is swallowed.
        """

    def on_taken(self, request: Message, now: float) -> None:
        """A target has taken the request in its other form."""


class NoAdapter:
    """Every body goes out as it came."""

    def cuts(self, request: Message, target: ReadingTarget) -> Sequence[Cut]:
        return ()

    def on_refused(self, request: Message, target: ReadingTarget) -> Sequence[Cut] | None:
        return None

    def on_taken(self, request: Message, now: float) -> None:
        return None


def spliced(raw: bytes, cuts: Sequence[Cut]) -> bytes:
    """Return a whole message with the edits made."""
    parts: list[bytes] = []
    at = 0
    for start, end, text in sorted(cuts):
        parts += (raw[at:start], text)
        at = end
    return b"".join((*parts, raw[at:]))
