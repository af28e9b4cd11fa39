"""CPIM, both ways (RFC 3862)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge, UsageError
from sipgram.payload.cpim import HEAD_BYTES_MAX, HEADERS_MAX, Cpim, Header, Party

# §5.1 of RFC 3862, in the form that MESSAGE carries.
EXAMPLE = (
    b"From: MR SANDERS <im:piglet@100akerwood.com>\r\n"
    b"To: Depressed Donkey <im:eeyore@100akerwood.com>\r\n"
    b"DateTime: 2000-12-13T13:40:00-08:00\r\n"
    b"Subject: the weather will be fine today\r\n"
    b"Subject:;lang=fr beau temps prevu pour aujourd'hui\r\n"
    b"NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\n"
    b"Require: MyFeatures.VitalMessageOption\r\n"
    b"MyFeatures.VitalMessageOption: Confirmation-requested\r\n"
    b"MyFeatures.WackyMessageOption: Use-silly-font\r\n"
    b"\r\n"
    b"Content-type: text/xml; charset=utf-8\r\n"
    b"Content-ID: <1234567890@foo.com>\r\n"
    b"\r\n"
    b"<body>\r\nHere is the text of my message.\r\n</body>"
)
LINPHONE = (
    b"From: <sip:bob@example.com>\r\nTo: <sip:alice@example.com>\r\n"
    b"DateTime: 2022-11-04T09:00:00Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    b"imdn.Message-ID: Zx~1\r\n"
    b"imdn.Disposition-Notification: positive-delivery, negative-delivery, display\r\n"
    b"\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 7\r\n\r\nhi\r\n\r\n!"
)

URIS = st.from_regex(r"(?:im|sip):[a-z]{1,8}@[a-z]{1,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = TEXTS.map(lambda text: text.strip())
PARTIES = st.builds(Party, URIS, NAMES)
HEADERS = st.builds(
    Header,
    st.from_regex(r"X[A-Za-z\-]{0,8}", fullmatch=True),
    TEXTS,
    st.sampled_from(["", "urn:ietf:params:imdn", "mid:a@b", "urn:x:imdn", "http://x/?y"]),
)
MESSAGES = st.builds(
    Cpim,
    content=st.binary(max_size=60),
    content_headers=st.just((("Content-Type", "text/plain"), ("X-Own", "1"))),
    sender=st.none() | PARTIES,
    to=st.lists(PARTIES, max_size=3).map(tuple),
    cc=st.lists(PARTIES, max_size=3).map(tuple),
    date_time=st.sampled_from(["", "2026-11-25T12:00:00Z"]),
    subject=TEXTS,
    headers=st.lists(HEADERS, max_size=4).map(tuple),
)


@pytest.mark.rfc("3862", "5.1")
def test_the_example_of_the_standard() -> None:
    message = Cpim.parse(EXAMPLE)

    assert message.sender == Party("im:piglet@100akerwood.com", "MR SANDERS")
    assert message.to == (Party("im:eeyore@100akerwood.com", "Depressed Donkey"),)
    assert message.date_time == "2000-12-13T13:40:00-08:00"
    assert message.subject == "the weather will be fine today"
    assert message.header("vitalmessageoption", "mid:MessageFeatures@id.foo.com") == (
        "Confirmation-requested"
    )
    assert message.header("Require") == "MyFeatures.VitalMessageOption"
    assert message.media_type.name == "text/xml"
    assert message.content.startswith(b"<body>\r\n")
    assert Cpim.parse(b"Content-type: Message/CPIM\r\n\r\n" + EXAMPLE) == message


def test_the_content_is_kept_to_the_octet() -> None:
    message = Cpim.parse(LINPHONE)

    assert message.content == b"hi\r\n\r\n!"
    assert message.header("Message-ID", "urn:ietf:params:imdn") == "Zx~1"
    assert message.header("Message-ID") == ""


@pytest.mark.rfc("3862", "2.3.2")
def test_escapes_are_resolved() -> None:
    raw = rb"Subject: a\tb\\c\u00fc\q\ud800" + b"\r\nX: 1\r\n\r\n\r\nhi"

    message = Cpim.parse(raw)

    assert message.subject == "a\tb\\cüq\ufffd"
    assert (message.content, message.media_type.name) == (b"hi", "text/plain")


@given(MESSAGES)
def test_what_is_written_is_read_back(message: Cpim) -> None:
    assert Cpim.parse(bytes(message)) == message


@given(st.binary(max_size=40), st.integers(0, len(LINPHONE)))
def test_a_damaged_message_is_read_or_refused(noise: bytes, at: int) -> None:
    try:
        Cpim.parse(LINPHONE[:at] + noise + LINPHONE[at:])
    except (ParseError, TooLarge):
        return


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"From: <sip:a@b>\r\n",
        b"From <sip:a@b>\r\n\r\n\r\nhi",
        b"From: sip:a@b\r\n\r\n\r\nhi",
        b"NS: x\r\n\r\n\r\nhi",
        b"From: <sip:a@b>\r\n\r\nno mime header\r\n\r\nhi",
    ],
)
def test_malformed_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        Cpim.parse(raw)


def test_headers_are_bounded() -> None:
    with pytest.raises(TooLarge):
        Cpim.parse(b"X: 1\r\n" * (HEADERS_MAX + 1) + b"\r\n\r\nhi")
    with pytest.raises(TooLarge):
        Cpim.parse(b"X: " + b"1" * HEAD_BYTES_MAX + b"\r\n\r\n\r\nhi")


def test_what_would_break_a_line_is_not_written() -> None:
    with pytest.raises(UsageError):
        bytes(Cpim(b"", content_headers=(("X", "a\r\nb"),)))
    with pytest.raises(UsageError):
        bytes(Cpim(b"", headers=(Header("a b", "c"),)))
