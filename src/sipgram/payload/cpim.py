"""The Common Presence and Instant Messaging format (RFC 3862)."""

import re
from dataclasses import dataclass
from typing import Final

from sipgram.errors import ParseError, TooLarge, UsageError
from sipgram.payload.media_type import MediaType
from sipgram.payload.multipart import read_headers, split_head

HEADERS_MAX: Final = 64
HEAD_BYTES_MAX: Final = 16_384

_NAME_RE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-^_`|~]+(?:\.[A-Za-z0-9!#$%&'*+\-^_`|~]+)*")
_HEADER_RE: Final = re.compile(r"([^\s:;]+):((?:;[^\s;]+)*)(?: (.*)|[ \t]*)", re.DOTALL)
_NS_RE: Final = re.compile(r"(?:([A-Za-z0-9!#$%&'*+\-^_`|~]+)[ \t]*)?<([^<>]*)>")
_PARTY_RE: Final = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^<]*?))[ \t]*<([^<>]*)>[ \t]*', re.DOTALL)
_ESCAPE_RE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_MEANINGS: Final = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_WRITTEN: Final = {"\\": r"\\", "\b": r"\b", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_TO_ESCAPE_RE: Final = re.compile(r"[\\\x00-\x1f\x7f]")
_LINE_RE: Final = re.compile(r"\r?\n")


@dataclass(frozen=True, slots=True)
class Party:
    """Who sends or gets a message: a URI and a formal name."""

    uri: str
    name: str = ""

    @classmethod
    def parse(cls, value: str) -> "Party":
        """Read ``Name <uri>``.

        Raises:
            ParseError: there is no URI in angle brackets.
        """
        match = _PARTY_RE.fullmatch(value.strip())
        if match is None:
            raise ParseError(f"CPIM address has no <URI>: {value[:60]!r}")
        quoted, bare, uri = match.groups()
        name = (bare or "").strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        return cls(uri.strip(), name)

    def __str__(self) -> str:
        if not self.name:
            return f"<{self.uri}>"
        name = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{name}" <{self.uri}>'


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an extension, or one that we do not act on."""

    name: str
    "Without its prefix."
    value: str
    namespace: str = ""
    "The URI that its prefix stands for; empty for one of RFC 3862's own."


@dataclass(frozen=True, slots=True)
class Cpim:
    """One CPIM message: what it says of itself, and the content with its MIME headers."""

    content: bytes
    content_headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain;charset=UTF-8"),)
    sender: Party | None = None
    to: tuple[Party, ...] = ()
    cc: tuple[Party, ...] = ()
    date_time: str = ""
    "RFC 3339, as it came."
    subject: str = ""
    headers: tuple[Header, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> "Cpim":
        """Read a body of type message/cpim.

        Raises:
            ParseError: it is malformed.
            TooLarge: it has too many headers.
        """
        head, rest = split_head(data)
        if re.match(rb"(?i)content-type[ \t]*:[ \t]*message/cpim", head):
            head, rest = split_head(rest)  # As the examples of RFC 3862 show it.
        found = _Headers(_lines(head))
        mime, content = split_head(rest)
        content_headers = read_headers(mime)
        if not rest:
            raise ParseError("CPIM message has no content")
        return cls(
            content=content,
            content_headers=content_headers,
            sender=found.sender,
            to=tuple(found.to),
            cc=tuple(found.cc),
            date_time=found.date_time,
            subject=found.subject,
            headers=tuple(found.others),
        )

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a URI or a MIME header would break its line.
        """
        lines = [] if self.sender is None else [f"From: {_escaped(str(self.sender))}"]
        lines += [f"To: {_escaped(str(party))}" for party in self.to]
        lines += [f"cc: {_escaped(str(party))}" for party in self.cc]
        if self.date_time:
            lines.append(f"DateTime: {_escaped(self.date_time)}")
        if self.subject:
            lines.append(f"Subject: {_escaped(self.subject)}")
        prefixes: dict[str, str] = {"": ""}
        for header in self.headers:
            if header.namespace not in prefixes:
                prefix = header.namespace.rpartition(":")[2]
                if (
                    not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-]*", prefix)
                    or prefix in prefixes.values()
                ):
                    prefix = f"n{len(prefixes)}"
                prefixes[header.namespace] = prefix
                lines.append(f"NS: {prefix} <{_escaped(header.namespace)}>")
            prefix = prefixes[header.namespace]
            name = f"{prefix}.{header.name}" if prefix else header.name
            if not _NAME_RE.fullmatch(name):
                raise UsageError(f"CPIM header has a malformed name: {name!r}")
            lines.append(f"{name}: {_escaped(header.value)}")
        mime = [f"{name}: {value}" for name, value in self.content_headers]
        if any("\r" in line or "\n" in line for line in mime):
            raise UsageError("MIME header holds CR or LF")
        head = "\r\n".join([*lines, "", *mime, "", ""])
        return head.encode("utf-8", "replace") + self.content

    @property
    def media_type(self) -> MediaType:
        """The type of the content; text when it names none.

        Raises:
            ParseError: it is malformed.
        """
        return MediaType.parse(self.content_header("content-type") or "text/plain")

    def content_header(self, name: str) -> str:
        """Return a MIME header of the content, whatever its case; empty without one."""
        lower = name.lower()
        return next((v for key, v in self.content_headers if key.lower() == lower), "")

    def header(self, name: str, namespace: str = "") -> str:
        """Return the first value of an extension's header; empty without one."""
        for header in self.headers:
            if header.namespace == namespace and header.name.lower() == name.lower():
                return header.value
        return ""


