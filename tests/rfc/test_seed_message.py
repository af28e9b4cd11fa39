"""The MESSAGE that sipgram began with, with two faults of real life (RFC 3428, RFC 3261 §8.1.1, §18.3).

It has no CSeq, and its Content-Length counts more octets than its body has.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipgram.sip.message import reply
from sipgram.sip.message.framing import StreamFramer
from sipgram.sip.message.message import Message
from sipgram.sip.message.scan import scan
from sipgram.testing.messages import request

from .conftest import HALF_MESSAGE_S, ServedAddresses

TEXT = (Path(__file__).parents[1] / "data" / "seed-message.txt").read_bytes()
SEED = TEXT.replace(b"\n", b"\r\n")
FAULTS = "CSeq is missing; Content-Length is 18 but 14 bytes of body came"


def mended(*, transport: bytes, port: int) -> bytes:
    """Return the seed with its CSeq and the length that it has, sent by a socket of ours."""
    data = SEED.replace(b"Content-Length: 18", b"CSeq: 1 MESSAGE\r\nContent-Length: 14")
    return _from(data, transport, port)


def _from(data: bytes, transport: bytes, port: int) -> bytes:
    """Put our port into Via; without rport that is where the answer goes (§18.2.2)."""
    ours = b"SIP/2.0/%b user1pc.domain.com:%d;" % (transport, port)
    return data.replace(b"SIP/2.0/TCP user1pc.domain.com;", ours)


@contextmanager
def datagrams() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5.0)
        yield opened


@contextmanager
def connection(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=HALF_MESSAGE_S + 5.0) as opened:
        yield opened


@pytest.fixture
def user2(server: ServedAddresses) -> Iterator[socket.socket]:
    """A phone over UDP that is registered for sip:user2@domain.com."""
    with datagrams() as phone:
        port = phone.getsockname()[1]
        phone.sendto(
            request(
                b"REGISTER",
                b"sip:domain.com",
                via=b"Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=z9hG4bK-register" % port,
                sender=b"<sip:user2@domain.com>;tag=2",
                to=b"<sip:user2@domain.com>",
                call_id=b"register-%d" % port,
                headers=(b"Contact: <sip:user2@127.0.0.1:%d>" % port,),
            ),
            server.udp,
        )
        assert scan(phone.recv(65_535)).status == 200
        yield phone
        phone.sendto(
            request(
                b"REGISTER",
                b"sip:domain.com",
                via=b"Via: SIP/2.0/UDP 127.0.0.1:%d;rport;branch=z9hG4bK-leave" % port,
                sender=b"<sip:user2@domain.com>;tag=2",
                to=b"<sip:user2@domain.com>",
                call_id=b"register-%d" % port,
                cseq=2,
                headers=(b"Contact: *", b"Expires: 0"),
            ),
            server.udp,
        )
        assert scan(phone.recv(65_535)).status == 200


def take(phone: socket.socket) -> Message:
    """Receive one request on a phone and answer it with 200."""
    data, source = phone.recvfrom(65_535)
    message = scan(data)
    answer = reply.build(message, 200, to_tag=b"u2", host=source[0].encode("ascii"), port=source[1])
    phone.sendto(answer, source)
    return message


def read_one(stream: socket.socket) -> Message:
    framer = StreamFramer()
    while data := stream.recv(65_535):
        for message in framer.feed(data):
            return scan(message)
    raise AssertionError(f"closed without an answer after {framer.remainder!r}")


def test_the_file_is_the_one_that_was_given() -> None:
    assert scan(SEED).faults == tuple(FAULTS.split("; "))


def test_over_udp_a_400_names_both_faults(server: ServedAddresses) -> None:
    with datagrams() as sender:
        sender.sendto(_from(SEED, b"UDP", sender.getsockname()[1]), server.udp)
        answer = scan(sender.recv(65_535))
    assert answer.status == 400
    assert answer.reason.decode() == FAULTS
    assert answer.call_id == b"asd88asd77a@1.2.3.4"


def test_over_tcp_half_a_message_is_waited_for_then_answered_and_cut(
    server: ServedAddresses,
) -> None:
    """D27: "half a message has its own limit"; the four octets that are missing never come."""
    with connection(server.tcp) as stream:
        stream.sendall(SEED)
        answer = read_one(stream)
        assert stream.recv(1) == b""
    assert answer.status == 400
    assert answer.reason.decode() == FAULTS


def test_mended_over_udp_it_is_delivered(server: ServedAddresses, user2: socket.socket) -> None:
    with datagrams() as sender:
        sender.sendto(mended(transport=b"UDP", port=sender.getsockname()[1]), server.udp)
        message = take(user2)
        answer = scan(sender.recv(65_535))
    assert (message.method, message.faults) == (b"MESSAGE", ())
    assert message.body == b"Hello world.\r\n"
    assert message.value(b"content-type") == b"text/plain"
    assert answer.status == 200


def test_mended_over_tcp_it_is_delivered(server: ServedAddresses, user2: socket.socket) -> None:
    with connection(server.tcp) as stream:
        stream.sendall(mended(transport=b"TCP", port=stream.getsockname()[1]))
        message = take(user2)
        answer = read_one(stream)
    assert message.body == b"Hello world.\r\n"
    assert answer.status == 200


def test_mended_in_bare_lf_from_loopback_it_is_delivered(
    server: ServedAddresses, user2: socket.socket
) -> None:
    """DESIGN.md §4: "accepted over UDP and stream connections only from loopback"."""
    with connection(server.tcp) as stream:
        data = TEXT.replace(b"Content-Length: 18", b"CSeq: 2 MESSAGE\nContent-Length: 13")
        stream.sendall(data.replace(b"776sgdkse", b"776sgdksf"))
        message = take(user2)
        answer = read_one(stream)
    assert message.body == b"Hello world.\n"
    assert answer.status == 200
