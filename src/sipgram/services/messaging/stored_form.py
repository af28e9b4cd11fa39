"""A MESSAGE as it is kept, and as it leaves again (DELIVERY.md D18, D19)."""

from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from sipgram.sip.message.message import Cut, Message

OF_ONE_HOP: Final = (
    b"via",
    b"route",
    b"record-route",
    b"max-forwards",
    b"content-length",
    b"authorization",
    b"proxy-authorization",
)
"""Headers that are not kept; everything else stays to the octet."""


def head_of(request: Message, cuts: Sequence[Cut], *, received_utc: float) -> bytes:
    """Return the header lines that are kept, a CRLF after each, with Date when it had none."""
    raw = request.raw
    start = raw.index(b"\n") + 1
    end = len(raw) - len(request.body)
    gone = [(cut[0], cut[1]) for cut in cuts]
    for name in OF_ONE_HOP:
        if request.has(name):
            gone += request.spans(name)
    gone.sort()
    parts = []
    for first, last in gone:
        if first >= start:  # Not when it is among the cuts as well.
            parts.append(raw[start:first])
            start = last
    parts.append(raw[start:end])
    head = b"".join(parts).rstrip(b"\r\n") + b"\r\n"
    if not request.has(b"date"):
        head += _date_line(int(received_utc))
    if head.count(b"\n") != head.count(b"\r\n"):  # Written by hand, from loopback.
        head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return head


@lru_cache(maxsize=4)
def _date_line(utc: int) -> bytes:
    """Return the Date of a second; many messages come in one."""
    return b"Date: " + formatdate(utc, usegmt=True).encode() + b"\r\n"


def rebuilt(
    head: bytes, body: bytes, *, uri: bytes, via: bytes, routes: bytes = b"", max_forwards: int = 70
) -> bytes:
    """Return a stored message as a request to ``uri``; ``via`` is a whole line without CRLF."""
    return b"MESSAGE %b SIP/2.0\r\n%b\r\n%bMax-Forwards: %d\r\n%bContent-Length: %d\r\n\r\n%b" % (
        uri,
        via,
        routes,
        max_forwards,
        head,
        len(body),
        body,
    )


def digest_of(request: Message) -> bytes:
    """Return what a message is recognised by when its sender sends it again (D23)."""
    digest = blake2b(digest_size=8)
    digest.update(b"%b\n%d\n%b\n" % (request.call_id, request.cseq, request.from_tag))
    digest.update(request.body)
    return digest.digest()
