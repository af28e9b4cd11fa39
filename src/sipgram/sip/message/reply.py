"""Responses to a request, built from the lines that it brought (RFC 3261 §8.2.6)."""

from collections.abc import Iterable
from typing import Final

from sipgram.sip.message.message import Message

REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
}
"""The reason phrases of RFC 3261 §21, for the statuses that sipgram gives itself."""
_START_LINES: Final = {
    status: b"SIP/2.0 %d %b\r\n" % (status, reason.encode()) for status, reason in REASONS.items()
}
_NO_BODY: Final = b"Content-Length: 0\r\n\r\n"


def build(
    request: Message,
    status: int,
    *,
    to_tag: bytes,
    host: bytes,
    port: int,
    reason: str = "",
    headers: Iterable[bytes] = (),
    body: bytes = b"",
) -> bytes:
    """Return a whole response.

    ``host`` and ``port`` are where the request came from. ``reason`` replaces the usual phrase.
    ``headers`` are whole lines without CRLF; with a body, Content-Type must be among them.
    """
    start = _START_LINES.get(status)
    if reason or start is None:
        phrase = reason.replace("\r", " ").replace("\n", " ")
        start = b"SIP/2.0 %d %b\r\n" % (status, phrase.encode())
    data = start + request.echoed(b"" if status == 100 else to_tag, host, port)
    for line in headers:
        data += line + b"\r\n"
    return data + (b"Content-Length: %d\r\n\r\n" % len(body) + body if body else _NO_BODY)
