"""Requests of our own, outside a dialog (RFC 3261 §8.1.1)."""

from collections.abc import Iterable
from typing import Final

from sipgram.errors import UsageError
from sipgram.sip.message.grammar import is_token, shown

MAX_FORWARDS: Final = 70
"""RFC 3261 §8.1.1.6: "a value that SHOULD be 70"."""


def build(
    method: bytes,
    uri: bytes,
    *,
    via: bytes,
    sender: bytes,
    to: bytes,
    call_id: bytes,
    cseq: int,
    headers: Iterable[bytes] = (),
    body: bytes = b"",
    max_forwards: int = MAX_FORWARDS,
) -> bytes:
    """Return a whole request.

    ``via`` is a whole line, branch and all, as a flow gives it; ``sender`` and ``to`` are the
    values of From, tag and all, and of To. ``headers`` are whole lines without CRLF; with a
    body, Content-Type must be among them.

    Raises:
        UsageError: a line holds CR or LF, so that it would become two, or the start line is
            not one that a peer can read.
    """
    if not is_token(method):
        raise UsageError(f"method is not a token: {shown(method)}")
    if not uri or b" " in uri:
        raise UsageError(f"Request-URI is malformed: {shown(uri)}")
    lines = (
        b"%b %b SIP/2.0" % (method, uri),
        via,
        b"Max-Forwards: %d" % max_forwards,
        b"From: " + sender,
        b"To: " + to,
        b"Call-ID: " + call_id,
        b"CSeq: %d %b" % (cseq, method),
        *headers,
        b"Content-Length: %d" % len(body),
    )
    for line in lines:
        if b"\r" in line or b"\n" in line:
            raise UsageError(f"header line holds CR or LF: {shown(line)}")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
