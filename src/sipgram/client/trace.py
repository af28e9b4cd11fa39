"""Messages as a trace may show them: without what would let a reader in (RFC 3261 §22)."""

import re
from typing import Final, TextIO

from sipgram.net.endpoint import Trace

_FIELD_RE: Final = re.compile(
    r"^((?:proxy-)?(?:authorization|authenticate)|www-authenticate|authentication-info)"
    r"([ \t]*:[ \t]*)(.*)$",
    re.IGNORECASE,
)
_SECRET_RE: Final = re.compile(
    r'\b(response|nonce|cnonce|nextnonce|opaque|rspauth)\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,]+)',
    re.IGNORECASE,
)
_FOLD_RE: Final = re.compile(r"\r\n[ \t]+")


def shown(data: bytes) -> str:
    """Return a message as lines for people: secrets masked, control characters replaced."""
    head, blank, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    lines = [_masked(line) for line in _FOLD_RE.sub(" ", head).split("\r\n")]
    if blank:
        lines += ["", *body.splitlines()]
    return "\n".join(printable(line) for line in lines)


def to_stream(out: TextIO) -> Trace:
    """Return a trace that writes to ``out``, each line with its sigil."""

    def write(sigil: str, data: bytes, flow: str) -> None:
        text = f"{flow}\n{shown(data)}\n"
        out.write("".join(f"{sigil} {line}\n" for line in text.splitlines()))
        out.flush()

    return write


def printable(text: str) -> str:
    """Return what a stranger wrote without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _masked(line: str) -> str:
    match = _FIELD_RE.match(line)
    if match is None:
        return line
    name, colon, value = match.groups()
    if not value.lower().startswith("digest ") and name.lower().endswith("authorization"):
        return f"{name}{colon}(masked)"
    return name + colon + _SECRET_RE.sub(r"\1=(masked)", value)
