"""The two requests that an INVITE's own hop needs: its CANCEL and the ACK of a failure (RFC 3261 §9.1, §17.1.1.3)."""

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse


def cancel_of(invite: bytes, *, reason: bytes = b"") -> bytes:
    """Return the CANCEL of an INVITE that we sent.

    §9.1: "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header fields in the
    CANCEL request MUST be identical to those in the request being cancelled, including tags."
    ``reason`` is a value of Reason (RFC 3326), empty for none.
    """
    request = parse(invite)
    lines = _hop_lines(request, b"CANCEL", to=request.value(b"to") or b"")
    if reason:
        lines.append(b"Reason: " + reason)
    return _request(request.uri, b"CANCEL", lines)


def ack_of(invite: bytes, response: Message) -> bytes:
    """Return the ACK for a final response of 300 or more to an INVITE that we sent.

    §17.1.1.3: "The To header field in the ACK MUST equal the To header field in the response
    being acknowledged", and all else comes from the INVITE.
    """
    request = parse(invite)
    to = response.value(b"to") or b""
    return _request(request.uri, b"ACK", _hop_lines(request, b"ACK", to=to))


def _hop_lines(request: Message, method: bytes, *, to: bytes) -> list[bytes]:
    """Return the lines that both have in common: one Via, the INVITE's Route, no more."""
    routes = [b"Route: " + value for value in request.values(b"route")]
    return [
        b"Via: " + (request.value(b"via") or b""),
        *routes,
        b"Max-Forwards: 70",
        b"From: " + (request.value(b"from") or b""),
        b"To: " + to,
        b"Call-ID: " + request.call_id,
        b"CSeq: %d %b" % (request.cseq, method),
    ]


def _request(uri: bytes, method: bytes, lines: list[bytes]) -> bytes:
    head = b"%b %b SIP/2.0\r\n" % (method, uri)
    return head + b"\r\n".join(lines) + b"\r\nContent-Length: 0\r\n\r\n"
