"""Large requests and closed connections, seen from outside (D26, D28; issue calls, shown by 5)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sipgram.net.tcp import TcpFlow
from sipgram.server import contacts
from sipgram.server.app import Server, build
from sipgram.server.contacts import Dialled, Dialler
from sipgram.settings import (
    AuthSettings,
    MessagingSettings,
    RegistrarSettings,
    ServerSettings,
    Settings,
)
from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build as build_reply
from sipgram.sip.sink import Flow
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.recording import RecordingFlow, RecordingUser

from .running import read_message
from .wire_phone import HOST, WirePhone

LARGE = b"x" * 4_096
BOB = b"sip:bob@localhost"
SDP = b"v=0\r\n" + b"a=candidate:1 1 UDP 1 192.0.2.1 1 typ host\r\n" * 45


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = Settings(
        server=ServerSettings(listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), data=str(tmp_path)),
        auth=AuthSettings(mode="none"),
        registrar=RegistrarSettings(spread=False),
    )
    running = await build(settings)
    yield running
    await running.close()


class StreamPhone:
    """A phone on one connection that it opened; it answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connected(cls, server: Server) -> "StreamPhone":
        return cls(*await asyncio.open_connection(HOST, server.listeners[1].port))

    async def register(
        self, contact: str, *, params: str = "", call_id: str = "1", cseq: int = 1
    ) -> Message:
        """Bind a contact to bob."""
        self.writer.write(
            b"REGISTER sip:localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.1.2.3;branch=z9hG4bK-%b%d\r\n"
            b"From: <%b>;tag=1\r\nTo: <%b>\r\nCall-ID: %b\r\nCSeq: %d REGISTER\r\n"
            b"Contact: <%b>%b\r\nSupported: outbound\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            % (
                call_id.encode(),
                cseq,
                BOB,
                BOB,
                call_id.encode(),
                cseq,
                contact.encode(),
                params.encode(),
            )
        )
        return await self.read()

    async def read(self) -> Message:
        return await read_message(self.reader)

    def answer(self, message: Message) -> None:
        self.writer.write(build_reply(message, 200, to_tag=b"t", host=HOST.encode(), port=0))

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def texted(sender: WirePhone, body: bytes, *, phone: WirePhone | None = None) -> int:
    """Send bob a message, which ``phone`` takes over UDP when it is told to; return the answer."""
    taking = asyncio.create_task(phone.take()) if phone else None
    answer = await sender.ask(b"MESSAGE", BOB, body=body)
    if taking is not None:
        assert (await taking).body == body
    return answer.status


# ---- D26 -----------------------------------------------------------------------------------


async def test_d26_a_large_message_goes_by_tcp_to_a_contact_that_takes_it(server: Server) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.open_tcp()
        await phone.register(b"bob")

        for number in range(2):
            assert await texted(sender, LARGE) == 200
            came = await phone.streamed.get()
            assert came.body == LARGE
            assert came.raw.split(b"\r\n")[1].startswith(b"Via: SIP/2.0/TCP 127.0.0.1:")
            assert len(phone.connections) == 1, number  # The second over the same.
        assert await texted(sender, b"small", phone=phone) == 200


async def test_d26_over_udp_where_the_contact_refuses_tcp_which_is_remembered(
    server: Server,
) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.register(b"bob")

        assert await texted(sender, LARGE, phone=phone) == 200
        await phone.open_tcp()
        assert await texted(sender, LARGE, phone=phone) == 200
        assert phone.connections == []


async def test_d26_a_contact_that_does_not_accept_gets_it_over_udp_after_a_second(
    server: Server,
) -> None:
    port = server.listeners[0].port
    loop = asyncio.get_running_loop()
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.register(b"bob")
        # A queue that is full drops what comes, as a firewall does.
        phone.tcp.listen(0)
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex((HOST, phone.port))
        began = loop.time()

        assert await texted(sender, LARGE, phone=phone) == 200

        assert loop.time() - began > 0.9
        for other in others:
            other.close()


