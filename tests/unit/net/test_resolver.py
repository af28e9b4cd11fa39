"""From a URI to hops in order, asked of a real name server (RFC 3263 §4, RFC 2782)."""

from collections import Counter
from dataclasses import replace
from random import Random

import dns.rcode
import pytest

from sipgram.errors import Unavailable
from sipgram.net.records import Family, ResolverSettings, Srv
from sipgram.net.resolver import (
    HOPS_MAX,
    TARGETS_MAX,
    Hop,
    HopTransport,
    Resolver,
    in_srv_order,
)
from sipgram.sip.message.uri import SipUri
from sipgram.testing.clock import ManualClock
from sipgram.testing.entropy import CountingEntropy

from .name_server import NameServer

NOBODY = ResolverSettings(nameservers=("127.0.0.9:9",), try_s=0.05, query_s=0.05)
"""Port 9 of an address where nobody listens."""
HOSTS = ("a.example.net 60 A 192.0.2.1", "b.example.net 60 A 192.0.2.2")


class Chance(CountingEntropy):
    """Fractions of a seeded generator, or one that is always the same."""

    def __init__(self, fraction: float | None = None) -> None:
        super().__init__()
        self._random = Random(1)
        self._fraction = fraction

    def fraction(self) -> float:
        return self._random.random() if self._fraction is None else self._fraction


def resolver_of(server: NameServer, *, settings: ResolverSettings | None = None) -> Resolver:
    settings = replace(
        settings or ResolverSettings(query_s=2.0, locate_s=3.0), nameservers=(server.address,)
    )
    return Resolver(entropy=Chance(), clock=ManualClock(), settings=settings)


def resolver_of_nobody() -> Resolver:
    return Resolver(entropy=Chance(), clock=ManualClock(), settings=NOBODY)


async def located(
    resolver: Resolver,
    uri: str,
    *,
    transports: tuple[HopTransport, ...] = ("udp", "tcp", "tls"),
    families: tuple[Family, ...] = (4, 6),
) -> list[str]:
    hops = await resolver.locate(
        SipUri.parse(uri.encode()), transports=transports, families=families
    )
    return [str(hop) for hop in hops]


# ---- without a name server ---------------------------------------------------------------------


@pytest.mark.rfc("3263", "4.1")
@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:b@192.0.2.1", "udp:192.0.2.1:5060"),
        ("sip:b@192.0.2.1:5070", "udp:192.0.2.1:5070"),
        ("sip:b@192.0.2.1;transport=TCP", "tcp:192.0.2.1:5060"),
        ("sip:b@192.0.2.1;transport=tls", "tls:192.0.2.1:5061"),
        ("sips:b@192.0.2.1", "tls:192.0.2.1:5061"),
        ("sips:b@192.0.2.1:5062;transport=tcp", "tls:192.0.2.1:5062"),
        ("sip:b@[2001:db8::1]", "udp:[2001:db8::1]:5060"),
        ("sip:b@[2001:db8::1]:5070;transport=tcp", "tcp:[2001:db8::1]:5070"),
        ("sip:b@example.org;maddr=192.0.2.9", "udp:192.0.2.9:5060"),
        ("sip:b@localhost", "udp:127.0.0.1:5060"),
        ("sip:b@localhost:5070;transport=tcp", "tcp:127.0.0.1:5070"),
        ("sips:b@localhost", "tls:127.0.0.1:5061"),
    ],
)
async def test_addresses_and_local_names_need_no_name_server(uri: str, hop: str) -> None:
    found = await located(resolver_of_nobody(), uri)

    assert found[0] == hop


@pytest.mark.parametrize(
    "uri",
    [
        "sip:b@example.org;transport=sctp",
        "sip:b@192.0.2.1;transport=ws",
        "sips:b@example.org;transport=udp",
        "sip:b@2130706433",
        "sip:b@0x7f.1",
        "sip:b@1.2.3.4.5",
    ],
)
async def test_what_cannot_be_a_server_has_no_hop_and_no_question(uri: str) -> None:
    assert await located(resolver_of_nobody(), uri) == []


