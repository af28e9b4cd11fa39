"""Next hops by name, on real sockets and with a name server of the test's own (RFC 3263; D33)."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from sipgram import Client, Rejected
from sipgram import Message as Received
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build

from ..net.authority import Authority
from ..net.name_server import NameServer
from ..server.http_house import command
from ..server.running import Serve, read_message
from ..server.wire_phone import WirePhone

pytestmark = pytest.mark.timeout(120)
PASSWORD = "correct horse"


class Exchange(asyncio.DatagramProtocol):
    """A server of somebody else on UDP, which gives every request one answer, or none."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.got: list[Message] = []
        self.heard = asyncio.Event()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse(data)
        known = {old.branch for old in self.got if old.method == message.method}
        if message.branch not in known:
            self.got.append(message)
            self.heard.set()
        if self.status and message.method != b"ACK":
            answer = build(message, self.status, to_tag=b"x", host=b"127.0.0.1", port=addr[1])
            self._transport.sendto(answer, addr)

    @property
    def methods(self) -> list[bytes]:
        return [message.method for message in self.got]


@asynccontextmanager
async def exchanges(*statuses: int) -> AsyncIterator[Sequence[Exchange]]:
    loop = asyncio.get_running_loop()
    made = []
    for status in statuses:
        transport, exchange = await loop.create_datagram_endpoint(
            lambda status=status: Exchange(status),  # type: ignore[misc]  # Bound now.
            local_addr=("127.0.0.1", 0),
        )
        made.append((transport, exchange))
    yield [exchange for _, exchange in made]
    for transport, _ in made:
        transport.close()


def zone(servers: Sequence[Exchange]) -> list[str]:
    """Return one SRV name with the servers by priority."""
    lines = [
        f"_sip._udp.exchange.example 60 SRV {n} 0 {server.port} s{n}.exchange.example."
        for n, server in enumerate(servers, 1)
    ]
    return lines + [f"s{n}.exchange.example 60 A 127.0.0.1" for n, _ in enumerate(servers, 1)]


def config(folder: Path, names: NameServer, *, trunk: str = "exchange.example") -> Path:
    file = folder / "sipgram.toml"
    file.write_text(
        f"""
[routing]
nameservers = ["{names.address}"]
hop_s = 0.5
[[routing.trunks]]
name = "exchange"
hosts = ["{trunk}"]
domains = ["exchange.example"]
"""
    )
    return file


@asynccontextmanager
async def served(folder: Path, *options: str) -> AsyncIterator[Serve]:
    arguments = ("--auth", "none", "--http", "none", "--listen", "udp:127.0.0.1:0")
    async with Serve(*arguments, *options, data=folder / "data") as serve:
        await serve.ready()
        yield serve


@pytest.mark.rfc("3263", "4.3")
@pytest.mark.parametrize("method", [b"MESSAGE", b"INVITE", b"REFER"])
async def test_d33_one_says_503_one_is_silent_and_the_third_takes_it(
    method: bytes, tmp_path: Path
) -> None:
    """Issue 4, "Shown by" 6: "A server that answers 503, then none, then 200 behind one SRV name"."""
    async with NameServer() as names, exchanges(503, 0, 200) as servers:
        names.set(*zone(servers))
        file = config(tmp_path, names)
        async with (
            served(tmp_path, "--config", str(file)) as serve,
            WirePhone(serve.port("udp")) as phone,
        ):
            contact = b"Contact: <sip:alice@127.0.0.1:%d>" % phone.port
            answer = await phone.ask(method, b"sip:x@exchange.example", headers=(contact,))
            assert answer.status == 200
            assert [server.methods[:1] for server in servers] == [[method]] * 3
            # The two that failed are remembered: the next goes to the third at once.
            again = await phone.ask(method, b"sip:y@exchange.example", headers=(contact,))
    assert again.status == 200
    assert [server.methods.count(method) for server in servers] == [1, 1, 2]