async def test_d26_a_connection_that_is_reset_leaves_udp(server: Server) -> None:
    """It was accepted, yet nothing is read from it: a port of another program."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.register(b"bob")
        async with await asyncio.start_server(reset, sock=phone.tcp):
            assert await texted(sender, LARGE, phone=phone) == 200


async def test_d26_a_contact_behind_nat_is_not_connected_to(server: Server) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.open_tcp()
        await phone.register(b"bob", contact=f"sip:bob@10.1.2.3:{phone.port}")

        assert await texted(sender, LARGE, phone=phone) == 200
        assert phone.connections == []


async def test_d26_the_stream_flow_of_the_device_comes_first(server: Server) -> None:
    instance = ';+sip.instance="<urn:uuid:1>";reg-id=%d'
    port = server.listeners[0].port
    stream = await StreamPhone.connected(server)
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await stream.register("sip:bob@10.1.2.3;transport=tcp", params=instance % 1)
        await phone.open_tcp()
        await phone.register(
            b"bob", params=(instance % 2).encode(), headers=(b"Supported: outbound",)
        )

        assert await texted(sender, b"small", phone=phone) == 200
        asked = asyncio.create_task(sender.ask(b"MESSAGE", BOB, body=LARGE))
        came = await stream.read()
        assert came.body == LARGE
        assert came.uri == b"sip:bob@10.1.2.3;transport=tcp"
        stream.answer(came)
        assert (await asked).status == 200
        assert phone.connections == []
    await stream.close()


@pytest.mark.parametrize(("size", "status"), [(64_000, 200), (64_990, 513)])
async def test_d26_513_only_above_what_a_datagram_holds(
    server: Server, size: int, status: int
) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.register(b"bob")
        took = phone if status == 200 else None

        assert await texted(sender, b"y" * size, phone=took) == status


async def test_d26_an_invite_of_2_kb_over_udp_where_tcp_is_closed(server: Server) -> None:
    """Issue calls, shown by 5: "an INVITE of 2 KB over UDP still works where TCP is closed"."""
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as caller:
        await phone.register(b"bob")
        taking = asyncio.create_task(phone.take())
        contact = b"Contact: <sip:alice@127.0.0.1:%d>" % caller.port

        answer = await caller.ask(b"INVITE", BOB, headers=(contact,), body=SDP)

        assert answer.status == 200
        assert (await taking).body == SDP


async def test_d26_an_invite_of_2_kb_goes_by_tcp_where_that_is_open(server: Server) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as caller:
        await phone.open_tcp()
        await phone.register(b"bob")
        contact = b"Contact: <sip:alice@127.0.0.1:%d>" % caller.port

        answer = await caller.ask(b"INVITE", BOB, headers=(contact,), body=SDP)

        assert answer.status == 200
        assert (await phone.streamed.get()).body == SDP


@pytest.mark.parametrize("takes_tcp", [True, False])
async def test_d26_a_stored_copy_is_no_different(server: Server, takes_tcp: bool) -> None:
    port = server.listeners[0].port
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        assert await texted(sender, LARGE) == 202
        if takes_tcp:
            await phone.open_tcp()
        await phone.register(b"bob")

        came = await (phone.streamed.get() if takes_tcp else phone.take())

        assert came.body == LARGE


# ---- D28 -----------------------------------------------------------------------------------


async def test_d28_a_public_contact_is_connected_to_once_its_stream_has_closed(
    server: Server,
) -> None:
    port = server.listeners[0].port
    stream = await StreamPhone.connected(server)
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await phone.open_tcp()
        await stream.register(f"sip:bob@{HOST}:{phone.port};transport=tcp")
        await stream.close()
        await closed(server)

        for body in (b"one", b"two"):
            assert await texted(sender, body) == 200
            assert (await phone.streamed.get()).body == body
        assert len(phone.connections) == 1


async def test_d28_a_public_contact_that_takes_no_connection_is_away(server: Server) -> None:
    port = server.listeners[0].port
    stream = await StreamPhone.connected(server)
    async with WirePhone(port) as phone, WirePhone(port) as sender:
        await stream.register(f"sip:bob@{HOST}:{phone.port};transport=tcp")
        await stream.close()
        await closed(server)

        assert await texted(sender, b"one") == 202
        assert server.locations.find(BOB).bindings == []

        again = await StreamPhone.connected(server)
        await again.register(f"sip:bob@{HOST}:{phone.port};transport=tcp", call_id="2")
        assert (await again.read()).body == b"one"
        await again.close()


async def test_d28_behind_nat_the_device_is_away_at_once(server: Server) -> None:
    stream = await StreamPhone.connected(server)
    async with WirePhone(server.listeners[0].port) as sender:
        await stream.register("sip:bob@10.1.2.3;transport=tcp")
        await stream.close()
        await closed(server)

        assert server.locations.find(BOB).bindings == []
        assert await texted(sender, b"one") == 202


async def test_d28_an_outbound_flow_ends_at_once(server: Server) -> None:
    stream = await StreamPhone.connected(server)
    async with WirePhone(server.listeners[0].port) as phone:
        await phone.open_tcp()
        params = ';+sip.instance="<urn:uuid:1>";reg-id=1'
        await stream.register(f"sip:bob@{HOST}:{phone.port};transport=tcp", params=params)
        await stream.close()
        await closed(server)

        assert server.locations.find(BOB).bindings == []
        assert phone.connections == []


async def test_d28_a_new_register_moves_what_waits_to_the_new_connection(server: Server) -> None:
    """The phone's NAT has forgotten the old connection, and nobody has noticed yet."""
    params = ';+sip.instance="<urn:uuid:1>"'
    old = await StreamPhone.connected(server)
    await old.register("sip:bob@10.1.2.3:1;transport=tcp", params=params)
    async with WirePhone(server.listeners[0].port) as sender:
        asked = asyncio.create_task(sender.ask(b"MESSAGE", BOB, body=b"hello"))
        first = await old.read()

        new = await StreamPhone.connected(server)
        await new.register("sip:bob@10.1.2.3:2;transport=tcp", params=params, call_id="2")
        came = await new.read()

        assert came.uri == b"sip:bob@10.1.2.3:2;transport=tcp"
        assert (came.body, came.branch) == (b"hello", first.branch)
        new.answer(came)
        assert (await asked).status == 200
    await new.close()
    await old.close()


