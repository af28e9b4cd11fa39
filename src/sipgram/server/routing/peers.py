"""Who needs no digest: trusted addresses, trunks, and other domains by their certificate (D1; RFC 5922)."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from sipgram.errors import PeerError
from sipgram.identity import AccountId
from sipgram.net.sip_identity import comparable
from sipgram.net.tcp import TcpFlow
from sipgram.settings import RoutingSettings, Trunk
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import Aor
from sipgram.sip.sink import Flow

HOSTS_MAX: Final = 65_536
"""Source addresses of which it is remembered what they are; beyond that all are looked up again."""
VISITOR: Final = AccountId(-1)
"""Someone of another domain, which has proved to be it: no account here, and not trusted."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_DEFAULTS: Final = RoutingSettings()


class Peers:
    """Knows peers by the address or the certificate that they come with."""

    def __init__(
        self,
        trusted: Iterable[str],
        settings: RoutingSettings = _DEFAULTS,
        *,
        is_ours: Callable[[str], bool] = lambda domain: False,
    ) -> None:
        """``is_ours`` says whether a domain is served here: nobody else speaks for it."""
        self._networks = [ipaddress.ip_network(text, strict=False) for text in trusted]
        self._trunks: list[tuple[_Network, Trunk]] = [
            (ipaddress.ip_network(text, strict=False), trunk)
            for trunk in settings.trunks
            for text in trunk.addresses
        ]
        self._certified = [
            (frozenset(filter(None, map(comparable, trunk.certificates))), trunk)
            for trunk in settings.trunks
            if trunk.certificates
        ]
        self._domains = frozenset(filter(None, map(comparable, settings.federation_domains)))
        self._is_ours = is_ours
        self._by_host: dict[bytes, tuple[bool, Trunk | None]] = {}
        self.is_any = bool(self._networks or self._trunks or self._certified)
        "Whether there are any but federated domains."
        self.has_federation = settings.federation

    def is_trusted(self, flow: Flow) -> bool:
        """Say whether requests from there are believed."""
        known = self._by_host.get(flow.host)
        is_trusted, trunk = known if known is not None else self._look_up(flow.host)
        return is_trusted or trunk is not None or self._certified_trunk(flow) is not None

    def trunk_of(self, flow: Flow) -> Trunk | None:
        """Return the trunk that a request came from."""
        known = self._by_host.get(flow.host)
        _, trunk = known if known is not None else self._look_up(flow.host)
        return trunk or self._certified_trunk(flow)

    def is_federated(self, domain: str) -> bool:
        """Say whether we deal with another domain."""
        if not self.has_federation or not domain or self._is_ours(domain) or _is_address(domain):
            return False
        return not self._domains or comparable(domain) in self._domains

    def is_visitor(self, request: Message, flow: Flow) -> bool:
        """Say whether a request comes from the domain in its From, by the peer's certificate.

        RFC 5922 §7.4 leaves open what a certificate of a client allows; here it stands for the
        users of its domain, towards our own.
        """
        if not isinstance(flow, TcpFlow) or not flow.identities or request.method == b"REGISTER":
            return False
        try:
            domain = Aor.parse(request.from_uri).domain
        except PeerError:
            return False
        return self.is_federated(domain) and comparable(domain) in flow.identities

    def _certified_trunk(self, flow: Flow) -> Trunk | None:
        if not self._certified or not isinstance(flow, TcpFlow):
            return None
        shown = flow.identities
        return next((trunk for names, trunk in self._certified if names & shown), None)

    def _look_up(self, host: bytes) -> tuple[bool, Trunk | None]:
        address = ipaddress.ip_address(host.decode("ascii"))
        is_trusted = any(address in network for network in self._networks)
        trunk = next((trunk for network, trunk in self._trunks if address in network), None)
        if len(self._by_host) >= HOSTS_MAX:
            self._by_host.clear()
        self._by_host[host] = is_trusted, trunk
        return is_trusted, trunk


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
