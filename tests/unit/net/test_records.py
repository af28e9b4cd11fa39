"""What the memory of DNS answers keeps, for how long and how much (RFC 2308, RFC 9520)."""

import asyncio
from pathlib import Path

import dns.rcode
import pytest

from sipgram.errors import SettingsError, Unavailable
from sipgram.net.records import QUERIES_OPEN_MAX, Naptr, Records, ResolverSettings, Srv
from sipgram.testing.clock import ManualClock

from .name_server import NameServer

SRV = "_sip._udp.example.org"


def records_of(
    server: NameServer, clock: ManualClock | None = None, *, query_s: float = 2.0, entries: int = 10
) -> Records:
    settings = ResolverSettings(
        nameservers=(server.address,),
        try_s=query_s,
        query_s=query_s,
        cache_entries_max=entries,
        ttl_max_s=3600.0,
        negative_s=60.0,
        failure_s=5.0,
    )
    return Records(settings, clock=clock or ManualClock())


async def test_each_type_is_read() -> None:
    async with NameServer(
        'example.org 60 NAPTR 10 20 "S" "SIP+D2U" "" _sip._udp.Example.org.',
        f"{SRV} 60 SRV 1 2 5070 Sip1.example.org.",
        f"{SRV} 60 SRV 2 0 0 .",
        "sip1.example.org 60 A 192.0.2.1",
        "sip1.example.org 60 AAAA 2001:db8::1",
    ) as server:
        records = records_of(server)

        assert await records.naptr("example.org") == (Naptr(10, 20, "S", "SIP+D2U", SRV),)
        assert set(await records.srv(SRV)) == {
            Srv(1, 2, 5070, "sip1.example.org"),
            Srv(2, 0, 0, "."),
        }
        assert await records.addresses("sip1.example.org", 4) == ("192.0.2.1",)
        assert await records.addresses("sip1.example.org", 6) == ("2001:db8::1",)


async def test_a_cname_is_followed() -> None:
    async with NameServer(
        "sip.example.org 60 CNAME host.example.net.", "host.example.net 60 A 192.0.2.7"
    ) as server:
        assert await records_of(server).addresses("sip.example.org", 4) == ("192.0.2.7",)


async def test_an_answer_too_long_for_a_datagram_is_asked_for_by_tcp() -> None:
    many = [f"big.example.org 60 A 192.0.2.{number}" for number in range(1, 41)]
    async with NameServer(*many) as server:
        found = await records_of(server).addresses("big.example.org", 4)

    assert server.by_tcp == 1
    assert len(found) == 32
    assert set(found) <= {line.split()[-1] for line in many}


async def test_a_local_name_that_cannot_be_is_absent() -> None:
    assert await Records(clock=ManualClock()).hosts("a" * 64, 4) == ()


# ---- presence and its end ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "kept_s"), [(60, 60.0), (0, 1.0), (1_000_000, 3600.0)], ids=["ttl", "least", "most"]
)
async def test_an_answer_is_kept_as_long_as_its_ttl(ttl: int, kept_s: float) -> None:
    clock = ManualClock()
    async with NameServer(f"a.example.org {ttl} A 192.0.2.1") as server:
        records = records_of(server, clock)
        await records.addresses("a.example.org", 4)
        server.set("a.example.org 60 A 192.0.2.2")

        clock.advance(kept_s - 0.01)
        assert await records.addresses("A.example.org.", 4) == ("192.0.2.1",)
        clock.advance(0.01)
        assert await records.addresses("a.example.org", 4) == ("192.0.2.2",)

    assert server.asked["a.example.org", "A"] == 2


@pytest.mark.parametrize("exists", [True, False], ids=["no data", "no name"])
@pytest.mark.parametrize(
    ("ttl", "has_soa", "kept_s"), [(20, True, 20.0), (300, True, 60.0), (20, False, 60.0)]
)
async def test_absence_is_kept_as_long_as_the_soa_says(
    exists: bool, ttl: int, has_soa: bool, kept_s: float
) -> None:
    """RFC 2308 §5: the TTL is the minimum of the SOA's; ours is bounded besides."""
    clock = ManualClock()
    async with NameServer(*["a.example.org 60 TXT x"] * exists) as server:
        server.negative_ttl, server.has_soa = ttl, has_soa
        records = records_of(server, clock)
        assert await records.addresses("a.example.org", 4) == ()
        server.set("a.example.org 60 A 192.0.2.1")

        clock.advance(kept_s - 0.01)
        assert await records.addresses("a.example.org", 4) == ()
        clock.advance(0.01)
        assert await records.addresses("a.example.org", 4) == ("192.0.2.1",)


@pytest.mark.parametrize("name", ["a" * 64 + ".org", "a..org", "a." * 127 + "org"])
async def test_a_name_that_cannot_be_is_absent_without_a_question(name: str) -> None:
    async with NameServer() as server:
        assert await records_of(server).srv(name) == ()

    assert not server.asked


