"""What every request must pass before a service sees it (RFC 3261 §8.2, §16.3; DELIVERY.md D1-D3)."""

import ipaddress
from collections.abc import Iterable
from typing import Final

from sipgram.errors import Refusal
from sipgram.identity import AccountId
from sipgram.server.routes import AS_UAS
from sipgram.services.auth.service import Authenticator, Denied
from sipgram.services.auth.store import Account, Accounts
from sipgram.services.registrar.location import Locations
from sipgram.services.registrar.outbound import UNDERSTOOD
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import shown, split_list
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.uri import Aor
from sipgram.sip.sink import Flow, is_websocket

PARTIES_MAX: Final = 65_536
"""From URIs whose account is remembered; beyond that all are looked up again."""
PARTY_BYTES_MAX: Final = 256
"""A longer one is looked up each time: nobody has proved anything yet."""
SCHEMES: Final = (b"sip:", b"sips:", b"tel:", b"im:", b"pres:")
ANONYMOUS: Final = "anonymous.invalid"


def check_routing(request: Message) -> None:
    """Refuse what no element could route: scheme, extensions (§16.3 steps 2 and 5)."""
    uri = request.uri
    if not uri.startswith(b"sip:") and not uri.lower().startswith(SCHEMES):
        raise Refusal(416, f"Unsupported URI Scheme: {shown(uri.partition(b':')[0])}")
    if request.has(b"proxy-require"):
        _refuse_extensions(request, b"proxy-require")


def check_for_us(request: Message) -> None:
    """Refuse what we, as the last to see the request, do not understand (§8.2.2.3, §8.2.3)."""
    if request.has(b"require"):
        known = UNDERSTOOD if request.method == b"REGISTER" else frozenset[bytes]()
        _refuse_extensions(request, b"require", known)
    if request.method in (b"SUBSCRIBE", b"PUBLISH"):
        return  # Their packages know what bodies they take.
    kind = request.value(b"content-type")
    if kind and request.body and not kind.lower().startswith(b"application/sdp"):
        raise Refusal(415, f"Unsupported Media Type: {shown(kind)}", (b"Accept: application/sdp",))


def _refuse_extensions(
    request: Message, header: bytes, known: frozenset[bytes] = frozenset()
) -> None:
    tags = [tag for value in request.values(header) for tag in split_list(value) if tag]
    tags = [tag for tag in tags if tag.lower() not in known]
    if tags:
        line = b"Unsupported: " + b", ".join(tags)
        raise Refusal(420, f"Bad Extension: {shown(b', '.join(tags))}", (line,))


class Peers:
    """The addresses that need no digest."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self.networks = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def is_trusted(self, flow: Flow) -> bool:
        """Say whether requests from there are believed."""
        if not self.networks:
            return False
        address = ipaddress.ip_address(flow.host.decode("ascii"))
        return any(address in network for network in self.networks)


class Gate:
    """Finds out who sent a request, and that the sender writes as itself (D2, D3)."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        accounts: Accounts,
        locations: Locations,
        peers: Peers,
    ) -> None:
        self._authenticator = authenticator
        self._accounts = accounts
        self._locations = locations
        self._peers = peers
        self._parties: dict[bytes, tuple[str, Account | None]] = {}

    def admit(self, request: Message, flow: Flow, now: float) -> AccountId | None:
        """Return the sender's account; None for a peer that is trusted.

        Raises:
            Refusal: 401 or 407 with a challenge, 403 when From is not the account's.
        """
        if self._peers.networks and self._peers.is_trusted(flow):
            return None
        registering = request.method == b"REGISTER"
        proxy = request.method not in AS_UAS
        party = request.to_uri if registering else request.from_uri
        known = self._parties.get(party)
        realm, claimed = known if known is not None else self._look_up(party, request)
        name = b"proxy-authorization" if proxy else b"authorization"
        found = self._authenticator.check(
            method=request.method,
            credentials=request.values(name),
            realm=realm,
            now=now,
            proxy=proxy,
        )
        if isinstance(found, Denied):
            lines = self._authenticator.challenge_lines(
                realm, proxy=proxy, stale=found.stale, now=now
            )
            if is_websocket(flow):
                # JsSIP and SIP.js read the first challenge and know only MD5.
                lines = tuple(sorted(lines, key=lambda line: b"SHA-256" in line))
            raise Refusal(407 if proxy else 401, "", lines)
        if claimed is None or claimed.id != found.id:
            raise Refusal(403, f"{'To' if registering else 'From'} Is Not Yours: {shown(party)}")
        return found.id

    def forget(self) -> None:
        """Accounts have changed."""
        self._parties.clear()

    def credentials(self, request: Message) -> tuple[Cut, ...]:
        """Return the lines of Proxy-Authorization that were for us, to be left out (D3)."""
        spans = request.spans(b"proxy-authorization")
        if len(spans) == 1:
            start, end = spans[0]
            return ((start, end, b""),)
        return tuple(
            (*span, b"")
            for span, value in zip(spans, request.values(b"proxy-authorization"), strict=True)
            if any(f'"{domain}"'.encode() in value for domain in self._locations.domains)
        )

    def _look_up(self, party: bytes, request: Message) -> tuple[str, Account | None]:
        aor = Aor.parse(party)
        if aor.domain == ANONYMOUS and request.has(b"p-preferred-identity"):
            value = request.value(b"p-preferred-identity") or b""
            aor = Aor.parse(Address.parse(value, of="P-Preferred-Identity").uri)
            party = b""  # Not remembered: the next anonymous sender is another.
        if aor.domain and not self._locations.is_ours(aor.domain):
            raise Refusal(403, f"Domain Is Not Served Here: {shown(aor.domain.encode())}")
        found = self._identity(aor)
        if 0 < len(party) <= PARTY_BYTES_MAX:
            if len(self._parties) >= PARTIES_MAX:
                self._parties.clear()
            self._parties[party] = found
        return found

    def _identity(self, aor: Aor) -> tuple[str, Account | None]:
        aor = self._locations.canonical(aor)
        return aor.domain or self._locations.domains[0], self._accounts.account_of(
            aor.user, aor.domain
        )