class _Headers:
    """What the header lines say, taken in their order: a prefix holds from its NS on (§3.4)."""

    def __init__(self, lines: list[str]) -> None:
        self.sender: Party | None = None
        self.to: list[Party] = []
        self.cc: list[Party] = []
        self.date_time = self.subject = ""
        self.others: list[Header] = []
        self._prefixes: dict[str, str] = {}
        for line in lines:
            match = _HEADER_RE.fullmatch(line)
            if match is None:
                raise ParseError(f"CPIM header is malformed: {line[:60]!r}")
            self._take(match[1], _unescaped(match[3] or ""))

    def _take(self, name: str, value: str) -> None:
        match name.lower():
            case "from":
                self.sender = Party.parse(value)
            case "to":
                self.to.append(Party.parse(value))
            case "cc":
                self.cc.append(Party.parse(value))
            case "datetime":
                self.date_time = value.strip()
            case "subject":
                self.subject = self.subject or value
            case "ns":
                self._declare(value)
            case _:
                prefix, dot, local = name.partition(".")
                if dot and prefix in self._prefixes:
                    self.others.append(Header(local, value, self._prefixes[prefix]))
                else:
                    self.others.append(Header(name, value, self._prefixes.get("", "")))

    def _declare(self, value: str) -> None:
        match = _NS_RE.fullmatch(value.strip())
        if match is None:
            raise ParseError(f"CPIM namespace is malformed: {value[:60]!r}")
        self._prefixes[match[1] or ""] = match[2].strip()


def _lines(head: bytes) -> list[str]:
    if len(head) > HEAD_BYTES_MAX:
        raise TooLarge(f"CPIM has over {HEAD_BYTES_MAX} bytes of headers")
    lines = [line for line in _LINE_RE.split(head.decode("utf-8", "replace")) if line]
    if len(lines) > HEADERS_MAX:
        raise TooLarge(f"CPIM has over {HEADERS_MAX} headers")
    return lines


def _unescaped(value: str) -> str:
    """Resolve escapes (§2.3.2); an unknown one stands for the character behind it."""
    if "\\" not in value:
        return value
    return _ESCAPE_RE.sub(_meaning, value)


def _meaning(match: re.Match[str]) -> str:
    text = match[1]
    if len(text) == 5:
        code = int(text[1:], 16)
        return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)
    return _MEANINGS.get(text, text)


def _escaped(value: str) -> str:
    return _TO_ESCAPE_RE.sub(lambda m: _WRITTEN.get(m[0], f"\\u{ord(m[0]):04x}"), value)