@pytest.mark.parametrize("is_broken", [False, True])
async def test_d33_the_whole_resolver_down_is_480_within_answer_s(
    is_broken: bool, tmp_path: Path
) -> None:
    async with NameServer() as names:
        name = "exchange.example"
        asked = [f"{prefix}{name}" for prefix in ("", "_sip._udp.", "_sip._tcp.", "_sips._tcp.")]
        names.silent.update(() if is_broken else asked)
        names.broken.update(dict.fromkeys(asked, 2) if is_broken else {})
        file = config(tmp_path, names)
        async with (
            served(tmp_path, "--config", str(file)) as serve,
            WirePhone(serve.port("udp")) as phone,
        ):
            began = time.monotonic()
            answer = await phone.ask(b"MESSAGE", b"sip:x@exchange.example", body=b"hi")
            took_s = time.monotonic() - began
            bob = await phone.register(b"bob")
    assert (answer.status, bob.status) == (480, 200)
    assert took_s < 5.5


@pytest.mark.rfc("3263", "4.2")
async def test_d31_a_dialog_whose_peer_is_a_name_goes_on(tmp_path: Path) -> None:
    """The 200 of the exchange names its Contact; ACK and BYE are looked up."""
    async with NameServer() as names, exchanges(0) as servers:
        (server,) = servers
        names.set(*zone(servers))
        file = config(tmp_path, names)
        async with (
            served(tmp_path, "--config", str(file)) as serve,
            WirePhone(serve.port("udp")) as phone,
        ):
            contact = b"Contact: <sip:alice@127.0.0.1:%d>" % phone.port
            asking = asyncio.create_task(
                phone.ask(b"INVITE", b"sip:x@exchange.example", headers=(contact,))
            )
            async with asyncio.timeout(5):
                await server.heard.wait()
            invite = server.got[0]
            (recorded,) = invite.values(b"record-route")
            place = b"<sip:exchange@exchange.example>"
            answer = build(
                invite,
                200,
                to_tag=b"x",
                host=b"127.0.0.1",
                port=0,
                headers=(b"Record-Route: " + recorded, b"Contact: " + place),
            )
            server._transport.sendto(answer, ("127.0.0.1", serve.port("udp")))
            final = await asking
            route = b"Route: " + (final.value(b"record-route") or b"")
            server.status = 200
            bye = await _bye(phone, final, route)
            assert bye.status == 200
            stranger = await _bye(phone, final, route, uri=b"sip:x@victim.example")
    assert b"BYE" in server.methods
    assert stranger.status == 480  # With --auth none anybody may ask; there is no such name.


async def _bye(
    phone: WirePhone, final: Message, route: bytes, *, uri: bytes = b"sip:exchange@exchange.example"
) -> Message:
    from sipgram.testing.messages import request

    phone._count += 1
    via = b"Via: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bK-bye-%d" % phone._count
    sender, to = final.value(b"from") or b"", final.value(b"to") or b""
    raw = request(
        b"BYE", uri, via=via, sender=sender, to=to, call_id=final.call_id, cseq=2, headers=(route,)
    )
    phone.socket.sendto(raw, ("127.0.0.1", phone._server))
    while True:
        answer = parse(await phone.datagram())
        if answer.method == b"BYE" and answer.status >= 200:
            return answer


