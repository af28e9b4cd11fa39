"""STUN Binding requests, as phones send them to the SIP port to keep a NAT open (RFC 8489; RFC 5626 §4.4.2, §8).

Of STUN only what a server on a SIP port needs: requests are answered with the address that they
came from, everything else is nobody's and gets no answer.
"""

import struct
from binascii import crc32
from ipaddress import IPv6Address, ip_address
from typing import Final

HEADER_BYTES: Final = 20
REQUEST_BYTES_MAX: Final = 548
"""RFC 8489 §6.1 keeps messages of an unknown path's MTU below 548 bytes for IPv4."""
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111
_COOKIE: Final = 0x2112A442
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_FINGERPRINT: Final = 0x8028
_FINGERPRINT_XOR: Final = 0x5354554E
_IGNORED: Final = frozenset((0x0006, 0x0008))
"""USERNAME and MESSAGE-INTEGRITY: understood, and of no use, as keep-alives are for anybody."""
_COMPREHENSION_OPTIONAL: Final = 0x8000
_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")


def answer(request: bytes, host: str, port: int) -> bytes | None:
    """Return the answer to a Binding request from this address; None for all that is none.

    It is at most 32 bytes longer than the request, so that nobody is hit harder by our
    answers than by the forger's own packets.
    """
    attributes = _attributes(request)
    if attributes is None:
        return None
    identity = request[8:HEADER_BYTES]
    unknown = [
        kind for kind in attributes if kind < _COMPREHENSION_OPTIONAL and kind not in _IGNORED
    ]
    if unknown:
        # §6.3.1: "the server ... MUST ... reply with an error response with an error code of 420".
        listed = b"".join(kind.to_bytes(2, "big") for kind in dict.fromkeys(unknown[:4]))
        body = _attribute(_ERROR_CODE, b"\0\0\4\x14") + _attribute(_UNKNOWN_ATTRIBUTES, listed)
        return _message(_BINDING_ERROR, identity, body)
    mapped = _attribute(_XOR_MAPPED_ADDRESS, _xored(host, port, identity))
    return _message(_BINDING_SUCCESS, identity, mapped)


def _attributes(request: bytes) -> list[int] | None:
    """Return the types of a Binding request's attributes; None when it is not one, or broken."""
    size = len(request)
    if not HEADER_BYTES <= size <= REQUEST_BYTES_MAX:
        return None
    kind, length, cookie, _ = _HEADER.unpack_from(request)
    if kind != _BINDING_REQUEST or cookie != _COOKIE or length % 4 or length + HEADER_BYTES != size:
        return None
    found = []
    at = HEADER_BYTES
    while at < size:
        kind, length = _ATTRIBUTE.unpack_from(request, at)
        end = at + 4 + length
        if end > size:
            return None
        if kind == _FINGERPRINT and (
            end != size or request[at + 4 :] != _fingerprint(request[:at])
        ):
            return None  # §14.7: it is the last attribute, and it matches.
        found.append(kind)
        at = end + -length % 4
    return found


def _message(kind: int, identity: bytes, body: bytes) -> bytes:
    """Return a message with FINGERPRINT, whose length counts itself (§14.7)."""
    head = _HEADER.pack(kind, len(body) + 8, _COOKIE, identity)
    return head + body + _attribute(_FINGERPRINT, _fingerprint(head + body))


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _fingerprint(before: bytes) -> bytes:
    return (crc32(before) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _xored(host: str, port: int, identity: bytes) -> bytes:
    """Return the value of XOR-MAPPED-ADDRESS (§14.2)."""
    address = ip_address(host)
    is_v6 = isinstance(address, IPv6Address)
    mask = _COOKIE.to_bytes(4, "big") + (identity if is_v6 else b"")
    mixed = bytes(a ^ b for a, b in zip(address.packed, mask, strict=True))
    return struct.pack("!BBH", 0, 2 if is_v6 else 1, port ^ _COOKIE >> 16) + mixed
