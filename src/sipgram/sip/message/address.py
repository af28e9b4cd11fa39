"""name-addr and addr-spec, as From, To, Contact and Route carry them (RFC 3261 §20.10, §25)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from sipgram.errors import ParseError
from sipgram.sip.message.grammar import parameters, quote, shown, split_list, unquote

_QUOTED_RE = re.compile(rb'"((?:[^"\\]|\\.)*)"[ \t]*', re.DOTALL)
_DISPLAY_RE = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~ \t\x80-\xff]*")

_ABSOLUTE_URI_RE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"\x00-\x1f\x7f]+")
_USUAL_RE = re.compile(rb"<(sip:[A-Za-z0-9_.+\-@:]+)>")
_BARE_VALUE_RE = re.compile(rb'[^\s;,="<>]+')


class Address(NamedTuple):
    """A URI with the display name before it and the header parameters behind it."""

    uri: bytes
    "As it came, not yet parsed."
    display: bytes = b""
    "Without quotes and backslashes."
    params: Mapping[bytes, bytes | None] = MappingProxyType({})
    "Names in lower case."

    @classmethod
    def parse(cls, value: bytes, *, of: str = "address") -> "Address":
        """Read one address; ``of`` names the header for the error text.

        §20.10: "Even if the display-name is empty, the name-addr form MUST be used if the
        addr-spec contains a comma, semicolon, or question mark", so what follows a semicolon
        outside brackets belongs to the header.

        Raises:
            ParseError: status 400, saying what is wrong.
        """
        usual = _USUAL_RE.fullmatch(value)
        if usual is not None:
            return cls(usual[1])
        quoted = _QUOTED_RE.match(value)
        rest = value[quoted.end() :] if quoted else value
        display, opening, tail = rest.partition(b"<")
        if not opening:
            if quoted:
                raise ParseError(f"{of} has a display name without <URI>: {shown(value)}")
            return cls._without_brackets(value, of)
        uri, closing, params = tail.partition(b">")
        if not closing:
            raise ParseError(f"{of} lacks the closing bracket: {shown(value)}")
        if quoted:
            if display.strip():
                raise ParseError(f"{of} has text between display name and <URI>: {shown(value)}")
            display = unquote(b'"' + quoted[1] + b'"')
        elif not _DISPLAY_RE.fullmatch(display):
            raise ParseError(f"{of} has a display name that needs quotes: {shown(display)}")
        if not _ABSOLUTE_URI_RE.fullmatch(uri):
            raise ParseError(f"{of} has a malformed URI: {shown(uri)}")
        return cls(uri=uri, display=display.strip(b" \t"), params=parameters(params, of=of))

    @classmethod
    def _without_brackets(cls, value: bytes, of: str) -> "Address":
        uri, semicolon, params = value.partition(b";")
        uri = uri.strip(b" \t")
        if not _ABSOLUTE_URI_RE.fullmatch(uri):
            raise ParseError(f"{of} is malformed: {shown(value)}")
        if b"?" in uri or b"," in uri:
            raise ParseError(f"{of} has a URI that needs brackets: {shown(uri)}")
        return cls(uri=uri, params=parameters(semicolon + params, of=of))

    def __bytes__(self) -> bytes:
        display = quote(self.display) + b" " if self.display else b""
        params = b"".join(
            b";" + n + (b"" if v is None else b"=" + _written(v)) for n, v in self.params.items()
        )
        return display + b"<" + self.uri + b">" + params

    @property
    def tag(self) -> bytes:
        """The tag parameter, empty when there is none."""
        return self.params.get(b"tag") or b""


def _written(value: bytes) -> bytes:
    return value if _BARE_VALUE_RE.fullmatch(value) else quote(value)


def parse_list(values: list[bytes], *, of: str) -> list[Address]:
    """Read all addresses of a header that may stand several times and hold comma lists.

    Raises:
        ParseError: status 400, saying what is wrong.
    """
    return [Address.parse(part, of=of) for value in values for part in split_list(value)]
