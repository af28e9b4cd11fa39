"""What a MESSAGE carries, whatever it is wrapped in: encoding, CPIM, multipart taken off.

RFC 3428 §11 has plain text and CPIM, RFC 3261 §7.4 encodings, RFC 5621 multiparts.
"""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sipgram.errors import ParseError
from sipgram.payload import deflate, imdn, media_type, multipart
from sipgram.payload.cpim import Cpim
from sipgram.payload.media_type import MediaType

DEPTH_MAX: Final = 4
"""Wrappers within wrappers."""
SEALED: Final = frozenset(
    (
        "multipart/signed",
        "multipart/encrypted",
        "application/pkcs7-mime",
        "application/pgp-encrypted",
    )
)
"""What nobody but its recipient may open (D20)."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body without its wrappers."""

    content: bytes
    "The innermost: of a multipart all of it."
    content_type: str
    "Of the content, as it was written."
    text: str = ""
    "For people to read; empty when there is none."
    html: str = ""
    cpim: Cpim | None = None
    "The CPIM message that it came in."

    @classmethod
    def parse(cls, content: bytes, content_type: str, *, encoding: str = "") -> "Body":
        """Take the wrappers off.

        Raises:
            ParseError: a wrapper is malformed; 415 for an encoding that we do not know.
            TooLarge: something is over a limit.
        """
        return _parse(inflated(content, encoding), content_type, DEPTH_MAX)

    @property
    def name(self) -> str:
        """The type of the content, in lower case and without parameters."""
        return media_type.name_of(self.content_type.encode())

    @property
    def wishes(self) -> frozenset[str]:
        """Which receipts are asked for."""
        return frozenset() if self.cpim is None else imdn.wishes_of(self.cpim)

    @property
    def message_id(self) -> str:
        """The id that receipts name; empty when it has none."""
        return "" if self.cpim is None else imdn.message_id_of(self.cpim)

    @property
    def is_notice(self) -> bool:
        """Whether it is a receipt or tells of typing: never answered (D24)."""
        if self.name in (media_type.IMDN, media_type.TYPING):
            return True
        return self.cpim is not None and imdn.is_notice(self.cpim)


def inflated(content: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding.

    Raises:
        ParseError: 415 when we do not know it; 400 when it is malformed.
        TooLarge: too much would come out.
    """
    for coding in reversed([part.strip().lower() for part in encoding.split(",")]):
        if coding == "deflate":
            content = deflate.inflate(content)
        elif coding not in ("", "identity"):
            raise ParseError(f"content encoding is not known: {coding[:40]}", status=415)
    return content


def _parse(content: bytes, content_type: str, depth: int) -> Body:
    try:
        kind = MediaType.parse(content_type)
    except ParseError:
        return Body(content, content_type)  # Nobody knows what it is; it is there all the same.
    if kind.name == media_type.CPIM and depth:
        cpim = Cpim.parse(content)
        inner = cpim.content_header("content-type") or media_type.TEXT
        encoding = cpim.content_header("content-transfer-encoding")
        return replace(_parse(_decoded(cpim.content, encoding), inner, depth - 1), cpim=cpim)
    if kind.name.startswith("multipart/") and kind.name not in SEALED and depth:
        parts = multipart.parse(content, kind.parameters.get("boundary", ""))
        found = list(_parts(parts, depth - 1))
        text = next((body.text for body in found if body.text), "")
        html = next((body.html for body in found if body.html), "")
        cpim_of = next((body.cpim for body in found if body.cpim is not None), None)
        return Body(content, content_type, text, html, cpim_of)
    if kind.name == "text/html":
        return Body(content, content_type, "", kind.decode(content))
    return Body(content, content_type, kind.decode(content) if kind.is_text else "")


def _parts(parts: tuple[multipart.Part, ...], depth: int) -> Iterator[Body]:
    for part in parts:
        encoding = part.header("content-transfer-encoding")
        kind = part.header("content-type") or media_type.TEXT
        yield _parse(_decoded(part.body, encoding), kind, depth)


def _decoded(content: bytes, transfer_encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding; one that is malformed leaves the content as it is."""
    kind = transfer_encoding.strip().lower()
    try:
        if kind == "base64":
            return binascii.a2b_base64(content)
        if kind == "quoted-printable":
            return binascii.a2b_qp(content)
    except binascii.Error:
        return content
    return content
