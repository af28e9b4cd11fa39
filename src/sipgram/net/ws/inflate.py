"""Deflated bodies made plain for browsers, whose SIP libraries cannot (RFC 3261 §20.12; DELIVERY.md D20)."""

import re
import zlib
from typing import Final

CODED_RE: Final = re.compile(rb"\n(?:content-encoding|e)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r", re.I)
_LENGTH_RE: Final = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*[^\r\n]*\r", re.I)
RAW: Final = -zlib.MAX_WBITS
"""Without zlib's own header and checksum, as some take the word deflate."""


def inflated(data: bytes, *, bytes_max: int) -> bytes:
    """Return a message with its body as it was before ``Content-Encoding: deflate``.

    One with any other coding, a broken body, or one of more than ``bytes_max`` octets comes back
    as it is: its recipient is left to say no to it.
    """
    head, blank, body = data.partition(b"\r\n\r\n")
    found = CODED_RE.search(head + b"\r")
    if found is None or found[1].lower() != b"deflate":
        return data
    plain = _inflated(body, bytes_max)
    if plain is None:
        return data
    head = head[: found.start()] + b"\n" + (head + b"\r\n")[found.end() + 1 :]
    head = head.removesuffix(b"\r\n")
    line = b"\nContent-Length: %d\r" % len(plain)
    lengthened, count = _LENGTH_RE.subn(line, head + b"\r", count=1)
    head = lengthened[:-1] if count else head + b"\r" + line[:-1]
    return head + blank + plain


def _inflated(body: bytes, bytes_max: int) -> bytes | None:
    for window in (zlib.MAX_WBITS, RAW):
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(body, bytes_max + 1)
        except zlib.error:
            continue
        return plain if stream.eof and len(plain) <= bytes_max else None
    return None
