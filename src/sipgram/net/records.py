"""DNS records with a bounded memory of presence, absence and failure (RFC 2308, RFC 9520).

Questions go to the name servers of the settings or of the system. A host without either can
start: only a question is an error then.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV

from sipgram.errors import SettingsError, Unavailable

Family = Literal[4, 6]
Kind = Literal["NAPTR", "SRV", "A", "AAAA", "HOSTS4", "HOSTS6"]
"""What is asked for; HOSTS is the system's own idea of a name (getaddrinfo)."""

TTL_MIN_S: Final = 1.0
"""A TTL of 0 would cost a question for each request to a busy domain."""
HOSTS_TTL_S: Final = 30.0
"""getaddrinfo tells no TTL."""
QUERIES_OPEN_MAX: Final = 256
"""Questions under way; each has a socket of its own."""
RECORDS_MAX: Final = 32
"""Records of one answer that are looked at; a longer answer is cut."""
REREAD_S: Final = 30.0
"""How old the system's list of name servers may become: laptops move, leases end."""
GRACE_S: Final = 0.5
"""dnspython counts by the wall clock; beyond its time and this the loop's clock decides."""


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """How domains are looked up."""

    nameservers: tuple[str, ...] = ()
    "Name servers, ADDRESS or ADDRESS:PORT; empty for the system's."
    resolv_conf: str = "/etc/resolv.conf"
    "Where the system lists its name servers; looked at again every 30 s."
    try_s: float = 1.0
    "How long one name server may take to answer."
    query_s: float = 2.5
    "How long one question may take in all, with every name server tried."
    locate_s: float = 4.0
    "How long finding the servers of a domain may take: several questions."
    cache_entries_max: int = 10_000
    "Answers kept; beyond that the one that was not used for longest goes."
    ttl_max_s: float = 3600.0
    "An answer is asked for again after this time even when its TTL is longer."
    negative_s: float = 60.0
    "The longest time that the absence of a record is believed."
    failure_s: float = 5.0
    "How long a question that failed is not repeated; 1 to 300 (RFC 9520)."


class Naptr(NamedTuple):
    """One rule of a domain: a service, and the name that its SRV records have (RFC 3403 §4.1)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """One server of a service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str
    '"." says that there is decidedly no such service.'


class _Entry(NamedTuple):
    records: tuple[Naptr | Srv | str, ...]
    until: float
    failure: str = ""


