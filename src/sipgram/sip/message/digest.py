"""Digest authentication, both sides (RFC 3261 §22, RFC 7616, RFC 8760; RFC 2069 is tolerated).

Pure. Nonces live in ``nonce.py``; who may do what is decided in ``services/auth``. Text
that is not UTF-8 keeps its bytes as surrogate escapes, so that it hashes as it came in.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sipgram.errors import ParseError, UsageError

if TYPE_CHECKING:
    from hashlib import _Hash

HASHES: dict[str, "Callable[[bytes], _Hash]"] = {
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data),
    "SHA-256": hashlib.sha256,
    "MD5": hashlib.md5,
}
"""Known algorithms, the strongest first (RFC 8760 §2.4)."""
if "sha512_256" not in hashlib.algorithms_available:  # pragma: no cover - an odd OpenSSL
    del HASHES["SHA-512-256"]

_LWS = r"[ \t\r\n]*+"
_NAME = r"[A-Za-z0-9!%*_+`'~.-]++"
_VALUE = r'(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^ \t\r\n",]++))'
# The last branch takes any byte that fits nothing: findall() then shows where it broke.
_PARAMETER = re.compile(rf"({_NAME}){_LWS}={_LWS}{_VALUE}{_LWS}(?:,[ \t\r\n,]*+|\Z)|(.)", re.DOTALL)
_SCHEME = re.compile(r"[ \t\r\n]*+([^ \t\r\n,]++)[ \t\r\n]++")
_CHALLENGE = re.compile(
    rf"({_NAME}){_LWS}={_LWS}{_VALUE}{_LWS}(?:,[ \t\r\n,]*+|\Z)"
    rf"|({_NAME})(?:[ \t\r\n]++|,[ \t\r\n,]*+|\Z)|(.)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r'(["\\])')
_REQUIRED = ("username", "realm", "nonce", "uri", "response")


class Credentials(NamedTuple):
    """What a peer answered to a challenge; quotes and escapes taken off.

    ``algorithm`` is in capitals and ``MD5`` when absent; ``qop``, ``nc``, ``cnonce`` and
    ``opaque`` are empty when absent. A tuple, not a dataclass: it is made for each
    authenticated request, and a frozen dataclass costs four times as much.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    qop: str
    nc: str
    cnonce: str
    opaque: str