async def test_connections_to_a_next_hop_are_opened_once_and_again_after_they_closed(
    tmp_path: Path,
) -> None:
    opened: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while True:
            try:
                message = await read_message(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            writer.write(build(message, 200, to_tag=b"x", host=b"127.0.0.1", port=0))

    listener = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with NameServer() as names:
        names.set("s1.exchange.example 60 A 127.0.0.1")
        file = config(tmp_path, names, trunk=f"s1.exchange.example:{port};transport=tcp")
        listen = ("--listen", "tcp:127.0.0.1:0", "--config", str(file))
        async with served(tmp_path, *listen) as serve, WirePhone(serve.port("udp")) as phone:
            for _ in range(3):
                answer = await phone.ask(b"MESSAGE", b"sip:x@exchange.example", body=b"x" * 2_000)
                assert answer.status == 200
            assert len(opened) == 1
            opened[0].close()
            await opened[0].wait_closed()
            while (
                await phone.ask(b"MESSAGE", b"sip:x@exchange.example", body=b"hi")
            ).status != 200:
                pass
            assert len(opened) == 2
            listener.close()
            for writer in opened:
                writer.close()
            while (
                await phone.ask(b"MESSAGE", b"sip:x@exchange.example", body=b"hi")
            ).status == 200:
                pass


# ---- federation --------------------------------------------------------------------------------


class Two:
    """Servers of a.example and b.example; both ask for certificates of the test's authority."""

    def __init__(self, folder: Path, names: NameServer, *, is_on: bool = True) -> None:
        self.folder = folder
        self.names = names
        self.authority = Authority(folder)
        self.is_on = is_on
        self.ports: dict[str, int] = {}
        self.tls: dict[str, int] = {}

    @asynccontextmanager
    async def running(self, domain: str, user: str, *, shown: str = "") -> AsyncIterator[None]:
        issued = self.authority.issue(f"URI:sip:{shown or domain}", file=domain)
        data, file = self.folder / domain, self.folder / f"{domain}.toml"
        data.mkdir()
        file.write_text(
            f"""
[tls]
cert = ["{issued.cert}"]
key = ["{issued.key}"]
ca = "{self.authority.ca}"
client_cert = "optional"
[routing]
federation = {str(self.is_on).lower()}
nameservers = ["{self.names.address}"]
"""
        )
        aor = f"sip:{user}@{domain}"
        command("user", "add", aor, "--password-stdin", "--data", str(data), stdin=PASSWORD)
        arguments = ("--domain", domain, "--http", "none", "--config", str(file))
        listeners = ("--listen", "udp:127.0.0.1:0", "--listen", "tls:127.0.0.1:0")
        async with Serve(*arguments, *listeners, data=data) as serve:
            await serve.ready()
            self.ports[domain], self.tls[domain] = serve.port("udp"), serve.port("tls")
            yield

    def client(self, user: str, domain: str) -> Client:
        server = f"udp:127.0.0.1:{self.ports[domain]}"
        return Client(f"sip:{user}@{domain}", password=PASSWORD, server=server)

    def tell(self) -> None:
        """Put both into DNS."""
        lines = []
        for domain, port in self.tls.items():
            lines.append(f"_sips._tcp.{domain} 60 SRV 0 0 {port} sip.{domain}.")
            lines.append(f"sip.{domain} 60 A 127.0.0.1")
        self.names.set(*lines)


async def federated(
    folder: Path, *, is_on: bool = True, shown_by_a: str = "", shown_by_b: str = ""
) -> tuple[int, str]:
    """Let alice of a.example write to bob of b.example; return the status and what bob heard."""
    async with AsyncExitStack() as stack:
        two = Two(folder, await stack.enter_async_context(NameServer()), is_on=is_on)
        await stack.enter_async_context(two.running("a.example", "alice", shown=shown_by_a))
        await stack.enter_async_context(two.running("b.example", "bob", shown=shown_by_b))
        two.tell()
        alice = await stack.enter_async_context(two.client("alice", "a.example"))
        bob = await stack.enter_async_context(two.client("bob", "b.example"))
        try:
            sent = await alice.send("sip:bob@b.example", "Hello over there")
        except Rejected as error:
            return error.status, ""
        async for event in bob.events():
            if isinstance(event, Received):
                return sent.status, event.text
    return 0, ""


@pytest.mark.rfc("5922", "7.4")
async def test_d1_domains_write_to_each_other_by_certificate(tmp_path: Path) -> None:
    assert await federated(tmp_path) == (200, "Hello over there")


@pytest.mark.rfc("5922", "7.3")
async def test_d1_a_server_that_is_not_of_the_domain_gets_nothing(tmp_path: Path) -> None:
    assert await federated(tmp_path, shown_by_b="other.example") == (480, "")


@pytest.mark.rfc("5922", "7.4")
async def test_d1_a_client_that_is_not_of_the_domain_in_from_is_refused(tmp_path: Path) -> None:
    status, heard = await federated(tmp_path, shown_by_a="other.example")

    assert (status, heard) == (403, "")


async def test_d1_federation_is_off_by_default(tmp_path: Path) -> None:
    assert await federated(tmp_path, is_on=False) == (403, "")
