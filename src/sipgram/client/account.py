"""Whose client it is: AoR and password, and what follows from them (RFC 3261 §19.1, §8.1.1)."""

import re
from dataclasses import dataclass
from typing import Final

from sipgram.errors import ParseError, UsageError
from sipgram.net.endpoint import Address
from sipgram.sip.message.uri import Aor, SipUri

_SCHEME_RE: Final = re.compile(rb"(?:sips?|tel|im|pres):", re.IGNORECASE)
_TO_ESCAPE_RE: Final = re.compile(rb"[^A-Za-z0-9\-_.!~*'()&=+$,;?/%]")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its owner knows it; everything else is inferred."""

    uri: bytes
    "The AoR as a URI, escapes and all."
    aor: Aor
    password: str | None
    server: Address
    "Where requests go."

    @classmethod
    def parse(
        cls, aor: str, *, password: str | None = None, server: str | None = None
    ) -> "Account":
        """Read ``sip:alice@example.com`` (the scheme may be left out) and ``udp:HOST:PORT``.

        Without ``server`` the AoR's domain is asked, over UDP on port 5060; SRV and NAPTR
        records (RFC 3263) are not looked at yet.

        Raises:
            UsageError: the AoR is not a sip URI with a user.
            SettingsError: the server is not TRANSPORT:HOST:PORT.
        """
        text = with_scheme(aor)
        try:
            uri = SipUri.parse(text)
        except ParseError as error:
            raise UsageError(f"account is not sip:USER@DOMAIN: {aor!r} ({error})") from error
        if uri.scheme != b"sip" or not uri.user:
            raise UsageError(f"account is not sip:USER@DOMAIN: {aor!r}")
        if server is None:
            where = Address("udp", uri.host.decode().strip("[]"), uri.port or 5060)
        else:
            where = Address.parse(server)
        return cls(b"sip:%b@%b" % (uri.user, uri.host), Aor.parse(text), password, where)

    @property
    def user(self) -> bytes:
        """The user part as it stands in the URI."""
        return self.uri[4:].rpartition(b"@")[0]

    @property
    def domain(self) -> bytes:
        """The domain; an IPv6 address has its brackets."""
        return self.uri.rpartition(b"@")[2]

    def complete(self, to: str) -> bytes:
        """Return the URI that ``to`` means: ``bob`` is bob of this account's domain.

        Raises:
            UsageError: it is no address.
        """
        text = with_scheme(to, domain=self.domain)
        try:
            Aor.parse(text)
        except ParseError as error:
            raise UsageError(f"address is not one that SIP knows: {to!r} ({error})") from error
        return text


def with_scheme(text: str, *, domain: bytes = b"") -> bytes:
    """Return a URI for an address as people write it: scheme added, odd characters escaped."""
    written = text.encode("utf-8", "surrogateescape")
    if _SCHEME_RE.match(written):
        return written
    user, _, host = written.rpartition(b"@") if b"@" in written else (written, b"", domain)
    name = _TO_ESCAPE_RE.sub(lambda match: b"%%%02X" % match[0][0], user)
    return b"sip:%b@%b" % (name, host)