async def test_transports_and_families_that_we_lack_are_left_out() -> None:
    resolver = resolver_of_nobody()

    assert await located(resolver, "sip:b@192.0.2.1", transports=("tls",)) == ["tls:192.0.2.1:5061"]
    assert await located(resolver, "sip:b@192.0.2.1;transport=tcp", transports=("udp",)) == []
    assert await located(resolver, "sips:b@192.0.2.1", transports=("udp", "tcp")) == []
    assert await located(resolver, "sip:b@192.0.2.1", families=(6,)) == []
    assert await located(resolver, "sip:b@[::1]", families=(4,)) == []


async def test_local_names_are_no_matter_of_the_dns() -> None:
    async with NameServer() as server:
        await located(resolver_of(server), "sip:b@localhost")
        await located(resolver_of(server), "sip:b@localhost;transport=tcp")

    assert not server.asked


# ---- NAPTR, then SRV, then addresses -----------------------------------------------------------


@pytest.mark.rfc("3263", "4.1")
async def test_the_domains_own_order_of_transports_is_kept() -> None:
    """The example of §4.1, with UDP of another order as RFC 3403 bids."""
    async with NameServer(
        'example.org 60 NAPTR 50 60 "s" "SIP+D2T" "" _sip._tcp.example.org.',
        'example.org 60 NAPTR 50 50 "S" "sips+d2t" "" _sips._tcp.example.org.',
        'example.org 60 NAPTR 90 50 "s" "SIP+D2U" "" _sip._udp.example.org.',
        'example.org 60 NAPTR 10 50 "s" "SIP+D2S" "" _sip._sctp.example.org.',
        'example.org 60 NAPTR 10 50 "u" "E2U+sip" "!^.*$!sip:info@example.org!" .',
        "_sips._tcp.example.org 60 SRV 0 1 5061 a.example.net.",
        "_sip._tcp.example.org 60 SRV 0 1 5060 b.example.net.",
        "_sip._udp.example.org 60 SRV 0 1 5060 b.example.net.",
        *HOSTS,
    ) as server:
        resolver = resolver_of(server)

        assert await located(resolver, "sip:b@example.org") == [
            "tls:192.0.2.1:5061",
            "tcp:192.0.2.2:5060",
        ]
        assert await located(resolver, "sips:b@example.org") == ["tls:192.0.2.1:5061"]
        assert await located(resolver, "sip:b@example.org", transports=("udp",)) == [
            "udp:192.0.2.2:5060"
        ]


@pytest.mark.rfc("3263", "4.2")
async def test_srv_priorities_are_kept_and_each_name_is_told() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 20 100 5072 a.example.net.",
        "_sip._udp.example.org 60 SRV 10 1 5071 b.example.net.",
        *HOSTS,
    ) as server:
        hops = await resolver_of(server).locate(SipUri.parse(b"sip:b@example.org"))

    assert hops == [
        Hop("udp", "192.0.2.2", 5071, "b.example.net"),
        Hop("udp", "192.0.2.1", 5072, "a.example.net"),
    ]


async def test_without_naptr_each_transport_is_asked_for_in_our_order() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 0 0 5060 a.example.net.",
        "_sip._tcp.example.org 60 SRV 0 0 5060 a.example.net.",
        "_sips._tcp.example.org 60 SRV 0 0 5061 b.example.net.",
        *HOSTS,
    ) as server:
        resolver = resolver_of(server)
        found = await located(resolver, "sip:b@example.org", transports=("tls", "tcp", "udp"))
        assert found == ["tls:192.0.2.2:5061", "tcp:192.0.2.1:5060", "udp:192.0.2.1:5060"]
        assert await located(resolver, "sip:b@example.org;transport=tcp") == ["tcp:192.0.2.1:5060"]

    assert server.asked["a.example.net", "A"] == 1


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:b@example.org", "udp:192.0.2.5:5060"),
        ("sip:b@example.org.", "udp:192.0.2.5:5060"),
        ("sip:b@example.org;transport=tcp", "tcp:192.0.2.5:5060"),
        ("sips:b@example.org", "tls:192.0.2.5:5061"),
    ],
)
async def test_without_srv_the_host_itself_is_asked(uri: str, hop: str) -> None:
    """§4.2: "If no SRV records were found, the client performs an A or AAAA record lookup"."""
    async with NameServer("example.org 60 A 192.0.2.5") as server:
        assert await located(resolver_of(server), uri) == [hop]


