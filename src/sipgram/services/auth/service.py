"""Digest authentication of requests, without I/O and without state per challenge (D3)."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sipgram.errors import UsageError
from sipgram.services.auth.store import Account, Accounts
from sipgram.sip.message import digest
from sipgram.sip.message.nonce import NonceMint
from sipgram.sip.message.parser import parse_credentials


@dataclass(frozen=True, slots=True)
class Denied:
    """No account: challenge it. ``stale`` says that the password was right (RFC 7616 §3.3)."""

    realm: str
    proxy: bool
    stale: bool


class Authenticator:
    """Checks credentials and makes challenges (RFC 3261 §22.1, §22.2).

    ``algorithms`` is what is offered and accepted, in the order of the header lines: MD5
    alone, because no order of two suits every phone (INTEROP.md 2b).
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        mint: NonceMint,
        decoy: bytes,
        algorithms: Sequence[str] = ("MD5",),
    ) -> None:
        unknown = set(algorithms) - {"MD5", "SHA-256"}
        if unknown or not algorithms:
            raise UsageError(f"algorithms are not of MD5 and SHA-256: {sorted(unknown)}")
        self._accounts = accounts
        self._mint = mint
        self._algorithms = tuple(algorithms)
        # Compared with when nobody is called so: nobody knows a password with this hash.
        self._decoys = {
            algorithm: digest.HASHES[algorithm](decoy).hexdigest() for algorithm in algorithms
        }

    def check(
        self, *, method: bytes, credentials: Sequence[bytes], realm: str, now: float, proxy: bool
    ) -> Account | Denied:
        """Tell who sent a request, or that it must be challenged.

        ``credentials`` are the values of its Authorization headers, of its
        Proxy-Authorization headers when ``proxy``. Those for another realm, scheme or
        algorithm are somebody else's and passed over. An unknown user and a wrong password
        do the same work and get the same answer. Raises ``ParseError`` for broken ones.
        """
        stale = False
        for value in credentials:
            if not digest.is_digest(value):
                continue
            fields = parse_credentials(value)
            if fields.realm != realm or fields.algorithm not in self._decoys:
                continue
            account = self._right(fields, method)
            if account is None:
                continue
            # Without qop there is no count (RFC 2069): accepted while the nonce is young.
            nc = int(fields.nc, 16) if fields.qop else None
            if self._mint.take(fields.nonce, nc, now):
                return account
            stale = True
        return Denied(realm, proxy, stale)

    def challenge_lines(
        self, realm: str, *, proxy: bool, stale: bool, now: float
    ) -> tuple[bytes, ...]:
        """Return the header lines of a 401, or 407 when ``proxy``, without CRLF.

        All share one nonce: finch answers the second with the nonce of the first.
        """
        header = b"Proxy-Authenticate" if proxy else b"WWW-Authenticate"
        nonce = self._mint.issue(now)
        return tuple(
            digest.challenge_line(
                header, realm=realm, nonce=nonce, algorithm=algorithm, stale=stale
            )
            for algorithm in self._algorithms
        )

    def _right(self, fields: digest.Credentials, method: bytes) -> Account | None:
        if fields.qop not in ("", "auth"):
            return None  # Never offered.
        found = self._accounts.ha1_of(fields.username, fields.realm, fields.algorithm)
        account, ha1 = found or (None, self._decoys[fields.algorithm])
        # The URI is the one in the credentials, not compared with the request's: a proxy on
        # the way may have changed that (RFC 3261 §22.4 item 3 against RFC 7616 §3.4.6), and a
        # captured answer is stopped by its nonce count instead.
        expected = digest.expected_response(fields, method, ha1)
        return account if hmac.compare_digest(expected, fields.response) else None