# ---- failure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_a_failure_is_told_and_not_asked_for_again_at_once(rcode: int) -> None:
    """RFC 9520 §3.2: "Resolvers MUST cache resolution failures for at least 1 second"."""
    clock = ManualClock()
    async with NameServer("a.example.org 60 A 192.0.2.1") as server:
        records = records_of(server, clock)
        server.broken["a.example.org"] = rcode
        with pytest.raises(Unavailable, match=r"A of a\.example\.org: the name servers cannot"):
            await records.addresses("a.example.org", 4)
        server.broken.clear()

        clock.advance(4.99)
        with pytest.raises(Unavailable):
            await records.addresses("a.example.org", 4)
        clock.advance(0.01)
        assert await records.addresses("a.example.org", 4) == ("192.0.2.1",)

    assert server.asked["a.example.org", "A"] == 2


async def test_silence_ends_with_the_time_for_one_question() -> None:
    async with NameServer() as server:
        server.silent.add("a.example.org")
        with pytest.raises(Unavailable, match="no name server answers"):
            await records_of(server, query_s=0.05).addresses("a.example.org", 4)


async def test_a_second_name_server_is_asked_when_the_first_fails() -> None:
    async with NameServer() as broken, NameServer("a.example.org 60 A 192.0.2.1") as sound:
        broken.broken["a.example.org"] = dns.rcode.SERVFAIL
        settings = ResolverSettings(nameservers=(broken.address, sound.address))
        records = Records(settings, clock=ManualClock())

        assert await records.addresses("a.example.org", 4) == ("192.0.2.1",)

    assert broken.asked.total() == 1


@pytest.mark.parametrize("text", [None, "", "search example.org\n"])
async def test_a_host_without_name_servers_starts(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    records = Records(ResolverSettings(resolv_conf=str(file)), clock=ManualClock())

    with pytest.raises(Unavailable, match="no name server is configured"):
        await records.addresses("a.example.org", 4)
    assert await records.hosts("localhost", 4) == ("127.0.0.1",)


async def test_the_systems_name_servers_are_looked_at_again(tmp_path: Path) -> None:
    """A laptop that comes into another network has no answer from the name server it knew."""
    file = tmp_path / "resolv.conf"
    file.write_text("")
    clock = ManualClock()
    records = Records(ResolverSettings(resolv_conf=str(file), query_s=0.05), clock=clock)
    with pytest.raises(Unavailable, match="no name server is configured"):
        await records.addresses("a.example.org", 4)
    file.write_text("nameserver 127.0.0.9\n")

    clock.advance(30.0)

    with pytest.raises(Unavailable, match="no name server answers"):
        await records.addresses("a.example.org", 4)


# ---- bounds ------------------------------------------------------------------------------------


async def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    async with NameServer(*(f"a{n}.example.org 600 A 192.0.2.{n}" for n in range(4))) as server:
        records = records_of(server, entries=3)
        for number in (0, 1, 2, 0, 3, 0):
            await records.addresses(f"a{number}.example.org", 4)
        assert records.count == 3
        await records.addresses("a1.example.org", 4)

    assert server.asked["a0.example.org", "A"] == 1
    assert server.asked["a1.example.org", "A"] == 2


async def test_a_burst_asks_once() -> None:
    async with NameServer("a.example.org 0 A 192.0.2.1") as server:
        records = records_of(server)
        found = await asyncio.gather(*(records.addresses("a.example.org", 4) for _ in range(1_000)))

    assert set(found) == {("192.0.2.1",)}
    assert server.asked.total() == 1


async def test_one_who_gives_up_does_not_end_the_question_of_others() -> None:
    async with NameServer("a.example.org 60 A 192.0.2.1") as server:
        records = records_of(server)
        first = asyncio.create_task(records.addresses("a.example.org", 4))
        second = asyncio.create_task(records.addresses("a.example.org", 4))
        await asyncio.sleep(0)

        first.cancel()

        assert await second == ("192.0.2.1",)
        assert first.cancelled()


@pytest.mark.parametrize(
    ("count", "is_taken"), [(QUERIES_OPEN_MAX - 1, True), (QUERIES_OPEN_MAX, False)]
)
async def test_questions_under_way_are_bounded_and_end_with_the_node(
    count: int, is_taken: bool
) -> None:
    async with NameServer() as server:
        server.silent |= {f"a{number}.example.org" for number in range(count)}
        records = records_of(server)
        waiting = [
            asyncio.create_task(records.addresses(name, 4)) for name in sorted(server.silent)
        ]
        await asyncio.sleep(0)

        if is_taken:
            assert await records.addresses("b.example.org", 4) == ()
        else:
            with pytest.raises(Unavailable, match="too many DNS questions"):
                await records.addresses("b.example.org", 4)

        await records.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in ended} == {Unavailable}


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:53"])
def test_name_servers_are_addresses(text: str) -> None:
    Records(ResolverSettings(nameservers=(text,)), clock=ManualClock())


@pytest.mark.parametrize(
    "text", ["", "ns.example.org", "127.0.0.1:x", "127.0.0.1:0", "[::1]:99999"]
)
def test_other_name_servers_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="name server"):
        Records(ResolverSettings(nameservers=(text,)), clock=ManualClock())