async def test_an_explicit_port_skips_naptr_and_srv() -> None:
    async with NameServer(
        "example.org 60 A 192.0.2.5", "_sip._udp.example.org 60 SRV 0 0 5060 a.example.net."
    ) as server:
        assert await located(resolver_of(server), "sip:b@example.org:5080") == [
            "udp:192.0.2.5:5080"
        ]

    assert {kind for _, kind in server.asked} == {"A", "AAAA"}


async def test_a_transport_parameter_skips_naptr() -> None:
    async with NameServer("example.org 60 A 192.0.2.5") as server:
        await located(resolver_of(server), "sip:b@example.org;transport=udp")

    assert {kind for _, kind in server.asked} == {"SRV", "A", "AAAA"}


async def test_both_families_are_tried_in_our_order() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 0 0 5060 a.example.net.",
        "_sip._udp.example.org 60 SRV 1 0 5060 b.example.net.",
        "a.example.net 60 AAAA 2001:db8::1",
        *HOSTS,
    ) as server:
        resolver = resolver_of(server)
        a, b, a6 = "udp:192.0.2.1:5060", "udp:192.0.2.2:5060", "udp:[2001:db8::1]:5060"
        assert await located(resolver, "sip:b@example.org") == [a, a6, b]
        assert await located(resolver, "sip:b@example.org", families=(6, 4)) == [a6, a, b]
        assert await located(resolver, "sip:b@example.org", families=(6,)) == [a6]


async def test_a_cname_of_the_domain_and_of_a_server_is_followed() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 CNAME _sip._udp.hoster.example.",
        "_sip._udp.hoster.example 60 SRV 0 0 5064 sip.hoster.example.",
        "sip.hoster.example 60 CNAME a.example.net.",
        *HOSTS,
    ) as server:
        assert await located(resolver_of(server), "sip:b@example.org") == ["udp:192.0.2.1:5064"]


# ---- what is missing or broken -----------------------------------------------------------------


async def test_a_domain_that_does_not_exist_has_no_hop() -> None:
    async with NameServer() as server:
        assert await located(resolver_of(server), "sip:b@example.org") == []


@pytest.mark.rfc("2782", "")
async def test_a_service_that_is_decidedly_not_there_is_not_replaced_by_the_host() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 0 0 0 .", "example.org 60 A 192.0.2.5"
    ) as server:
        assert await located(resolver_of(server), "sip:b@example.org") == []


async def test_a_target_without_address_is_skipped() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 0 0 5060 gone.example.net.",
        "_sip._udp.example.org 60 SRV 1 0 5060 a.example.net.",
        "_sip._udp.example.org 60 SRV 2 0 0 a.example.net.",
        *HOSTS,
    ) as server:
        assert await located(resolver_of(server), "sip:b@example.org") == ["udp:192.0.2.1:5060"]


async def test_a_broken_target_does_not_hide_the_others() -> None:
    async with NameServer(
        "_sip._udp.example.org 60 SRV 0 0 5060 a.example.net.",
        "_sip._udp.example.org 60 SRV 1 0 5060 b.example.net.",
        *HOSTS,
    ) as server:
        server.broken["a.example.net"] = dns.rcode.SERVFAIL
        assert await located(resolver_of(server), "sip:b@example.org") == ["udp:192.0.2.2:5060"]

        server.broken["b.example.net"] = dns.rcode.SERVFAIL
        with pytest.raises(Unavailable, match=r"a\.example\.net"):
            await located(resolver_of(server), "sip:b@example.org")


