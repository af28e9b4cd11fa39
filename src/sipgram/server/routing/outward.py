"""Where requests go that are not for anybody here: trunks and other domains (D1, D2, D33).

Nothing goes out for strangers: whoever asks is an account of ours, or a trunk that may.
"""

import re
from typing import Final

from sipgram.errors import PeerError, Refusal
from sipgram.identity import AccountId
from sipgram.net.resolver import TRANSPORTS, HopTransport
from sipgram.net.sip_identity import comparable
from sipgram.server.limits.tally import Tally
from sipgram.server.routing.next_hops import Destination, NextHops
from sipgram.server.routing.peers import VISITOR, Peers
from sipgram.services.registrar.location import Locations
from sipgram.settings import RoutingSettings, Trunk
from sipgram.sip.message.grammar import escape_user
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.uri import Aor, SipUri, is_sips
from sipgram.sip.record_route import Course
from sipgram.sip.routing.hunt import Pursuit
from sipgram.sip.sink import Flow

_NUMBER: Final = re.compile(r"\+?[0-9*#]+")


class _Line:
    """A trunk with its hosts read."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk
        self.servers = tuple(server_of(text) for text in trunk.hosts)
        self.domains = frozenset(filter(None, map(comparable, trunk.domains)))


class Outward:
    """Chooses the servers for a request; who may ask has proved to be somebody by then."""

    def __init__(
        self,
        settings: RoutingSettings,
        *,
        peers: Peers,
        locations: Locations,
        hops: NextHops,
        answer_s: float,
        tally: Tally,
    ) -> None:
        self.hops = hops
        self.tally = tally
        self._peers = peers
        self._locations = locations
        self._lines = [_Line(trunk) for trunk in settings.trunks]
        self._answer_s = answer_s

    @property
    def answer_s(self) -> float:
        """How long a sender waits for one of the hops."""
        return self._answer_s

    def may_relay(self, account_id: AccountId | None, flow: Flow, *, has_gate: bool) -> bool:
        """Say whether something goes out for a sender: an account, or a trunk that may relay.

        Without a gate every From of a domain of ours is believed (``--auth none``).
        """
        if account_id is not None:
            return account_id != VISITOR
        trunk = self._peers.trunk_of(flow)
        if trunk is not None:
            return trunk.may_relay
        return not has_gate

    def leads_to_trunk(self, next_hop: bytes) -> bool:
        """Say whether a Route value names a host of a trunk (D2)."""
        return self._line_at(next_hop) is not None

    def by_route(self, request: Message, course: Course) -> tuple[Destination, ...]:
        """Return where a request goes whose Route leads on to a trunk.

        Raises:
            Refusal: 403, it leads to somebody else.
        """
        line = self._line_at(course.next_hop)
        if line is None:
            raise Refusal(403, "Route Leads To Others")
        at = SipUri.parse(course.next_hop)
        return tuple(
            Destination(server, course.uri, _transports(request))
            for server in line.servers
            if server.host == at.host
        )

    def by_uri(self, request: Message) -> tuple[Destination, ...]:
        """Return where a request goes whose Request-URI names nobody here; empty for nowhere."""
        try:
            aor = Aor.parse(request.uri)
        except PeerError:
            return ()
        if not aor.domain or self._locations.is_ours(aor.domain):
            return self._by_number(request, aor)
        wanted = comparable(aor.domain)
        for line in self._lines:
            if wanted in line.domains:
                transports = _transports(request)
                return tuple(Destination(s, request.uri, transports) for s in line.servers)
        if self._peers.is_federated(aor.domain):
            uri = request.uri
            if uri[:3].lower() != b"sip":  # im: and pres: have their own way to be looked up.
                uri = str(aor).encode("utf-8", "surrogateescape")
            return (Destination(SipUri.parse(uri), uri, ("tls",)),)
        return ()

    async def pursuit(
        self,
        request: Message,
        destinations: tuple[Destination, ...],
        cuts: tuple[Cut, ...],
        since: float,
    ) -> Pursuit:
        """Find the hops; ``since`` is when the request came in.

        Raises:
            Refusal: 480 when there is none, 482 when it would come back.
        """
        trail = await self.hops.trail(
            destinations, request=request, within_s=self._answer_s, since=since
        )
        return Pursuit(trail, cuts)

    def _by_number(self, request: Message, aor: Aor) -> tuple[Destination, ...]:
        """Choose the trunk with the longest beginning of a number; the first of two alike."""
        if not _NUMBER.fullmatch(aor.user):
            return ()
        matches = [
            (len(prefix), -n, line)
            for n, line in enumerate(self._lines)
            for prefix in line.trunk.numbers
            if aor.user.startswith(prefix)
        ]
        if not matches:
            return ()
        line = max(matches, key=lambda match: match[:2])[2]
        transports = _transports(request)
        is_phone = not aor.domain or b"user=phone" in request.uri.lower()
        user = escape_user(aor.user).encode()
        return tuple(
            Destination(server, _number_at(server, user, is_phone=is_phone), transports)
            for server in line.servers
        )

    def _line_at(self, next_hop: bytes) -> "_Line | None":
        try:
            at = SipUri.parse(next_hop)
        except PeerError:
            return None
        if at.param(b"maddr") is not None:
            return None
        for line in self._lines:
            for server in line.servers:
                if server.host == at.host and at.port in (None, server.port):
                    return line
        return None


def server_of(text: str) -> SipUri:
    """Read a host of a trunk: HOST, HOST:PORT, with parameters, or a whole URI without a user.

    Raises:
        ParseError: it is none.
    """
    is_uri = text.lower().startswith(("sip:", "sips:"))
    return SipUri.parse((text if is_uri else f"sip:{text}").encode())


def _number_at(server: SipUri, user: bytes, *, is_phone: bool) -> bytes:
    params: tuple[tuple[bytes, bytes | None], ...] = ((b"user", b"phone"),) if is_phone else ()
    uri = SipUri(b"sip", user, None, server.host, server.port, params, None)
    return bytes(uri)


def _transports(request: Message) -> tuple[HopTransport, ...]:
    """RFC 3261 §26.2.2: for a sips: URI "each hop over which the request is forwarded" is TLS."""
    return ("tls",) if is_sips(request.uri) else TRANSPORTS
