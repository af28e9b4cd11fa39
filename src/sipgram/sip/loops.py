"""Loops told from spirals, and how far a request may fork (RFC 5393; RFC 3261 §16.3 step 4).

A spiral is a request that comes back with another Request-URI, which is lawful; a loop comes
back with all that routes it unchanged. What routes it is hashed into our branch under a key,
so that a Via in which we find the same hash again can only be ours.
"""

from collections.abc import Sequence
from hashlib import blake2s
from typing import Final

from sipgram.errors import ParseError, Refusal
from sipgram.identity import NodeId
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Cut, Message

BREADTH: Final = 60
"""What a request without Max-Breadth is given (RFC 5393 §5.3.3)."""
BREADTH_MAX: Final = 2**31 - 1
HASH_LENGTH: Final = 16
_ROUTING: Final = (b"route", b"proxy-require", b"accept-contact", b"reject-contact")


class LoopGuard:
    """Makes and knows again the hash of one node; another node's pass is no loop."""

    def __init__(self, secret: bytes, *, node: NodeId) -> None:
        self._keyed = blake2s(key=secret[:32], digest_size=HASH_LENGTH // 2, person=b"loop")
        self._node = node.encode()

    def hash(self, request: Message) -> bytes:
        """Return the end of the branch for a request as it came in, before any change to it.

        RFC 5393 §4.2.1 asks for whatever the choice of targets depends on; not for the top Via,
        which differs at each pass, and not for credentials, which we take out ourselves.
        """
        keyed = self._keyed.copy()
        keyed.update(
            b"\n".join((self._node, request.uri, request.call_id, request.from_tag, request.to_tag))
        )
        keyed.update(b"\n%d %b" % (request.cseq, request.method))
        for name in _ROUTING:
            if request.has(name):
                keyed.update(b"\n" + name + b"\n" + b"\n".join(request.values(name)))
        return keyed.hexdigest().encode()

    def is_loop(self, request: Message) -> bool:
        """Say whether this very request has passed here before (§16.3 step 4: 482)."""
        vias = request.values(b"via")
        if len(vias) < 2 and b"," not in vias[0]:
            return False  # It comes from its sender: the usual case costs no hash.
        mark = self.hash(request)
        return any(mark in via for via in vias)


def breadth_of(request: Message) -> int:
    """Return Max-Breadth, 60 when there is none (RFC 5393 §5.3.3).

    Raises:
        ParseError: status 400, it is not a number.
        Refusal: status 440, it is used up.
    """
    value = request.value(b"max-breadth")
    if value is None:
        return BREADTH
    if not value.isdigit() or len(value) > 10:
        raise ParseError(f"Max-Breadth is not a number: {shown(value)}")
    breadth = min(int(value), BREADTH_MAX)
    if breadth == 0:
        raise Refusal(440, "Max-Breadth Exceeded")
    return breadth


def spread(request: Message, count: int, cuts: Sequence[Cut]) -> tuple[bytes, Sequence[Cut]]:
    """Return the Max-Breadth line of each of ``count`` branches, and what is cut out for it."""
    if request.has(b"max-breadth"):
        cuts = sorted([*cuts, *((*span, b"") for span in request.spans(b"max-breadth"))])
    return b"Max-Breadth: %d\r\n" % max(1, breadth_of(request) // count), cuts


def shares(breadth: int, count: int) -> list[int]:
    """Split a breadth between ``count`` branches, the first ones getting what is left over.

    The sum over the branches that are open at one time is at most what came in (RFC 5393
    §5.3.3.1). Fewer values than ``count`` come back when there is not one for each: the others
    must wait for their turn.
    """
    count = min(breadth, count)
    if not count:
        return []
    each, over = divmod(breadth, count)
    return [each + (n < over) for n in range(count)]