async def test_a_broken_naptr_does_not_hide_srv() -> None:
    async with NameServer("_sip._udp.example.org 60 SRV 0 0 5060 a.example.net.", *HOSTS) as server:
        server.broken["example.org"] = dns.rcode.SERVFAIL
        assert await located(resolver_of(server), "sip:b@example.org") == ["udp:192.0.2.1:5060"]


async def test_srv_that_cannot_be_told_is_not_replaced_by_the_host() -> None:
    async with NameServer("example.org 60 A 192.0.2.5") as server:
        server.broken["_sip._tcp.example.org"] = dns.rcode.SERVFAIL
        with pytest.raises(Unavailable, match=r"SRV of _sip\._tcp\.example\.org"):
            await located(resolver_of(server), "sip:b@example.org")


async def test_nobody_to_ask_is_told_within_the_limit() -> None:
    with pytest.raises(Unavailable):
        await located(resolver_of_nobody(), "sip:b@example.org")


async def test_silence_is_ended_by_the_limit_for_the_whole_search() -> None:
    async with NameServer() as server:
        server.silent.add("example.org")
        settings = ResolverSettings(try_s=2.0, query_s=2.0, locate_s=0.05)
        resolver = resolver_of(server, settings=settings)

        with pytest.raises(Unavailable, match=r"in time where example\.org is"):
            await located(resolver, "sip:b@example.org")
        await resolver.close()


# ---- bounds ------------------------------------------------------------------------------------


async def test_hops_and_names_looked_up_are_bounded() -> None:
    numbers = range(30)
    async with NameServer(
        *(f"_sip._udp.example.org 60 SRV {n} 0 5060 s{n}.example.net." for n in numbers),
        *(f"s{n}.example.net 60 A 192.0.{m}.{n}" for n in numbers for m in range(3)),
    ) as server:
        hops = await resolver_of(server).locate(
            SipUri.parse(b"sip:b@example.org"), transports=("udp",), families=(4,)
        )

    assert len(hops) == HOPS_MAX
    assert [hop.name for hop in hops[:3]] == ["s0.example.net"] * 3
    assert len([kind for _, kind in server.asked if kind == "A"]) == TARGETS_MAX


# ---- weights -----------------------------------------------------------------------------------


def server_of(weight: int, *, name: str = "", priority: int = 0) -> Srv:
    return Srv(priority, weight, 5060, name or f"w{weight}")


@pytest.mark.rfc("2782", "")
def test_weights_share_the_load() -> None:
    servers = [server_of(60), server_of(20), server_of(15), server_of(5)]
    chance = Chance()

    first = Counter(in_srv_order(servers, chance)[0].weight for _ in range(20_000))

    for server in servers:
        assert first[server.weight] / 20_000 == pytest.approx(server.weight / 100, abs=0.015)


def test_a_weight_of_zero_is_chosen_seldom_but_not_never() -> None:
    """'A very small chance of being selected'."""
    chance = Chance()

    first = Counter(
        in_srv_order([server_of(100), server_of(0)], chance)[0].weight for _ in range(20_000)
    )

    assert 0 < first[0] / 20_000 < 0.02


def test_equal_zero_weights_keep_every_server() -> None:
    servers = [server_of(0, name=name) for name in "abc"]

    assert sorted(in_srv_order(servers, Chance())) == servers


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999999])
def test_priorities_stand_above_weights(fraction: float) -> None:
    servers = [
        server_of(65_535, priority=2),
        server_of(1, priority=1),
        server_of(0, priority=0),
        server_of(7, priority=0),
    ]

    ordered = in_srv_order(servers, Chance(fraction))

    assert [server.priority for server in ordered] == [0, 0, 1, 2]
    assert sorted(ordered) == sorted(servers)
