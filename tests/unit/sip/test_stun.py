"""STUN Binding requests on the SIP port (RFC 8489; RFC 5626 §8; D27)."""

import struct
from binascii import crc32

import pytest

from sipgram.sip import stun

COOKIE = 0x2112A442
IDENTITY = bytes(range(12))


def request(attributes: bytes = b"", *, kind: int = 1, cookie: int = COOKIE) -> bytes:
    return struct.pack("!HHI12s", kind, len(attributes), cookie, IDENTITY) + attributes


def fingerprinted(attributes: bytes = b"") -> bytes:
    head = struct.pack("!HHI12s", 1, len(attributes) + 8, COOKIE, IDENTITY) + attributes
    return head + struct.pack("!HHI", 0x8028, 4, crc32(head) ^ 0x5354554E)


def mapped(answer: bytes) -> bytes:
    """Return the value of the answer's XOR-MAPPED-ADDRESS, with the XOR undone."""
    kind, length = struct.unpack_from("!HH", answer, 20)
    assert kind == 0x0020
    value = answer[24 : 24 + length]
    mask = struct.pack("!I", COOKIE) + IDENTITY
    port = bytes(a ^ b for a, b in zip(value[2:4], mask, strict=False))
    return value[:2] + port + bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))


@pytest.mark.parametrize("data", [request(), fingerprinted(), request(b"\x80\x22\0\3abc\0")])
def test_d27_a_binding_request_hears_its_own_address(data: bytes) -> None:
    answer = stun.answer(data, "192.0.2.7", 40_000)

    assert answer is not None
    assert answer[:2] == b"\x01\x01"
    assert answer[4:20] == data[4:20]
    assert mapped(answer) == b"\0\1" + struct.pack("!H", 40_000) + bytes((192, 0, 2, 7))


def test_d27_an_ipv6_address_is_mixed_with_the_whole_transaction_id() -> None:
    answer = stun.answer(request(), "2001:db8::7", 5060)

    assert answer is not None
    assert mapped(answer)[:4] == b"\0\2" + struct.pack("!H", 5060)
    assert mapped(answer)[4:] == bytes.fromhex("20010db8000000000000000000000007")


def test_d27_the_answer_has_a_fingerprint_that_is_right() -> None:
    answer = stun.answer(request(), "192.0.2.7", 40_000)

    assert answer is not None
    assert struct.unpack_from("!H", answer, 2)[0] == len(answer) - 20
    kind, length, value = struct.unpack_from("!HHI", answer, len(answer) - 8)
    assert (kind, length) == (0x8028, 4)
    assert value == crc32(answer[:-8]) ^ 0x5354554E


def test_rfc5769_the_sample_request_is_answered() -> None:
    """RFC 5769 §2.1: its MESSAGE-INTEGRITY is of no use here, PRIORITY is unknown and mandatory."""
    sample = bytes.fromhex(
        "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
        "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
        "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
    )

    answer = stun.answer(sample, "192.0.2.1", 32_853)

    assert answer is not None
    assert answer[:2] == b"\x01\x11"
    assert b"\0\x09\0\4\0\0\4\x14" in answer  # ERROR-CODE 420
    assert b"\0\x0a\0\2\0\x24" in answer  # UNKNOWN-ATTRIBUTES: PRIORITY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        request()[:19],
        request() + b"x",
        request(kind=0x0101),
        request(kind=0x0011),
        request(cookie=1),
        request(b"\0\6\0\x08abcd"),
        request(b"\0\6\0\x04abcd" * 80),
        fingerprinted()[:-1] + b"\0",
        request(struct.pack("!HHI", 0x8028, 4, 0) + b"\0\6\0\0"),
    ],
)
def test_d27_what_is_no_binding_request_gets_no_answer(data: bytes) -> None:
    assert stun.answer(data, "192.0.2.7", 40_000) is None


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("data", [request(), request(b"\0\x24\0\0" * 100)])
def test_d27_an_answer_is_at_most_32_octets_longer_than_the_request(data: bytes, host: str) -> None:
    answer = stun.answer(data, host, 40_000)

    assert answer is not None
    assert len(answer) <= len(data) + 32
