"""The words of event notification (RFC 6665 §8, RFC 6446, RFC 3903 §11)."""

import pytest

from sipgram.errors import ParseError, Refusal
from sipgram.sip.events.header import (
    ACCEPT_MAX,
    EMPTY,
    Content,
    Event,
    accepts,
    expires_of,
    granted,
    is_accepted,
)
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request

DEFAULT = b"application/pidf+xml"


def asked(*headers: bytes) -> Message:
    return parse(request(b"SUBSCRIBE", b"sip:bob@example.com", headers=headers))


@pytest.mark.rfc("6665", "8.4")
@pytest.mark.parametrize(
    ("value", "event"),
    [
        (b"presence", Event(b"presence")),
        (b" Presence.WINFO ; id=7 ", Event(b"presence.winfo", b"7")),
        (b"reg;x=y;id=a", Event(b"reg", b"a")),
        (b"presence;max-rate=0.5", Event(b"presence", min_interval_s=2.0)),
        (b"presence;max-rate=0.00001", Event(b"presence", min_interval_s=3600.0)),
    ],
)
def test_event(value: bytes, event: Event) -> None:
    assert Event.of(asked(b"Event: " + value)) == event


def test_event_is_written_without_what_is_only_asked() -> None:
    assert bytes(Event.parse(b"presence;max-rate=1;id=3")) == b"presence;id=3"


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"a b", b";id=1", b"presence;max-rate=0", b"presence;max-rate=x"),
        *(b"presence;max-rate=-1", b"presence;max-rate=inf", b"presence;max-rate=nan"),
    ],
)
def test_a_malformed_event(value: bytes) -> None:
    with pytest.raises(ParseError):
        Event.parse(value)


@pytest.mark.rfc("6665", "4.1.2.1")
def test_no_event_is_489() -> None:
    with pytest.raises(Refusal) as refused:
        Event.of(asked())
    assert refused.value.status == 489


@pytest.mark.rfc("6665", "3.1.3")
@pytest.mark.parametrize(
    ("headers", "types"),
    [
        ((), (DEFAULT,)),
        ((b"Accept: text/plain;q=0.3, APPLICATION/pidf+xml",), (b"text/plain", DEFAULT)),
        ((b"Accept: a/b", b"Accept: c/*"), (b"a/b", b"c/*")),
        ((b"Accept: ",), (DEFAULT,)),
    ],
)
def test_accept(headers: tuple[bytes, ...], types: tuple[bytes, ...]) -> None:
    assert accepts(asked(*headers), DEFAULT) == types


@pytest.mark.parametrize("count", [ACCEPT_MAX - 1, ACCEPT_MAX, ACCEPT_MAX + 1])
def test_accept_is_bounded(count: int) -> None:
    line = b"Accept: " + b", ".join(b"a/%d" % n for n in range(count))
    assert len(accepts(asked(line), DEFAULT)) == min(count, ACCEPT_MAX)


def test_ranges_are_accepted() -> None:
    assert is_accepted(DEFAULT, (b"text/plain", b"application/*"))
    assert is_accepted(DEFAULT, (b"*/*",))
    assert not is_accepted(DEFAULT, (b"text/*", b"application/xml"))


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"0", 0), (b"3600", 3600), (b"99999999999", 2**32 - 1)]
)
def test_expires(value: bytes, seconds: int) -> None:
    assert expires_of(asked(b"Expires: " + value), 7) == seconds
    assert expires_of(asked(), 7) == 7


@pytest.mark.parametrize("value", [b"-1", b"x", b"1.5", b"9" * 21])
def test_malformed_expires(value: bytes) -> None:
    with pytest.raises(ParseError, match="Expires"):
        expires_of(asked(b"Expires: " + value), 7)


@pytest.mark.rfc("6665", "4.2.1.1")
@pytest.mark.parametrize(("wish", "is_brief"), [(0, False), (1, True), (59, True), (60, False)])
def test_too_brief_is_423_but_nothing_is_not(wish: int, is_brief: bool) -> None:
    if not is_brief:
        assert granted(wish, least_s=60, most_s=100) == wish
        return
    with pytest.raises(Refusal) as refused:
        granted(wish, least_s=60, most_s=100)
    assert (refused.value.status, refused.value.headers) == (423, (b"Min-Expires: 60",))


@pytest.mark.parametrize(("wish", "given"), [(99, 99), (100, 100), (101, 100)])
def test_more_than_the_most_is_shortened(wish: int, given: int) -> None:
    assert granted(wish, least_s=60, most_s=100) == given


def test_a_tail_says_its_length() -> None:
    assert EMPTY.tail == b"Content-Length: 0\r\n\r\n"
    assert Content(b"a/b", b"xyz").tail == b"Content-Type: a/b\r\nContent-Length: 3\r\n\r\nxyz"
