"""Deflated bodies at a WebSocket's edge (DELIVERY.md D20)."""

import zlib

import pytest

from sipgram.net.ws.inflate import inflated
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request

TEXT = b"<imdn>delivered</imdn>" * 20


def raw_deflate(body: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(body) + coder.flush()


@pytest.mark.parametrize(
    "line", [b"Content-Encoding: deflate", b"e:Deflate", b"CONTENT-ENCODING :  deflate "]
)
@pytest.mark.parametrize("body", [zlib.compress(TEXT), raw_deflate(TEXT)])
@pytest.mark.parametrize("is_last", [True, False])
def test_d20_a_deflated_body_is_made_plain(line: bytes, body: bytes, is_last: bool) -> None:
    headers = (line, b"X-Other: 1") if is_last else (b"X-Other: 1", line)
    message = parse(inflated(request(headers=headers, body=body), bytes_max=1_000))

    assert message.faults == ()
    assert message.body == TEXT
    assert message.content_length == len(TEXT)
    assert not message.has(b"content-encoding")
    assert message.value(b"x-other") == b"1"
    assert message.value(b"content-type") == b"text/plain"


def test_a_missing_content_length_is_added() -> None:
    data = request(headers=(b"Content-Encoding: deflate",), body=zlib.compress(TEXT))
    length = next(line for line in data.split(b"\r\n") if line.startswith(b"Content-Length"))
    message = parse(inflated(data.replace(length + b"\r\n", b""), bytes_max=1_000))

    assert (message.body, message.content_length) == (TEXT, len(TEXT))


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b"Content-Encoding: gzip", zlib.compress(TEXT)),
        (b"Content-Encoding: deflate, gzip", zlib.compress(TEXT)),
        (b"Content-Encoding: deflate", b"no such thing"),
        (b"Content-Encoding: deflate", zlib.compress(TEXT)[:-6]),
        (b"Content-Encoding: deflate", zlib.compress(b"0" * 1_001)),
        (b"Content-Encoding: deflate", zlib.compress(b"0" * 50_000_000)),
        (b"X-Other: 1", b"\nContent-Encoding: deflate\r\n"),
    ],
)
def test_what_cannot_be_made_plain_within_bounds_stays_as_it_is(line: bytes, body: bytes) -> None:
    data = request(headers=(line,), body=body)
    assert inflated(data, bytes_max=1_000) is data


@pytest.mark.parametrize(("size", "is_plain"), [(999, True), (1_000, True), (1_001, False)])
def test_the_bound_is_the_size_of_the_plain_body(size: int, is_plain: bool) -> None:
    data = request(headers=(b"Content-Encoding: deflate",), body=zlib.compress(b"0" * size))
    assert (inflated(data, bytes_max=1_000) is not data) == is_plain
