"""Messages as values."""

from datetime import UTC, datetime, timedelta

import pytest

from sipgram.client.messages import Rejected, date_line, read
from sipgram.sip.message.parser import parse

NOW = datetime(2026, 2, 14, 12, 0, 0, tzinfo=UTC)


def request(*lines: str, body: bytes = b"", uri: str = "sip:bob@example.com") -> bytes:
    head = (
        "MESSAGE sip:alice@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1",
        f"From: Bob <{uri}>;tag=1",
        "To: <sip:alice@example.com:5060>",
        "Call-ID: a@b",
        "CSeq: 1 MESSAGE",
        *lines,
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_message_names_people_by_their_aor() -> None:
    message = read(parse(request(body=b"hi")), now_utc=NOW)

    assert (message.sender, message.to) == ("sip:bob@example.com", "sip:alice@example.com")
    assert (message.id, message.call_id) == ("a@b", "a@b")
    assert message.raw == request(body=b"hi")


def test_sender_that_is_no_sip_uri_is_shown_as_it_came() -> None:
    assert read(parse(request(uri="urn:x:y")), now_utc=NOW).sender == "urn:x:y"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (None, b"hi", "hi"),
        ("text/plain", "größer".encode(), "größer"),
        ("text/plain;charset=UTF-8", "größer".encode(), "größer"),
        ('Text/Plain; charset="iso-8859-1"', "größer".encode("latin-1"), "größer"),
        ("text/plain;charset=utf-99", b"hi", "hi"),
        ("text/plain;charset=punycode", b"a-b", "a-b"),
        ("text/plain", b"\xff", "\N{REPLACEMENT CHARACTER}"),
        ("application/octet-stream", b"hi", ""),
    ],
)
def test_text_is_decoded(content_type: str | None, body: bytes, text: str) -> None:
    """RFC 3261 §7.4.1: "If no charset parameter is present [...] the default is UTF-8"."""
    lines = () if content_type is None else (f"Content-Type: {content_type}",)

    message = read(parse(request(*lines, body=body)), now_utc=NOW)

    assert message.text == text
    assert message.data == body
    assert message.content_type == (content_type or "text/plain")


@pytest.mark.parametrize(
    ("date", "sent_at", "delayed"),
    [
        (None, NOW, False),
        ("Sat, 14 Feb 2026 11:59:30 GMT", NOW - timedelta(seconds=30), False),
        ("Fri, 13 Feb 2026 12:00:00 GMT", NOW - timedelta(days=1), True),
        ("Fri, 33 Feb 2026 12:00:00 GMT", NOW, False),
        ("Fri, 13 Fun 2026 12:00:00 GMT", NOW, False),
        ("yesterday", NOW, False),
    ],
)
def test_date_says_when_it_was_sent(date: str | None, sent_at: datetime, delayed: bool) -> None:
    lines = () if date is None else (f"Date: {date}",)

    message = read(parse(request(*lines)), now_utc=NOW)

    assert (message.sent_at, message.delayed) == (sent_at, delayed)


def test_date_line_is_read_back() -> None:
    line = date_line(NOW).decode()

    assert line == "Date: Sat, 14 Feb 2026 12:00:00 GMT"
    assert read(parse(request(line)), now_utc=NOW + timedelta(hours=1)).sent_at == NOW


@pytest.mark.parametrize(
    ("value", "retry_after_s"),
    [("5", 5), ("18000;duration=3600", 18000), ("120 (in a meeting)", 120), ("soon", None)],
)
def test_rejected_says_when_to_try_again(value: str, retry_after_s: int | None) -> None:
    response = request(f"Retry-After: {value}").replace(
        b"MESSAGE sip:alice@192.0.2.1 SIP/2.0", b"SIP/2.0 480 Not here"
    )

    error = Rejected.by(parse(response))

    assert (error.status, error.reason, error.retry_after_s) == (480, "Not here", retry_after_s)
    assert error.call_id == "a@b"