async def test_d28_what_was_stored_meanwhile_comes_once_by_the_new_connection(
    tmp_path: Path,
) -> None:
    """The sender has 202 already, and the request still waits on the connection that is dead."""
    settings = Settings(
        server=ServerSettings(listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), data=str(tmp_path)),
        auth=AuthSettings(mode="none"),
        registrar=RegistrarSettings(spread=False),
        messaging=MessagingSettings(answer_s=1.0),
    )
    params = ';+sip.instance="<urn:uuid:1>"'
    running = await build(settings)
    old = await StreamPhone.connected(running)
    await old.register("sip:bob@10.1.2.3:1;transport=tcp", params=params)
    async with WirePhone(running.listeners[0].port) as sender:
        assert await texted(sender, b"hello") == 202

        new = await StreamPhone.connected(running)
        await new.register("sip:bob@10.1.2.3:2;transport=tcp", params=params, call_id="2")
        came = await new.read()
        new.answer(came)
        asked = asyncio.create_task(sender.ask(b"MESSAGE", BOB, body=b"next"))
        following = await new.read()
        new.answer(following)

        assert (came.body, following.body) == (b"hello", b"next")
        assert (await asked).status == 200
        assert running.mailroom.ledger.waiting_count == 0
    await new.close()
    await old.close()
    await running.close()


async def closed(server: Server) -> None:
    """Wait until the server has seen the only connection close."""
    for flow in list(server.endpoint.connections):
        await flow.closed
    await asyncio.sleep(0)


# ---- the thresholds ------------------------------------------------------------------------


class NoConnections:
    """Sockets of which none can be opened."""

    def __init__(self) -> None:
        self.table = TransactionTable(RecordingUser(), timers=Timers())

    async def connect(self, host: str, port: int, *, timeout_s: float) -> TcpFlow:
        raise ConnectionRefusedError

    def after_batch(self) -> None:
        """Nothing is due."""


@dataclass
class Contact:
    uri: bytes
    flow: Flow
    name: bytes = b"contact"
    routes: bytes = b""
    instance: bytes = b""
    is_silent: bool = False
    cannot_read: frozenset[bytes] = frozenset()


@pytest.mark.parametrize(
    ("host", "size", "is_dialled"),
    [
        (b"192.0.2.1", 1_300, False),
        (b"192.0.2.1", 1_301, True),
        (b"2001:db8::1", 1_200, False),
        (b"2001:db8::1", 1_201, True),
    ],
)
def test_d26_what_is_large(host: bytes, size: int, is_dialled: bool) -> None:
    dialler = Dialler(NoConnections(), on_stream=lambda target: None, clock=lambda: 0.0)
    shown = b"[%b]" % host if b":" in host else host
    contact = Contact(b"sip:bob@" + shown, RecordingFlow(host=host))

    found = dialler.carry(contact, size)

    assert found is not None
    assert isinstance(found[1], Dialled) is is_dialled


@pytest.mark.parametrize(
    ("uri", "routes"),
    [
        (b"sip:bob@10.1.2.3", b""),
        (b"sip:bob@192.0.2.1;transport=tls", b""),
        (b"sips:bob@192.0.2.1", b""),
        (b"sip:bob@192.0.2.1", b"Route: <sip:10.1.2.3;lr>\r\n"),
        (b"sip:bob@name.example.net", b""),
    ],
)
def test_d26_who_cannot_be_connected_to_gets_datagrams_up_to_65_000(
    uri: bytes, routes: bytes
) -> None:
    dialler = Dialler(NoConnections(), on_stream=lambda target: None, clock=lambda: 0.0)
    contact = Contact(uri, RecordingFlow(host=b"192.0.2.1"), routes=routes)

    assert dialler.carry(contact, 65_000) == (contact, contact.flow)
    assert dialler.carry(contact, 65_001) is None


async def test_d26_a_refusal_is_remembered_for_ten_minutes_among_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contacts, "ADDRESSES_MAX", 1)
    now = 0.0
    dialler = Dialler(NoConnections(), on_stream=lambda target: None, clock=lambda: now)
    one, two = (
        Contact(b"sip:bob@192.0.2.%d" % n, RecordingFlow(host=b"192.0.2.%d" % n)) for n in (1, 2)
    )

    async def is_dialled(contact: Contact) -> bool:
        found = dialler.carry(contact, 2_000)
        assert found is not None
        if found[1] is contact.flow:
            return False
        found[1].send(b"")
        for _ in range(5):
            await asyncio.sleep(0)
        return True

    assert await is_dialled(one)
    assert not await is_dialled(one)
    now = contacts.UDP_ONLY_S
    assert await is_dialled(one)
    assert await is_dialled(two)  # Which takes the only place.
    assert await is_dialled(one)
