"""Multipart bodies, bounded (RFC 2046 §5.1, RFC 5621)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sipgram.errors import ParseError, TooLarge, UsageError
from sipgram.payload.media_type import MediaType

PARTS_MAX: Final = 32
HEADERS_MAX: Final = 16
"""Of one part."""
HEAD_BYTES_MAX: Final = 8_192
BOUNDARY_MAX: Final = 70
"""RFC 2046 §5.1.1: "no longer than 70 characters"."""

_BOUNDARY_RE: Final = re.compile(r"[A-Za-z0-9'()+_,\-./:=? ]{0,69}[A-Za-z0-9'()+_,\-./:=?]")


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers in order, names as they came, and its octets."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, whatever its case; empty without one."""
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), "")

    @property
    def media_type(self) -> MediaType:
        """Its type; text when it names none (RFC 2046 §5.1).

        Raises:
            ParseError: it names one that is malformed.
        """
        return MediaType.parse(self.header("content-type") or "text/plain")

    @property
    def disposition(self) -> str:
        """The lower-cased kind in Content-Disposition, without parameters."""
        return self.header("content-disposition").partition(";")[0].strip().lower()

    def __bytes__(self) -> bytes:
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return head.encode() + b"\r\n" + self.body


def parse(body: bytes, boundary: str) -> tuple[Part, ...]:
    """Take a body apart; preamble and epilogue are left out.

    Raises:
        ParseError: the boundary is not one, is not there, or a part has no end.
        TooLarge: there are more than ``PARTS_MAX`` parts.
    """
    if not _BOUNDARY_RE.fullmatch(boundary):
        raise ParseError(f"multipart boundary is malformed: {boundary[:80]!r}")
    line = re.escape(b"--" + boundary.encode())
    delimiter = re.compile(rb"(?:^|\r?\n)" + line + rb"(--)?[ \t]*(?=(\r?\n)|$)")
    parts: list[Part] = []
    begun, at = -1, 0
    while match := delimiter.search(body, at):
        if begun >= 0:
            if len(parts) >= PARTS_MAX:
                raise TooLarge(f"multipart has over {PARTS_MAX} parts")
            parts.append(_part(body[begun : match.start()]))
        if match[1]:
            return tuple(parts)
        # The line end behind one delimiter is the one before the next, of an empty part.
        at = match.end()
        begun = at + len(match[2] or b"")
    raise ParseError("multipart has no end" if begun >= 0 else "multipart has no such boundary")


def build(parts: Iterable[Part], boundary: str) -> bytes:
    """Put parts together.

    Raises:
        UsageError: the boundary is not one, or stands in a part.
    """
    if not _BOUNDARY_RE.fullmatch(boundary):
        raise UsageError(f"multipart boundary is malformed: {boundary!r}")
    line = b"--" + boundary.encode()
    out = []
    for part in parts:
        data = bytes(part)
        if line in data:
            raise UsageError(f"multipart boundary stands in a part: {boundary!r}")
        out.append(line + b"\r\n" + data + b"\r\n")
    return b"".join(out) + line + b"--\r\n"


def read_headers(head: bytes) -> tuple[tuple[str, str], ...]:
    """Read MIME header lines, folded ones too.

    Raises:
        ParseError: a line is no header.
        TooLarge: there are too many.
    """
    if len(head) > HEAD_BYTES_MAX:
        raise TooLarge(f"part has over {HEAD_BYTES_MAX} bytes of headers")
    text = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "replace"))
    found = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or "\r" in line:
            raise ParseError(f"header of a part is malformed: {line[:60]!r}")
        found.append((name.strip(), value.strip()))
    if len(found) > HEADERS_MAX:
        raise TooLarge(f"part has over {HEADERS_MAX} headers")
    return tuple(found)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """Split headers from content at the first empty line; without one all are headers."""
    if data.startswith(b"\r\n"):
        return b"", data[2:]
    if data.startswith(b"\n"):
        return b"", data[1:]
    match = re.search(rb"\r?\n\r?\n", data)
    return (data, b"") if match is None else (data[: match.start()], data[match.end() :])


def _part(data: bytes) -> Part:
    head, body = split_head(data)
    return Part(read_headers(head), body)
