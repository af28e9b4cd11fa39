"""What a Contact may ask for (RFC 3261 §10.2, §20.10, §20.19; D29)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, PeerError, Refusal
from sipgram.services.registrar import rules
from sipgram.settings import RegistrarSettings

from .rig import HOME, INSTANCE, registering

SETTINGS = RegistrarSettings()


def read(*contacts: bytes, expires: bytes | None = None) -> list[rules.Wish]:
    return rules.wishes(contacts, registering(*contacts, expires=expires), SETTINGS)


@pytest.mark.rfc("3261", "10.2.1.1")
@pytest.mark.parametrize(
    ("contact", "expires", "seconds"),
    [
        (HOME, None, 3600),
        (HOME, b"120", 120),
        (HOME + b";expires=300", b"120", 300),
        (HOME + b";Expires=300", b"120", 300),
        (HOME + b";expires=0", None, 0),
        (HOME + b";expires", b"120", 120),
        (HOME + b";expires=4294967295", None, 2**32 - 1),
        (HOME + b";expires=99999999999999999999", None, 2**32 - 1),
    ],
)
def test_the_parameter_goes_before_the_header(
    contact: bytes, expires: bytes | None, seconds: int
) -> None:
    """ "there are two ways in which a client can suggest an expiration interval"."""
    (wish,) = read(contact, expires=expires)

    assert wish.expires_s == seconds


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"soon", b"0x10", b"9" * 21, b"\xc2\xb2"])
def test_an_expires_that_is_no_number_is_refused(value: bytes) -> None:
    """RFC 4475 scalar02: values that overflow are errors, not 3600."""
    with pytest.raises(ParseError, match="Expires is not a number of seconds"):
        read(HOME, expires=value)
    if value:
        with pytest.raises(ParseError):
            read(HOME + b";expires=" + value)


@pytest.mark.rfc("3261", "10.3")
@pytest.mark.parametrize("asked", [1, 59])
def test_too_short_a_wish_is_a_423_with_min_expires(asked: int) -> None:
    """ "MUST contain a Min-Expires header field that states the minimum expiration interval"."""
    with pytest.raises(Refusal, match="Interval Too Brief") as caught:
        read(HOME, expires=b"%d" % asked)

    assert caught.value.status == 423
    assert caught.value.headers == (b"Min-Expires: 60",)


@pytest.mark.parametrize("asked", [0, 60, 61])
def test_zero_and_the_minimum_are_not_too_short(asked: int) -> None:
    (wish,) = read(HOME, expires=b"%d" % asked)

    assert wish.expires_s == asked


@pytest.mark.parametrize(
    ("text", "q"),
    [(b"", 1.0), (b";q=0", 0.0), (b";q=0.5", 0.5), (b";q=1.000", 1.0), (b";q=0.001", 0.001)],
)
def test_q_is_a_number_from_0_to_1(text: bytes, q: float) -> None:
    (wish,) = read(HOME + text)

    assert wish.q == q


@pytest.mark.parametrize("text", [b"1.1", b"-0.1", b"high", b"nan", b"inf", b"1e9", b'""'])
def test_any_other_q_is_refused(text: bytes) -> None:
    with pytest.raises(ParseError, match="q of Contact"):
        read(HOME + b";q=" + text)


def test_as_many_contacts_as_the_limit_and_one_more() -> None:
    contacts = [b"<sip:bob@192.0.2.1:%d>" % (5000 + n) for n in range(rules.CONTACTS_MAX + 1)]

    assert len(read(*contacts[:-2])) == rules.CONTACTS_MAX - 1
    assert len(read(*contacts[:-1])) == rules.CONTACTS_MAX
    with pytest.raises(ParseError, match="more than 32 contacts: 33"):
        read(*contacts)
    with pytest.raises(ParseError, match="more than 32 contacts: 33"):
        read(b", ".join(contacts))


@pytest.mark.rfc("3261", "7.3.1")
def test_a_comma_list_is_as_good_as_two_lines() -> None:
    assert read(HOME + b", <sip:bob@192.0.2.2>") == read(HOME, b"<sip:bob@192.0.2.2>")


@pytest.mark.rfc("4475", "3.3.4")
def test_headers_in_a_contacts_uri_are_refused() -> None:
    with pytest.raises(ParseError, match="headers in its URI"):
        read(b"<sip:bob@192.0.2.1?Route=%3Csip:x%3E>")


@pytest.mark.parametrize(
    ("contact", "status"),
    [(b"<mailto:bob@example.com>", 416), (b"<sip:bob@>", 400), (b"sip:a,b?c@x", 400), (b"*", 416)],
)
def test_a_contact_that_is_no_sip_uri_is_refused(contact: bytes, status: int) -> None:
    with pytest.raises(PeerError) as caught:
        read(contact)

    assert caught.value.status in (400, status)


def test_parameters_come_back_as_they_can_be_written() -> None:
    (wish,) = read(HOME + INSTANCE + b';methods="MESSAGE, options";expires=90;ob;x=""')

    assert wish.instance == b"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"
    assert wish.methods == {b"MESSAGE", b"OPTIONS"}
    assert wish.params == INSTANCE + b';methods="MESSAGE, options";ob;x=""'


@pytest.mark.rfc("3261", "10.2.2")
@pytest.mark.parametrize(
    ("contacts", "expires"),
    [((b"*",), b"3600"), ((b"*",), None), ((b"*", HOME), b"0"), ((b"*", b"*"), b"0")],
)
def test_a_wildcard_stands_alone_and_with_zero(
    contacts: tuple[bytes, ...], expires: bytes | None
) -> None:
    with pytest.raises(ParseError, match="stands alone and with Expires: 0"):
        rules.asks_to_clear(contacts, registering(*contacts, expires=expires))


def test_only_a_wildcard_asks_to_clear() -> None:
    assert rules.asks_to_clear([b"*"], registering(b"*", expires=b"0"))
    assert not rules.asks_to_clear([HOME], registering(HOME, expires=b"0"))
    assert not rules.asks_to_clear([], registering())


@pytest.mark.parametrize(
    ("wished", "fraction", "granted"),
    [
        (599, 0.99, 599),
        (600, 0.99, 600),
        (601, 0.0, 601),
        (1000, 0.5, 950),
        (3600, 0.999999, 3241),
        (7201, 0.0, 7200),
        (2**32 - 1, 0.5, 6840),
    ],
)
def test_d29_registrations_spread_above_600_s(wished: int, fraction: float, granted: int) -> None:
    assert rules.grant(wished, SETTINGS, fraction=fraction) == granted


def test_d29_the_spread_can_be_switched_off() -> None:
    assert rules.grant(3600, RegistrarSettings(spread=False), fraction=0.9) == 3600


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_d29_never_longer_and_never_a_tenth_shorter(wished: int, fraction: float) -> None:
    granted = rules.grant(wished, SETTINGS, fraction=fraction)

    assert 0.9 * min(wished, 7200) <= granted <= min(wished, 7200)


@given(st.binary(max_size=60))
def test_no_contact_breaks_the_reader(value: bytes) -> None:
    with suppress(ParseError, Refusal):
        rules.wish(value, None, SETTINGS)
