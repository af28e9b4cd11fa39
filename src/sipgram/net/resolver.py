"""Locating SIP servers: from a URI to the hops to try, in order (RFC 3263 §4).

It connects to nothing: trying the hops, and remembering those that fail, is ``attempts.py``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple, TypeVar

from sipgram.errors import Unavailable
from sipgram.identity import Entropy
from sipgram.net.records import Family, Naptr, Records, ResolverSettings, Srv
from sipgram.sip.message.uri import SipUri

_T = TypeVar("_T")
HopTransport = Literal["udp", "tcp", "tls"]

TRANSPORTS: Final[tuple[HopTransport, ...]] = ("udp", "tcp", "tls")
TARGETS_MAX: Final = 16
"""Host names of one domain's servers that are looked up, the most wanted first."""
HOPS_MAX: Final = 32
"""Hops of one domain; far more than anyone waits for."""

_SRV_PREFIX: Final[dict[HopTransport, str]] = {
    "udp": "_sip._udp.",
    "tcp": "_sip._tcp.",
    "tls": "_sips._tcp.",
}
_NAPTR_SERVICE: Final[dict[str, HopTransport]] = {
    "sip+d2u": "udp",
    "sip+d2t": "tcp",
    "sips+d2t": "tls",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """One place to send a request to."""

    transport: HopTransport
    host: str
    "IP address, IPv6 without brackets."
    port: int
    name: str
    "The host name behind the address. A TLS peer proves the URI's domain instead (RFC 5922)."

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{shown}:{self.port}"


class _Target(NamedTuple):
    transport: HopTransport
    name: str
    port: int


class Resolver:
    """Finds the hops of a URI; answers are cached, the choice by weight is made anew each time."""

    def __init__(
        self,
        *,
        entropy: Entropy,
        clock: Callable[[], float],
        settings: ResolverSettings | None = None,
    ) -> None:
        """Take ``clock`` for the age of cached answers, monotonic seconds like ``loop.time``.

        Raises:
            SettingsError: a name server is not an IP address.
        """
        self._settings = settings or ResolverSettings()
        self._entropy = entropy
        self.records = Records(self._settings, clock=clock)

    async def locate(
        self,
        uri: SipUri,
        *,
        transports: Sequence[HopTransport] = TRANSPORTS,
        families: Sequence[Family] = (4, 6),
    ) -> list[Hop]:
        """Return where a request for ``uri`` may go, the best first.

        ``transports`` are those that we may use, in order of liking where the domain has none;
        ``families`` those of our listeners. The list is empty when there is certainly no such
        server: no such domain, no such transport.

        Raises:
            Unavailable: the name servers did not tell.
        """
        host = (uri.param(b"maddr") or uri.host).decode("ascii", "replace").strip("[]")
        allowed = _allowed(uri, transports)
        if not allowed:
            return []
        try:
            async with asyncio.timeout(self._settings.locate_s):
                return await self._hops(uri, host.removesuffix("."), allowed, families)
        except TimeoutError as error:
            raise Unavailable(f"no name server told in time where {host} is") from error

    async def close(self) -> None:
        """Give up what is being asked."""
        await self.records.close()

    async def _hops(
        self,
        uri: SipUri,
        host: str,
        allowed: tuple[HopTransport, ...],
        families: Sequence[Family],
    ) -> list[Hop]:
        # §4.1: "if no transport protocol is specified, but the TARGET is a numeric IP address"
        # or has an explicit port, "the client SHOULD use UDP for a SIP URI, and TCP for a SIPS".
        plain = "udp" if "udp" in allowed else allowed[0]
        fallback = _Target(plain, host, uri.port or _default_port(plain))
        if (family := _family(host)) is not None:
            hop = Hop(plain, host, fallback.port, host)
            return [hop] if family in families else []
        if not _is_name(host):
            return []
        if uri.port is not None or _is_local(host):
            return await self._at([fallback], families)
        is_chosen = uri.param(b"transport") is not None
        services = () if is_chosen else await self._naptr_services(host, allowed)
        if not services:
            services = tuple((kind, _SRV_PREFIX[kind] + host) for kind in allowed)
        targets = await self._srv_targets(services)
        return await self._at([fallback] if targets is None else targets, families)

    async def _naptr_services(
        self, host: str, allowed: tuple[HopTransport, ...]
    ) -> tuple[tuple[HopTransport, str], ...]:
        """Choose among the rules of a domain, by §4.1; empty when there are none for us."""
        try:
            rules = await self.records.naptr(host)
        except Unavailable:
            # Some name servers and boxes between fail on this type alone; SRV will tell.
            return ()
        usable = [rule for rule in rules if _service(rule) in allowed]
        if not usable:
            return ()
        # RFC 3403 §4.1: once a rule matches, those of a higher order are not considered.
        least = min(rule.order for rule in usable)
        chosen = sorted(
            (rule for rule in usable if rule.order == least), key=lambda rule: rule.preference
        )
        return tuple((_NAPTR_SERVICE[rule.service.lower()], rule.replacement) for rule in chosen)

    async def _srv_targets(
        self, services: Iterable[tuple[HopTransport, str]]
    ) -> list[_Target] | None:
        """Return the servers of the services in order; None when no service has records.

        Raises:
            Unavailable: nothing was found, and not every question was answered.
        """
        services = tuple(services)
        answers = await asyncio.gather(*(_or_failure(self.records.srv(n)) for _, n in services))
        targets: list[_Target] = []
        failure: Unavailable | None = None
        is_absent = True
        for (transport, _), answer in zip(services, answers, strict=True):
            if isinstance(answer, Unavailable):
                failure = answer
                continue
            is_absent = is_absent and not answer
            targets += [
                _Target(transport, server.target, server.port)
                for server in in_srv_order(answer, self._entropy)
                # RFC 2782: 'a Target of "." means that the service is decidedly not available'.
                if server.target != "." and server.port
            ]
        if failure is not None and not targets:
            # Without SRV the A record may be another machine altogether: better to wait.
            raise failure
        return None if is_absent else targets

    async def _at(self, targets: list[_Target], families: Sequence[Family]) -> list[Hop]:
        """Look the addresses of the targets up, all at once.

        Raises:
            Unavailable: no address was found, and not every question was answered.
        """
        targets = targets[:TARGETS_MAX]
        questions = list(dict.fromkeys((t.name, family) for t in targets for family in families))
        answers = await asyncio.gather(*(_or_failure(self._addresses(*q)) for q in questions))
        known = dict(zip(questions, answers, strict=True))
        hops: dict[Hop, None] = {}
        for target in targets:
            for family in families:
                found = known[target.name, family]
                for address in () if isinstance(found, Unavailable) else found:
                    hops[Hop(target.transport, address, target.port, target.name)] = None
        failure = next((answer for answer in answers if isinstance(answer, Unavailable)), None)
        if failure is not None and not hops:
            raise failure
        return list(hops)[:HOPS_MAX]

    async def _addresses(self, name: str, family: Family) -> tuple[str, ...]:
        if _is_local(name):
            return await self.records.hosts(name, family)
        return await self.records.addresses(name, family)


def in_srv_order(servers: Iterable[Srv], entropy: Entropy) -> list[Srv]:
    """Return the servers by priority, within one by chance as their weights say (RFC 2782)."""
    ordered: list[Srv] = []
    # Those of weight 0 come first, so that they have a small chance when others have weight.
    left = sorted(servers, key=lambda server: (server.priority, server.weight > 0))
    while left:
        same = [server for server in left if server.priority == left[0].priority]
        chosen = _by_weight(same, entropy.fraction())
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


def _by_weight(servers: list[Srv], fraction: float) -> Srv:
    """'A uniform random number between 0 and the sum computed (inclusive)'."""
    number = int(fraction * (sum(server.weight for server in servers) + 1))
    for server in servers:
        number -= server.weight
        if number <= 0:
            return server
    return servers[-1]


def _allowed(uri: SipUri, transports: Sequence[HopTransport]) -> tuple[HopTransport, ...]:
    """Return those of our transports that the URI allows (§4.1)."""
    named = uri.param(b"transport")
    wanted = None if named is None else named.lower().decode("ascii", "replace")
    if uri.scheme == b"sips":
        # RFC 3261 §26.2.2: transport=tcp of a sips URI means TLS over TCP.
        return tuple(t for t in transports if t == "tls" and wanted in (None, "tcp", "tls"))
    return tuple(t for t in transports if wanted in (None, t))


def _service(rule: Naptr) -> HopTransport | None:
    if rule.flags.lower() != "s" or rule.replacement == ".":
        return None
    return _NAPTR_SERVICE.get(rule.service.lower())


def _default_port(transport: HopTransport) -> int:
    return 5061 if transport == "tls" else 5060


def _family(host: str) -> Family | None:
    try:
        return 4 if ip_address(host).version == 4 else 6
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    """Whether it may be a host name: "toplabel" begins with a letter (RFC 3261 §25.1).

    getaddrinfo takes numbers such as 2130706433 for addresses, here 127.0.0.1.
    """
    return host.rpartition(".")[2][:1].isalpha()


def _is_local(host: str) -> bool:
    """Whether only the system knows the name: a single label, or localhost (RFC 6761 §6.3)."""
    return "." not in host or host.lower().endswith(".localhost")


async def _or_failure(question: Awaitable[_T]) -> _T | Unavailable:
    try:
        return await question
    except Unavailable as error:
        return error
