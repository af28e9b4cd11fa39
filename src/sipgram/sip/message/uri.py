"""SIP, SIPS and tel URIs, and the address of record (RFC 3261 §19.1, RFC 3966, DELIVERY.md D4)."""

import re
from typing import NamedTuple

from sipgram.errors import ParseError
from sipgram.sip.message.grammar import escape_user, shown, unescape

_HOST = rb"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9\-_.]*[A-Za-z0-9.])?"
_URI_RE = re.compile(
    rb"(?P<scheme>sips?):"
    rb"(?:(?P<user>(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2})+)"
    rb"(?::(?P<password>(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*))?@)?"
    rb"(?P<host>" + _HOST + rb")"
    rb"(?::(?P<port>[0-9]{1,5}))?"
    rb"(?P<params>(?:;[^;?<>\s\"]+)*)"
    rb"(?:\?(?P<headers>[^\s<>\"]*))?",
    re.IGNORECASE,
)
_TEL_RE = re.compile(
    rb"tel:(?P<number>\+?[0-9A-Fa-f*#\-.()]+)(?P<params>(?:;[^;\s<>]+)*)", re.IGNORECASE
)
_VISUAL_SEPARATORS = re.compile(rb"[\-.()]")
_USUAL_URI_RE = re.compile(
    rb"sip:([A-Za-z0-9_.+\-]+)@([a-z0-9](?:[a-z0-9\-.]*[a-z0-9])?)(?::([1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
)
_USUAL_AOR_RE = re.compile(rb"sip:([A-Za-z0-9_.+\-]+)@((?:[a-z0-9\-]+\.)*[a-z0-9\-]*[a-z])")
_SCHEME_RE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):")

_SIGNIFICANT = frozenset((b"user", b"ttl", b"method", b"maddr", b"transport"))
"""Parameters that must be equal when either URI has one (RFC 3261 §19.1.4)."""


class SipUri(NamedTuple):
    """A ``sip:`` or ``sips:`` URI; the parts are bytes as they came, escapes and all."""

    scheme: bytes
    user: bytes | None
    password: bytes | None
    host: bytes
    port: int | None
    params: tuple[tuple[bytes, bytes | None], ...]
    headers: bytes | None

    @classmethod
    def parse(cls, text: bytes) -> "SipUri":
        """Read a URI.

        Raises:
            ParseError: status 416 for another scheme, else 400.
        """
        usual = cls.usual(text)
        if usual is not None:
            return usual
        match = _URI_RE.fullmatch(text)
        if match is None:
            scheme = _SCHEME_RE.match(text)
            if scheme is not None and scheme[1].lower() not in (b"sip", b"sips"):
                raise ParseError(f"URI scheme is not supported: {shown(scheme[1])}", status=416)
            raise ParseError(f"URI is malformed: {shown(text)}")
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise ParseError(f"URI has a port out of range: {port}")
        return cls(
            scheme=match["scheme"].lower(),
            user=match["user"],
            password=match["password"],
            host=match["host"].lower(),
            port=port,
            params=_pairs(match["params"]),
            headers=match["headers"],
        )

    @classmethod
    def usual(cls, text: bytes) -> "SipUri | None":
        """Read ``sip:user@host:port`` or the same without port, None when it is another form."""
        found = _USUAL_URI_RE.fullmatch(text)
        if found is None:
            return None
        user, host, port = found.groups()
        return cls(b"sip", user, None, host, None if port is None else int(port), (), None)

    def __bytes__(self) -> bytes:
        userinfo = b""
        if self.user is not None:
            secret = b"" if self.password is None else b":" + self.password
            userinfo = self.user + secret + b"@"
        port = b"" if self.port is None else b":%d" % self.port
        params = b"".join(b";" + n + (b"" if v is None else b"=" + v) for n, v in self.params)
        headers = b"" if self.headers is None else b"?" + self.headers
        return self.scheme + b":" + userinfo + self.host + port + params + headers

    def __str__(self) -> str:
        return bytes(self).decode("utf-8", "replace")

    def param(self, name: bytes) -> bytes | None:
        """Return the parameter's value, empty when it has none, None when it is absent."""
        for key, value in self.params:
            if unescape(key).lower() == name:
                return b"" if value is None else value
        return None

    def is_equivalent(self, other: "SipUri") -> bool:
        """Compare as §19.1.4 says: escapes resolved, host without case, some parameters."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        if _resolved(self.user) != _resolved(other.user):
            return False
        if _resolved(self.password) != _resolved(other.password):
            return False
        mine, theirs = _comparable(self.params), _comparable(other.params)
        if any(mine.get(n) != theirs.get(n) for n in _SIGNIFICANT):
            return False
        if any(mine[n] != theirs[n] for n in mine.keys() & theirs.keys()):
            return False
        return _header_set(self.headers) == _header_set(other.headers)


class Aor(NamedTuple):
    """An address of record: the name that messages are sent to and stored under (D4)."""

    user: str
    "Unescaped, case kept; a telephone number in E.164 form with its plus."
    domain: str
    "Lower case; empty for a global telephone number, which belongs to no domain."

    @classmethod
    def parse(cls, uri: bytes) -> "Aor":
        """Reduce a sip:, sips:, im:, pres: or tel: URI to its AoR.

        Raises:
            ParseError: 416 for another scheme, 400 for a malformed URI.
        """
        usual = _USUAL_AOR_RE.fullmatch(uri)
        if usual is not None:
            user, domain = usual.groups()
            return cls(user.decode(), domain.decode())
        lower = uri[:5].lower()
        if lower.startswith(b"tel:"):
            return cls(_e164(uri), "")
        if lower.startswith(b"im:"):  # RFC 3861: the same user and domain, another protocol.
            uri = b"sip:" + uri[3:]
        elif lower.startswith(b"pres:"):
            uri = b"sip:" + uri[5:]
        sip = SipUri.parse(uri)
        user = b"" if sip.user is None else unescape(sip.user)
        if (sip.param(b"user") or b"").lower() == b"phone":
            user = _VISUAL_SEPARATORS.sub(b"", user.partition(b";")[0])
        return cls(user.decode("utf-8", "surrogateescape"), sip.host.decode("ascii").rstrip("."))

    def __str__(self) -> str:
        if not self.domain:
            return f"tel:{self.user}"
        return f"sip:{escape_user(self.user)}@{self.domain}" if self.user else f"sip:{self.domain}"


def is_sips(uri: bytes) -> bool:
    """Say whether only TLS will do for a request to ``uri`` (RFC 3261 §26.2.2)."""
    return uri[:5].lower() == b"sips:"


def _e164(uri: bytes) -> str:
    match = _TEL_RE.fullmatch(uri)
    if match is None:
        raise ParseError(f"tel URI is malformed: {shown(uri)}")
    return _VISUAL_SEPARATORS.sub(b"", match["number"]).decode("ascii")


def _pairs(text: bytes) -> tuple[tuple[bytes, bytes | None], ...]:
    if not text:
        return ()
    pairs: list[tuple[bytes, bytes | None]] = []
    for part in text[1:].split(b";"):
        name, equals, value = part.partition(b"=")
        pairs.append((name.lower(), value if equals else None))
    return tuple(pairs)


def _resolved(text: bytes | None) -> bytes | None:
    return None if text is None else unescape(text)


def _comparable(params: tuple[tuple[bytes, bytes | None], ...]) -> dict[bytes, bytes]:
    return {unescape(name).lower(): unescape(value or b"").lower() for name, value in params}


def _header_set(headers: bytes | None) -> frozenset[bytes]:
    return frozenset(unescape(headers).split(b"&")) if headers else frozenset()
