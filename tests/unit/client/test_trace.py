"""What a trace may show."""

import io

from sipgram.client.trace import printable, shown, to_stream

CREDENTIALS = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
    b'Authorization: Digest username="alice", realm="example.com", nonce="n1",\r\n'
    b' uri="sip:bob@example.com", response="5ec\\"ret", cnonce=0a1b, nc=00000001\r\n'
    b"proxy-authorization :  Basic c2VjcmV0\r\n"
    b'Subject: response="kept"\r\n'
    b"\r\n"
    b"Authorization: Basic is no header here\r\n\x1b[2Jhi"
)


def test_credentials_and_nonces_are_masked() -> None:
    text = shown(CREDENTIALS)

    for secret in ("5ec", "n1", "0a1b", "c2VjcmV0"):
        assert secret not in text
    assert 'Authorization: Digest username="alice", realm="example.com", nonce=(masked)' in text
    assert "nc=00000001" in text
    assert "proxy-authorization :  (masked)" in text
    assert 'Subject: response="kept"' in text


def test_challenges_lose_their_nonce() -> None:
    text = shown(
        b'SIP/2.0 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n1", qop="auth"\r\n'
    )

    assert 'WWW-Authenticate: Digest realm="r", nonce=(masked), qop="auth"' in text


def test_body_is_shown_without_what_a_terminal_obeys() -> None:
    text = shown(CREDENTIALS)

    assert text.endswith("Authorization: Basic is no header here\n\N{REPLACEMENT CHARACTER}[2Jhi")
    assert printable("a\tb\x9b\u202e") == "a\tb\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


def test_each_line_has_its_sigil() -> None:
    out = io.StringIO()

    to_stream(out)("<", b"SIP/2.0 200 OK\r\nCSeq: 1 MESSAGE\r\n\r\n", "udp:192.0.2.1:5060")

    assert out.getvalue() == "< udp:192.0.2.1:5060\n< SIP/2.0 200 OK\n< CSeq: 1 MESSAGE\n< \n"