class Records:
    """Asks for records, each question once at a time, and remembers the answers.

    Every method raises ``Unavailable`` when no name server gave an answer; a name or record
    that does not exist is an empty tuple.
    """

    def __init__(
        self, settings: ResolverSettings | None = None, *, clock: Callable[[], float]
    ) -> None:
        """Take ``clock`` for the age of answers, monotonic seconds like ``loop.time``.

        Raises:
            SettingsError: a name server is not an IP address.
        """
        self._settings = settings or ResolverSettings()
        self._clock = clock
        self._servers = [_name_server(text) for text in self._settings.nameservers]
        self._stub: dns.asyncresolver.Resolver | None = None
        self._stub_until = 0.0
        self._cache: OrderedDict[tuple[str, Kind], _Entry] = OrderedDict()
        self._open: dict[tuple[str, Kind], asyncio.Task[_Entry]] = {}

    @property
    def count(self) -> int:
        """How many answers are remembered."""
        return len(self._cache)

    async def naptr(self, name: str) -> tuple[Naptr, ...]:
        """Return the rules of a domain, in the order that they came."""
        found = await self._find(name, "NAPTR")
        return tuple(record for record in found if isinstance(record, Naptr))

    async def srv(self, name: str) -> tuple[Srv, ...]:
        """Return the servers of ``_service._protocol.domain``, in the order that they came."""
        found = await self._find(name, "SRV")
        return tuple(record for record in found if isinstance(record, Srv))

    async def addresses(self, name: str, family: Family) -> tuple[str, ...]:
        """Return a host's IP addresses, by CNAME if need be."""
        found = await self._find(name, "A" if family == 4 else "AAAA")
        return tuple(record for record in found if isinstance(record, str))

    async def hosts(self, name: str, family: Family) -> tuple[str, ...]:
        """Return a host's IP addresses as the system knows them: /etc/hosts, search lists."""
        found = await self._find(name, "HOSTS4" if family == 4 else "HOSTS6")
        return tuple(record for record in found if isinstance(record, str))

    async def close(self) -> None:
        """Give up what is being asked; whoever waits gets ``Unavailable``."""
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: str, kind: Kind) -> tuple[Naptr | Srv | str, ...]:
        key = (name.lower().removesuffix("."), kind)
        entry = self._cache.get(key)
        if entry is not None and self._clock() < entry.until:
            self._cache.move_to_end(key)
        else:
            entry = await self._asked_once(key)
        if entry.failure:
            raise Unavailable(entry.failure)
        return entry.records

    async def _asked_once(self, key: tuple[str, Kind]) -> _Entry:
        """Join the question that is under way: a burst to one domain must not become a flood."""
        task = self._open.get(key)
        if task is None:
            if len(self._open) >= QUERIES_OPEN_MAX:
                raise Unavailable(f"too many DNS questions are open to ask for {key[0]}")
            task = self._open[key] = asyncio.create_task(self._remembered(key))
            task.add_done_callback(lambda _: self._open.pop(key))
        # Who waits may be cancelled; the answer is kept for the next one all the same.
        await asyncio.wait([task])
        if task.cancelled():
            raise Unavailable(f"the question for {key[0]} was given up")
        return task.result()

    async def _remembered(self, key: tuple[str, Kind]) -> _Entry:
        name, kind = key
        asked = self._asked_system if kind in ("HOSTS4", "HOSTS6") else self._asked_dns
        try:
            async with asyncio.timeout(self._settings.query_s + GRACE_S):
                entry = await asked(name, kind)
        except TimeoutError:
            entry = self._failed(name, kind, "no answer in time")
        self._cache[key] = entry
        self._cache.move_to_end(key)
        while len(self._cache) > self._settings.cache_entries_max:
            self._cache.popitem(last=False)
        return entry

    async def _asked_dns(self, name: str, kind: Kind) -> _Entry:
        try:
            absolute = dns.name.from_text(name + ".")
        except dns.exception.DNSException:  # Too long, or an empty label: it cannot exist.
            return self._absent(self._settings.negative_s)
        try:
            answer = await self._resolver().resolve(
                absolute,
                kind,
                raise_on_no_answer=False,
                search=False,
                backend=dns.asyncbackend.get_backend("asyncio"),
            )
        except dns.resolver.NXDOMAIN as error:
            # dnspython leaves this method of its own untyped.
            response = error.response(absolute)  # type: ignore[no-untyped-call]  # Of dnspython.
            return self._absent(_ttl_of_absence(response))
        except dns.resolver.NoResolverConfiguration:
            return self._failed(name, kind, "no name server is configured")
        except dns.resolver.NoNameservers:
            return self._failed(name, kind, "the name servers cannot answer")
        except dns.exception.Timeout:
            return self._failed(name, kind, "no name server answers")
        except dns.exception.DNSException as error:
            return self._failed(name, kind, type(error).__name__)
        ttl_s = answer.chaining_result.minimum_ttl
        if answer.rrset is None:
            return self._absent(ttl_s)
        records = [_read(rdata) for rdata in answer.rrset]
        return _Entry(
            tuple(record for record in records if record is not None)[:RECORDS_MAX],
            self._clock() + min(max(ttl_s, TTL_MIN_S), self._settings.ttl_max_s),
        )

    async def _asked_system(self, name: str, kind: Kind) -> _Entry:
        family = socket.AF_INET if kind == "HOSTS4" else socket.AF_INET6
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, None, family=family, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                return self._failed(name, kind, "the system cannot look it up now")
            return self._absent(self._settings.failure_s)
        except UnicodeError:  # The idna codec refuses labels that are too long.
            return self._absent(self._settings.negative_s)
        # One address may come several times, once for each protocol.
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return _Entry(tuple(addresses)[:RECORDS_MAX], self._clock() + HOSTS_TTL_S)

    def _resolver(self) -> dns.asyncresolver.Resolver:
        """Return the stub resolver, made anew now and then when it follows the system's list.

        Raises:
            dns.resolver.NoResolverConfiguration: the system has no list.
        """
        now = self._clock()
        if self._stub is None or now >= self._stub_until:
            configuration = self._settings.resolv_conf
            stub = dns.asyncresolver.Resolver(configuration, configure=not self._servers)
            if self._servers:
                stub.nameservers = list(self._servers)
            stub.timeout = self._settings.try_s
            stub.lifetime = self._settings.query_s
            self._stub = stub
            self._stub_until = now + REREAD_S
        return self._stub

    def _absent(self, ttl_s: float) -> _Entry:
        return _Entry((), self._clock() + min(max(ttl_s, TTL_MIN_S), self._settings.negative_s))

    def _failed(self, name: str, kind: Kind, why: str) -> _Entry:
        until = self._clock() + self._settings.failure_s
        return _Entry((), until, failure=f"{kind} of {name}: {why}")


def _read(rdata: dns.rdata.Rdata) -> Naptr | Srv | str | None:
    match rdata:
        case A() | AAAA():
            return str(rdata.address)
        case SRV():
            return Srv(rdata.priority, rdata.weight, rdata.port, _text(rdata.target))
        case NAPTR():
            flags = rdata.flags.decode("ascii", "replace")
            service = rdata.service.decode("ascii", "replace")
            return Naptr(rdata.order, rdata.preference, flags, service, _text(rdata.replacement))
        case _:
            return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _ttl_of_absence(response: dns.message.QueryMessage) -> float:
    """RFC 2308 §5: the lesser of the SOA's TTL and its minimum field."""
    return response.resolve_chaining().minimum_ttl


def _name_server(text: str) -> dns.nameserver.Do53Nameserver:
    host, _, port = text.rpartition(":")
    if _is_address(text.strip("[]")):
        host, port = text, "53"
    if not _is_address(host.strip("[]")) or not (port.isascii() and port.isdigit()):
        raise SettingsError(f"name server is not ADDRESS or ADDRESS:PORT: {text!r}")
    if not 0 < int(port) < 65536:
        raise SettingsError(f"name server has a port out of range: {text!r}")
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
