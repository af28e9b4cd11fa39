"""Builders of wire text, so that a test shows only what it is about (RFC 3261 §7)."""

from collections.abc import Iterable
from textwrap import dedent

from sipgram.sip.message import reply
from sipgram.sip.message.parser import parse
from sipgram.sip.message.request import build

VIA = b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-1"


def wire(text: str) -> bytes:
    """Turn an indented text block into bytes with CRLF line ends.

    The line break after the opening quotes is dropped, so that a message may begin on a line
    of its own; an empty line ends the headers as on the wire.
    """
    return dedent(text).lstrip("\n").replace("\n", "\r\n").encode()


def request(
    method: bytes = b"MESSAGE",
    uri: bytes = b"sip:bob@example.com",
    *,
    via: bytes = VIA,
    sender: bytes = b"<sip:alice@example.com>;tag=a1",
    to: bytes = b"<sip:bob@example.com>",
    call_id: bytes = b"call-1@192.0.2.9",
    cseq: int = 1,
    headers: Iterable[bytes] = (),
    body: bytes = b"",
    max_forwards: int = 70,
) -> bytes:
    """Return a whole request; ``via`` and ``headers`` are lines without CRLF."""
    lines = tuple(headers)
    if body and not any(line.lower().startswith(b"content-type") for line in lines):
        lines += (b"Content-Type: text/plain",)
    return build(
        method,
        uri,
        via=via,
        sender=sender,
        to=to,
        call_id=call_id,
        cseq=cseq,
        headers=lines,
        body=body,
        max_forwards=max_forwards,
    )


def response(
    to_request: bytes,
    status: int,
    *,
    to_tag: bytes = b"b1",
    headers: Iterable[bytes] = (),
    body: bytes = b"",
) -> bytes:
    """Return the response of a peer to the bytes of a request that it got from 192.0.2.1:5060."""
    return reply.build(
        parse(to_request),
        status,
        to_tag=to_tag,
        host=b"192.0.2.1",
        port=5060,
        headers=headers,
        body=body,
    )
