"""What every request must pass before a service sees it (RFC 3261 §8.2, §16.3; DELIVERY.md D1-D3)."""

import ipaddress
from typing import Final

from sipgram.errors import Ignored, PeerError, Refusal
from sipgram.identity import AccountId
from sipgram.server.limits.block_list import BlockList
from sipgram.server.limits.guesses import Guesses
from sipgram.server.limits.rates import Rates
from sipgram.server.limits.tally import Tally
from sipgram.server.routes import AS_UAS
from sipgram.server.routing.peers import VISITOR, Peers
from sipgram.services.auth.service import Authenticator, Denied
from sipgram.services.auth.store import Account, Accounts
from sipgram.services.registrar.location import Locations
from sipgram.services.registrar.outbound import UNDERSTOOD
from sipgram.settings import LimitSettings
from sipgram.sip.message.address import Address
from sipgram.sip.message.digest import is_digest
from sipgram.sip.message.grammar import shown, split_list
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.parser import parse_credentials
from sipgram.sip.message.uri import Aor, SipUri
from sipgram.sip.sink import Flow, is_websocket

LOOPBACK: Final = (b"127.", b"::1")
"""On this machine nobody is limited by default (DESIGN.md §4)."""
SOURCES_MAX: Final = 65_536
"""Addresses of which that is remembered; beyond that all are looked at again."""
PARTIES_MAX: Final = 65_536
"""From URIs whose account is remembered; beyond that all are looked up again."""
REGISTRARS_MAX: Final = 1_000
"""Spellings of our own Request-URI in REGISTERs that are remembered; others are parsed each time."""
PARTY_BYTES_MAX: Final = 256
"""A longer one is looked up each time: nobody has proved anything yet."""
SCHEMES: Final = (b"sip:", b"sips:", b"tel:", b"im:", b"pres:")
ANONYMOUS: Final = "anonymous.invalid"
_DEFAULTS: Final = LimitSettings()


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


class OwnRegistrars:
    """Knows the Request-URIs of REGISTERs that are for us (§10.3 step 1)."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._known: set[bytes] = set()

    def check(self, uri: bytes) -> None:
        """Refuse what is for another registrar.

        Raises:
            Refusal: 403.
            ParseError: 400, the URI is malformed.
        """
        if uri in self._known:
            return
        host = SipUri.parse(uri).host.decode("ascii")
        if not self._locations.is_ours(host):
            raise Refusal(403, f"Domain Is Not Served Here: {shown(host.encode())}")
        if len(self._known) < REGISTRARS_MAX and len(uri) < PARTY_BYTES_MAX:
            self._known.add(uri)


class Gate:
    """Finds out who sent a request, and that the sender writes as itself (D2, D3)."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        accounts: Accounts,
        locations: Locations,
        peers: Peers,
        limits: LimitSettings = _DEFAULTS,
        tally: Tally | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._accounts = accounts
        self._locations = locations
        self._peers = peers
        self._parties: dict[bytes, tuple[str, Account | None]] = {}
        self._tally = tally or Tally(lambda: 0.0)
        self._has_all = limits.on_loopback
        # By address: what counts as one source, empty for those that are not limited.
        self._sources: dict[bytes, bytes] = {}
        self._rates = Rates(limits, self._tally)
        self._guesses = Guesses(limits)
        self._blocked = BlockList(limits)

    def admit(self, request: Message, flow: Flow, now: float) -> AccountId | None:
        """Return the sender's account; None for a peer that is trusted.

        Raises:
            Refusal: 401 or 407 with a challenge, 403 when From is not the account's, 480 or 500
                when it asks too much.
            Ignored: a scanner.
        """
        peers = self._peers
        if peers.is_any and peers.is_trusted(flow):
            return None
        if peers.has_federation and peers.is_visitor(request, flow):
            return VISITOR
        host = self._sources.get(flow.host)
        if host is None:
            host = self._source_of(flow.host)
        if host and self._guesses.is_suspect(host, now):
            self._check_guesses(request, flow, host, now)
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
            if host:
                self._note_denied(request, found, host, now)
            lines = self._authenticator.challenge_lines(
                realm, proxy=proxy, stale=found.stale, now=now
            )
            if is_websocket(flow):
                # JsSIP and SIP.js read the first challenge and know only MD5.
                lines = tuple(sorted(lines, key=lambda line: b"SHA-256" in line))
            raise Refusal(407 if proxy else 401, "", lines)
        if claimed is None or claimed.id != found.id:
            raise Refusal(403, f"{'To' if registering else 'From'} Is Not Yours: {shown(party)}")
        if host:
            self._rates.take(request.method, found.id, now)
            if registering:
                self._guesses.right(found.user, host, flow.port, now)
        return found.id

    def check_agent(self, request: Message, flow: Flow) -> None:
        """Look at who says what it is, where nobody has to prove anything.

        Raises:
            Ignored: a scanner.
        """
        if self._blocked.blocks_agent(request.value(b"user-agent")):
            self._tally.note("scanner", address=shown(flow.host))
            raise Ignored("scanner")

    def check_address(self, flow: Flow) -> None:
        """Look whether an address is blocked; ``has_blocked`` says whether any is.

        Raises:
            Ignored: it is.
        """
        if self._blocked.blocks(flow.host):
            self._tally.note("blocked", address=shown(flow.host))
            raise Ignored("blocked")

    @property
    def has_blocked(self) -> bool:
        """Whether addresses are blocked."""
        return self._blocked.has_networks

    def _source_of(self, host: bytes) -> bytes:
        if len(self._sources) >= SOURCES_MAX:
            self._sources.clear()
        is_limited = self._has_all or not host.startswith(LOOPBACK)
        source = self._sources[host] = source_of(host) if is_limited else b""
        return source

    def _check_guesses(self, request: Message, flow: Flow, host: bytes, now: float) -> None:
        for name, _ in _claims_in(request):
            if self._guesses.is_stopped(name, host, flow.port, now):
                self._tally.note("guesses", address=shown(host))
                raise Refusal(403, "Too Many Wrong Passwords", (b"Retry-After: 60",))

    def _note_denied(self, request: Message, found: Denied, host: bytes, now: float) -> None:
        if self._blocked.blocks_agent(request.value(b"user-agent")):
            self._tally.note("scanner", address=shown(host))
            raise Ignored("scanner")
        if not found.stale:
            for name, realm in _claims_in(request):
                if realm == found.realm:
                    self._guesses.wrong(name, host, now)

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


def source_of(host: bytes) -> bytes:
    """Return the network that counts as one source: of IPv6 the 64 bits that a customer gets."""
    if b":" not in host:
        return host
    network = ipaddress.ip_network((host.decode("ascii"), 64), strict=False)
    return str(network.network_address).encode()


def _claims_in(request: Message) -> list[tuple[str, str]]:
    """Return account, without its domain, and realm of each password that is claimed to be known."""
    claims = []
    for header in (b"authorization", b"proxy-authorization"):
        for value in request.values(header):
            try:
                if is_digest(value):
                    fields = parse_credentials(value)
                    claims.append((fields.username.partition("@")[0], fields.realm))
            except PeerError:
                continue  # The authenticator says what is wrong with it.
    return claims
