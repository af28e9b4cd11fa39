"""Media types, and text in the charset that one names (RFC 2045 §5.1, RFC 3261 §20.15)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sipgram.errors import ParseError

TEXT: Final = "text/plain"
CPIM: Final = "message/cpim"
IMDN: Final = "message/imdn+xml"
TYPING: Final = "application/im-iscomposing+xml"
RESOURCE_LISTS: Final = "application/resource-lists+xml"

_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]+"
_TYPE_RE: Final = re.compile(rf"\s*({_TOKEN})\s*/\s*({_TOKEN})\s*")
_PARAMETER_RE: Final = re.compile(
    rf'\s*;\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*', re.DOTALL
)
_CHARSET_RE: Final = re.compile(
    r"(?:utf|iso|us-ascii|windows|koi8|gb|big5|shift|euc)[\w\-]*", re.IGNORECASE | re.ASCII
)
"""Families of charsets; Python knows codecs besides that are no charsets and slow."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """``type/subtype`` in lower case, and its parameters by lower-cased name."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: str) -> "MediaType":
        """Read a Content-Type value; parameters that are malformed are left out.

        Raises:
            ParseError: it names no type.
        """
        match = _TYPE_RE.match(value)
        if match is None:
            raise ParseError(f"media type is malformed: {value[:60]!r}", status=415)
        found: dict[str, str] = {}
        at = match.end()
        while parameter := _PARAMETER_RE.match(value, at):
            name, quoted, bare = parameter.groups()
            text = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
            found.setdefault(name.lower(), text)
            at = parameter.end()
        return cls(f"{match[1]}/{match[2]}".lower(), found)

    @property
    def is_text(self) -> bool:
        """Whether it is for people to read."""
        return self.name.startswith("text/")

    def decode(self, body: bytes) -> str:
        """Return a text; "the default is UTF-8" in SIP (RFC 3261 §7.4.1)."""
        charset = self.parameters.get("charset", "utf-8")
        try:
            known = charset if _CHARSET_RE.fullmatch(charset) else "utf-8"
            return body.decode(known, "replace")
        except LookupError:  # A charset that Python does not know.
            return body.decode("utf-8", "replace")


def name_of(value: bytes | None) -> str:
    """Return the lower-cased name in a Content-Type value, and no more; quick."""
    if value is None:
        return ""
    return value.partition(b";")[0].strip().lower().decode("ascii", "replace")
