"""The few productions that every header shares (RFC 3261 §25)."""

import re

from sipgram.errors import ParseError

TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]+"
_TOKEN_RE = re.compile(TOKEN)
_PARAMETER_RE = re.compile(
    rb"[ \t]*;[ \t]*(?P<name>" + TOKEN + rb")"
    rb'(?:[ \t]*=[ \t]*(?P<value>"(?:[^"\\]|\\.)*"|[^\s;,="<>]+))?[ \t]*',
    re.DOTALL,
)
_ESCAPE_RE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSAFE_IN_USER_RE = re.compile(rb"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]")
PARAMETERS_MAX = 64
"""More parameters than this on one header value are refused."""


def is_token(text: bytes) -> bool:
    """Say whether ``text`` is one token."""
    return _TOKEN_RE.fullmatch(text) is not None


def unfold(value: bytes) -> bytes:
    """Turn each line fold into one space and trim the ends (§7.3.1)."""
    if b"\n" in value or b"\r" in value:
        value = b" ".join(part.strip(b" \t") for part in re.split(rb"\r?\n", value))
    return value.strip(b" \t")


def split_list(value: bytes) -> list[bytes]:
    """Split a comma list, leaving commas inside quotes and angle brackets alone (§7.3.1)."""
    if b"," not in value:
        return [value]
    if b'"' not in value and b"<" not in value:
        return [part.strip(b" \t") for part in value.split(b",")]
    parts = []
    start = 0
    quoted = bracketed = False
    at = 0
    while at < len(value):
        octet = value[at]
        if quoted:
            if octet == 0x5C:  # A backslash takes the next octet with it.
                at += 1
            elif octet == 0x22:
                quoted = False
        elif octet == 0x22:
            quoted = True
        elif octet == 0x3C:
            bracketed = True
        elif octet == 0x3E:
            bracketed = False
        elif octet == 0x2C and not bracketed:
            parts.append(value[start:at].strip(b" \t"))
            start = at + 1
        at += 1
    parts.append(value[start:].strip(b" \t"))
    return parts


def parameters(text: bytes, *, of: str) -> dict[bytes, bytes | None]:
    """Parse ``;name=value`` pairs into a dict with lower-cased names.

    Quotes are kept off the values. ``of`` names the header for the error text.

    Raises:
        ParseError: if anything but parameters is there.
    """
    found: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER_RE.match(text, at)
        if match is None:
            raise ParseError(f"{of} has a malformed parameter: {shown(text[at:])}")
        value = match["value"]
        if value is not None and value.startswith(b'"'):
            value = unquote(value)
        name = match["name"].lower()
        if name in found:
            raise ParseError(f"{of} has the parameter {shown(name)} twice")
        found[name] = value
        if len(found) > PARAMETERS_MAX:
            raise ParseError(f"{of} has more than {PARAMETERS_MAX} parameters")
        at = match.end()
    return found


def unquote(text: bytes) -> bytes:
    """Take the quotes and backslashes off a quoted-string."""
    return re.sub(rb"\\(.)", rb"\1", text[1:-1], flags=re.DOTALL)


def quote(text: bytes) -> bytes:
    """Make a quoted-string of ``text``."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def unescape(text: bytes) -> bytes:
    """Resolve ``%HH`` escapes; what is no escape stays as it is."""
    if b"%" not in text:
        return text
    return _ESCAPE_RE.sub(lambda match: bytes((int(match[1], 16),)), text)


def escape_user(text: str) -> str:
    """Escape what the user part of a URI may not hold (§25.1, ``user``)."""
    if text.isascii() and text.isalnum():
        return text
    return _UNSAFE_IN_USER_RE.sub(
        lambda match: f"%{match[0][0]:02X}".encode(), text.encode("utf-8", "surrogateescape")
    ).decode()


def shown(value: bytes) -> str:
    """Return ``value`` as an error text may show it: printable, at most 40 characters."""
    text = value.decode("utf-8", "replace")
    text = "".join(c if c.isprintable() else "?" for c in text[:41])
    return text[:40] + "…" if len(text) > 40 else text
