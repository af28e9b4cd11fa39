"""Messages out of a stream, however it is cut (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.sip.message.framing import BODY_BYTES_MAX, HEAD_BYTES_MAX, PING, StreamFramer
from sipgram.testing.messages import request

FIRST = request(body=b"Hello\r\n\r\nworld")
SECOND = request(b"OPTIONS").replace(b"Content-Length: 0", b"l  :\r\n 0")
THIRD = request(b"REGISTER", body=b"\r\n")
STREAM = FIRST + PING + SECOND + b"\r\n" + THIRD + PING


def test_a_stream_may_be_cut_anywhere() -> None:
    for at in range(len(STREAM) + 1):
        framer = StreamFramer()
        messages = framer.feed(STREAM[:at]) + framer.feed(STREAM[at:])
        assert messages == [FIRST, SECOND, THIRD]
        assert framer.pings == 2
        assert not framer.has_partial


def test_a_stream_may_come_octet_by_octet() -> None:
    framer = StreamFramer()
    messages = [m for octet in STREAM for m in framer.feed(bytes((octet,)))]
    assert messages == [FIRST, SECOND, THIRD]
    assert framer.pings == 2


@settings(derandomize=True, max_examples=60)
@given(
    bodies=st.lists(st.binary(max_size=30), max_size=4),
    keep_alives=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    cuts=st.lists(st.integers(0, 1200), max_size=6),
)
def test_framing_gives_back_what_was_written(
    bodies: list[bytes], keep_alives: list[int], cuts: list[int]
) -> None:
    messages = [request(body=body) for body in bodies]
    stream = b"".join(m + PING * n for m, n in zip(messages, keep_alives, strict=False))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    framer = StreamFramer()
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    read = [message for piece in pieces for message in framer.feed(piece)]

    assert read == messages
    assert framer.pings == sum(n for _, n in zip(messages, keep_alives, strict=False))


def test_half_a_message_is_a_partial_and_line_ends_are_not() -> None:
    framer = StreamFramer()
    partials = []
    for piece in (b"\r\n", FIRST[:20]):
        assert framer.feed(piece) == []
        partials.append(framer.has_partial)
    assert partials == [False, True]
    assert framer.remainder == FIRST[:20]
    assert framer.feed(FIRST[20:]) == [FIRST]
    assert framer.remainder == b""


def test_line_ends_that_are_no_ping_are_dropped() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\n\r\n\n") == []
    assert framer.feed(b"\r\r\r\r") == []
    assert framer.remainder == b""
    assert framer.pings == 0


@pytest.mark.rfc("3261", "18.3")
@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"Foo: bar", "Content-Length is missing, which a stream needs"),
        (b"Content-Length: -1", "Content-Length is not a length: -1"),
        (b"Content-Length: 1e3", "Content-Length is not a length: 1e3"),
        (b"Content-Length: 1234567890", "Content-Length is not a length: 1234567890"),
        (b"Content-Length: 1\r\nl: 2", "Content-Length stands more than once"),
    ],
)
def test_a_stream_without_a_length_cannot_be_followed(head: bytes, fault: str) -> None:
    framer = StreamFramer()
    data = b"OPTIONS sip:x SIP/2.0\r\n" + head + b"\r\n\r\n"
    with pytest.raises(ParseError) as caught:
        framer.feed(data)
    assert caught.value.reason == fault
    assert framer.remainder == data


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_body_is_bounded(over: int) -> None:
    framer = StreamFramer()
    head = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES_MAX + over)
    if over <= 0:
        assert framer.feed(head + b"x" * (BODY_BYTES_MAX + over)) != []
        return
    with pytest.raises(TooLarge, match="Content-Length is over 65535: 65536") as caught:
        framer.feed(head)
    assert caught.value.status == 513


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_head_that_does_not_end_is_bounded(over: int) -> None:
    framer = StreamFramer()
    data = b"x" * (HEAD_BYTES_MAX + over)
    if over <= 0:
        assert framer.feed(data) == []
        return
    with pytest.raises(TooLarge, match="headers are longer than 65535 bytes"):
        framer.feed(data)


def test_bare_lf_is_read_where_it_is_allowed() -> None:
    """DESIGN.md §4: "bare LF is accepted … from loopback, for the sake of netcat"."""
    bare = FIRST.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n") + b"\n\nHello\r\n\r\nworld"
    framer = StreamFramer(bare_lf=True)
    assert framer.feed(bare + FIRST + bare) == [bare, FIRST, bare]
    assert StreamFramer().feed(bare[:-14]) == []


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("body", [b"", b"\n\n", b"\r\n\r\n", b"\n\r\n\n"])
def test_the_first_empty_line_of_either_sort_ends_the_head(blank: bytes, body: bytes) -> None:
    first = b"OPTIONS sip:a SIP/2.0\nl: %d" % len(body) + blank + body
    framer = StreamFramer(bare_lf=True)

    assert framer.feed(first + FIRST + first) == [first, FIRST, first]
    assert not framer.has_partial


def test_bare_lf_waits_for_the_empty_line_too() -> None:
    framer = StreamFramer(bare_lf=True)
    assert framer.feed(b"OPTIONS sip:x SIP/2.0\nl: 0\n") == []
    assert framer.feed(b"\n") == [b"OPTIONS sip:x SIP/2.0\nl: 0\n\n"]
