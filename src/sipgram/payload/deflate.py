"""Bounded inflating of ``Content-Encoding: deflate`` (RFC 1950, RFC 3261 §20.12; DELIVERY.md D20)."""

import zlib
from typing import Final

from sipgram.errors import ParseError, TooLarge

BYTES_MAX: Final = 262_144
"""A message of text is smaller; a bomb of some hundred octets is not."""


def inflate(data: bytes, *, bytes_max: int = BYTES_MAX) -> bytes:
    """Return what was deflated, in the zlib format or, as some write it, without its header.

    Raises:
        ParseError: it is neither, or is cut off.
        TooLarge: more than ``bytes_max`` octets would come out.
    """
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        inflater = zlib.decompressobj(window_bits)
        try:
            text = inflater.decompress(data, bytes_max + 1)
        except zlib.error:
            continue
        if len(text) > bytes_max:
            raise TooLarge(f"deflated body is over {bytes_max} bytes inside", status=413)
        if inflater.eof:
            return text
    raise ParseError("deflated body is malformed")


def deflate(data: bytes) -> bytes:
    """Deflate in the zlib format, as Linphone does."""
    return zlib.compress(data)