class Challenge(NamedTuple):
    """One Digest challenge of a server; ``qop`` is empty for RFC 2069."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    opaque: str = ""
    stale: bool = False


def is_digest(value: bytes) -> bool:
    """Tell whether an Authorization value is of the Digest scheme; others are ignored (§22.1)."""
    return value[:6] == b"Digest" or value.lstrip()[:6].lower() == b"digest"


def parse_credentials(value: bytes) -> Credentials:
    """Parse what follows ``Authorization:`` or ``Proxy-Authorization:`` (RFC 3261 §25.1).

    Quoted and bare values are taken alike: finch quotes ``nc``. Raises ``ParseError``
    naming the parameter; the message never holds a value.
    """
    text = value.decode("utf-8", "surrogateescape")
    start = 7 if text.startswith("Digest ") else _after_scheme(text)
    fields: dict[str, str] = {}
    count = 0
    for name, quoted, token, bad in _PARAMETER.findall(text.rstrip(), start):
        if bad:
            last = next(reversed(fields), "the scheme")
            raise ParseError(f"Authorization is broken after {last}")
        fields[name.lower()] = token or quoted
        count += 1
    if len(fields) != count:
        raise ParseError("Authorization has a parameter twice")
    if "\\" in text:
        fields = {name: _ESCAPE.sub(r"\1", field) for name, field in fields.items()}
    return _credentials(fields)


def parse_challenges(values: Sequence[bytes]) -> list[Challenge]:
    """Parse WWW-Authenticate or Proxy-Authenticate values, in the order sent.

    Several challenges may share one value, although §7.3.1 forbids it; other schemes are
    left out. Raises ``ParseError`` for bytes that fit no grammar.
    """
    found: list[Challenge] = []
    for value in values:
        text = value.decode("utf-8", "surrogateescape").strip()
        fields: dict[str, str] = {}
        digest = False
        for name, quoted, token, scheme, bad in _CHALLENGE.findall(text):
            if bad:
                last = next(reversed(fields), "the scheme")
                raise ParseError(f"WWW-Authenticate is broken after {last}")
            if name:
                fields[name.lower()] = token or _ESCAPE.sub(r"\1", quoted)
                continue
            if digest:
                found.append(_challenge(fields))
            digest, fields = scheme.lower() == "digest", {}
        if digest:
            found.append(_challenge(fields))
    return found


def choose(challenges: Sequence[Challenge]) -> Challenge | None:
    """Return the strongest challenge that ``answer`` can answer, or None (RFC 8760 §2.4)."""
    for algorithm in HASHES:
        for challenge in challenges:
            if challenge.algorithm != algorithm:
                continue
            if not challenge.qop or "auth" in challenge.qop:
                return challenge
    return None


def ha1(username: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """Return H(username:realm:password) in lower-case hex: what a server may keep."""
    return _hash(algorithm)(_wire(f"{username}:{realm}:{password}")).hexdigest()


def expected_response(credentials: Credentials, method: bytes, ha1: str) -> str:
    """Return the ``response`` that the right password gives (RFC 7616 §3.4.1).

    ``qop`` is taken to be ``auth`` when there is one and RFC 2069 is computed when there is
    none. Raises ``UsageError`` for an algorithm that is not in ``HASHES``.
    """
    _, _, nonce, uri, _, algorithm, qop, nc, cnonce, _ = credentials
    digest = hashlib.md5 if algorithm == "MD5" else _hash(algorithm)
    ha2 = digest(method + b":" + uri.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}" if qop else f"{ha1}:{nonce}:{ha2}"
    return digest(text.encode("utf-8", "surrogateescape")).hexdigest()


def challenge_line(
    header: bytes, *, realm: str, nonce: str, algorithm: str = "MD5", stale: bool = False
) -> bytes:
    """Return a whole challenge header line without CRLF; qop is ``auth``.

    ``header`` is ``WWW-Authenticate`` or ``Proxy-Authenticate``.
    """
    text = f'Digest realm="{_quoted(realm)}", nonce="{nonce}", algorithm={algorithm}, qop="auth"'
    return header + b": " + _wire(text + (", stale=true" if stale else ""))


def answer(
    challenge: Challenge,
    *,
    method: bytes,
    uri: bytes,
    username: str,
    password: str,
    nc: int = 1,
    cnonce: str,
) -> bytes:
    """Return the Authorization value that answers ``challenge`` (RFC 3261 §22.2).

    ``nc`` counts the requests sent with this nonce, from 1. Raises ``UsageError`` for a
    challenge that ``choose`` would not have picked.
    """
    if challenge.qop and "auth" not in challenge.qop:
        raise UsageError(f"qop is not auth: {','.join(challenge.qop)}")
    text = uri.decode("utf-8", "surrogateescape")
    qop, count = ("auth", f"{nc:08x}") if challenge.qop else ("", "")
    realm, nonce, algorithm = challenge.realm, challenge.nonce, challenge.algorithm
    mine = Credentials(username, realm, nonce, text, "", algorithm, qop, count, cnonce, "")
    response = expected_response(mine, method, ha1(username, realm, password, algorithm))
    fields = (
        f'Digest username="{_quoted(username)}", realm="{_quoted(realm)}"'
        f', nonce="{_quoted(nonce)}", uri="{_quoted(text)}", response="{response}"'
        f", algorithm={algorithm}"
    )
    if qop:
        fields += f', qop=auth, nc={count}, cnonce="{_quoted(cnonce)}"'
    if challenge.opaque:
        fields += f', opaque="{_quoted(challenge.opaque)}"'
    return _wire(fields)


def _after_scheme(text: str) -> int:
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ParseError("Authorization has no parameters")
    if scheme[1].lower() != "digest":
        raise ParseError(f"Authorization scheme is not Digest: {scheme[1]}")
    return scheme.end()


def _credentials(fields: dict[str, str]) -> Credentials:
    get = fields.get
    try:
        found = Credentials(
            fields["username"],
            fields["realm"],
            fields["nonce"],
            fields["uri"],
            fields["response"],
            get("algorithm", "MD5").upper(),
            get("qop", ""),
            get("nc", ""),
            get("cnonce", ""),
            get("opaque", ""),
        )
    except KeyError:
        missing = next(name for name in _REQUIRED if name not in fields)
        raise ParseError(f"Authorization has no {missing}") from None
    if not found.response.isascii():
        raise ParseError("response of Authorization is not hexadecimal")
    if found.qop:
        _check_count(found)
    return found


def _check_count(found: Credentials) -> None:
    """Check what qop asks for: "MUST be specified if a qop directive is sent" (RFC 7616 §3.4)."""
    if not found.cnonce:
        raise ParseError("Authorization has qop but no cnonce")
    try:
        if not found.nc.isalnum() or len(found.nc) > 8:
            raise ValueError
        int(found.nc, 16)
    except ValueError:
        raise ParseError("nc of Authorization is not 8 hexadecimal digits") from None


def _challenge(fields: dict[str, str]) -> Challenge:
    for name in ("realm", "nonce"):
        if name not in fields:
            raise ParseError(f"WWW-Authenticate has no {name}")
    qop = fields.get("qop", "").lower().split(",")
    return Challenge(
        realm=fields["realm"],
        nonce=fields["nonce"],
        algorithm=fields.get("algorithm", "MD5").upper(),
        qop=tuple(option.strip() for option in qop if option.strip()),
        opaque=fields.get("opaque", ""),
        stale=fields.get("stale", "").lower() == "true",
    )


def _hash(algorithm: str) -> "Callable[[bytes], _Hash]":
    found = HASHES.get(algorithm)
    if found is None:
        raise UsageError(f"digest algorithm is not known: {algorithm}")
    return found


def _quoted(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _wire(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
