"""Receipts and typing through a client, and one message whatever its wire form."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

import sipgram
from sipgram.client.client import Client
from sipgram.client.messages import Rejected
from sipgram.errors import UsageError
from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import Imdn, asking, enclosed
from sipgram.payload.iscomposing import IsComposing
from sipgram.sip.message.message import Message

from .conftest import SETTINGS
from .peer import Peer

ALICE = "sip:alice@example.com"
CPIM = b"Content-Type: message/cpim"
ALL = ("positive-delivery", "negative-delivery", "display")
MULTIPART = b"--b\r\nContent-Type: text/html\r\n\r\n<b>hi</b>\r\n--b\r\n\r\nhi\r\n--b--"


@pytest.fixture
async def alice(peer: Peer) -> AsyncIterator[Client]:
    async with Client(ALICE, server=peer.tcp, settings=SETTINGS) as me:
        assert await anext(me.events()) == sipgram.ConnectionState("registered")
        yield me


def cpim(*wishes: str, message_id: str = "m1") -> bytes:
    headers = asking(message_id, wishes)
    return bytes(Cpim("grün".encode(), date_time="2026-11-25T12:00:00+01:00", headers=headers))


def opened(request: Message) -> Body:
    kind = (request.value(b"content-type") or b"").decode()
    return Body.parse(request.body, kind)


async def next_event(me: Client) -> object:
    async with asyncio.timeout(5):
        return await anext(me.events())


async def next_message(me: Client) -> sipgram.Message:
    event = await next_event(me)
    assert isinstance(event, sipgram.Message)
    return event


# ---- one value ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((b"Content-Type: text/plain;charset=iso-8859-1",), "grün".encode("latin-1")),
        ((CPIM,), cpim()),
        ((CPIM, b"Content-Encoding: deflate"), zlib.compress(cpim())),
        (
            (b'Content-Type: multipart/mixed;boundary="b"',),
            b"--b\r\nContent-Type: text/plain\r\n\r\n" + "grün".encode() + b"\r\n--b--",
        ),
    ],
)
async def test_the_text_is_the_same_whatever_it_is_wrapped_in(
    peer: Peer, alice: Client, lines: tuple[bytes, ...], body: bytes
) -> None:
    response = await peer.request(b"MESSAGE", body, *lines, call_id=b"c1")

    message = await next_message(alice)

    assert response.status == 200
    assert (message.text, message.call_id) == ("grün", "c1")
    assert message.id == ("m1" if CPIM in lines else "c1")
    assert message.raw.endswith(body)


async def test_html_is_beside_the_text(peer: Peer, alice: Client) -> None:
    kind = b"Content-Type: multipart/alternative; boundary=b"
    await peer.request(b"MESSAGE", MULTIPART, kind)
    message = await next_message(alice)
    assert (message.text, message.html, message.data) == ("hi", "<b>hi</b>", MULTIPART)


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        ((CPIM,), b"nonsense", 400),
        ((CPIM, b"Content-Encoding: deflate"), b"nonsense", 400),
        (
            (b"Content-Type: text/plain", b"Content-Encoding: deflate"),
            zlib.compress(bytes(300_000)),
            413,
        ),
        ((b"Content-Type: message/imdn+xml",), b"<imdn/>", 400),
        ((b"Content-Type: application/im-iscomposing+xml",), b"<x/>", 400),
    ],
)
async def test_what_is_malformed_is_refused(
    peer: Peer, alice: Client, lines: tuple[bytes, ...], body: bytes, status: int
) -> None:
    assert (await peer.request(b"MESSAGE", body, *lines)).status == status


# ---- receipts -------------------------------------------------------------------------------


@pytest.mark.rfc("5438", "7.2.1")
async def test_delivered_is_said_by_itself_and_displayed_when_it_is_marked(
    peer: Peer, alice: Client
) -> None:
    await peer.request(b"MESSAGE", cpim(*ALL), CPIM)
    message = await next_message(alice)
    assert message.wants == {"delivered", "failed", "displayed"}

    receipt = await peer.received(b"MESSAGE")
    body = opened(receipt)
    notice = Imdn.parse(body.content)
    assert (receipt.uri, receipt.value(b"content-type")) == (
        b"sip:bob@example.com",
        b"message/cpim",
    )
    assert (notice.message_id, notice.status) == ("m1", "delivered")
    assert (notice.recipient_uri, notice.date_time) == (ALICE, "2026-11-25T12:00:00+01:00")
    assert body.is_notice

    await message.mark_displayed()
    await message.mark_displayed()

    assert Imdn.parse(opened(await peer.received(b"MESSAGE")).content).status == "displayed"
    assert peer.is_idle(b"MESSAGE")


async def test_who_asks_for_nothing_gets_nothing(peer: Peer, alice: Client) -> None:
    await peer.message(b"plain")
    await peer.request(b"MESSAGE", cpim("negative-delivery"), CPIM, call_id=b"c2")
    for _ in range(2):
        await (await next_message(alice)).mark_displayed()

    await alice.send("bob", "the next that goes out")
    assert (await peer.received(b"MESSAGE")).body == b"the next that goes out"


async def test_d24_a_receipt_is_an_event_and_is_not_answered(peer: Peer, alice: Client) -> None:
    notice = Imdn.of("m7", "displayed", recipient_uri="sip:bob@example.com")
    wrapped = enclosed(notice, message_id="x", sender="sip:bob@example.com", to=ALICE)
    plain = zlib.compress(bytes(Imdn.of("call-9", "delivered", recipient_uri="")))

    await peer.request(b"MESSAGE", bytes(wrapped), CPIM, call_id=b"c1")
    for _ in range(2):  # A stored one that comes again is told once.
        await peer.request(
            b"MESSAGE",
            plain,
            b"Content-Type: message/imdn+xml",
            b"Content-Encoding: deflate",
            call_id=b"c2",
        )
    await peer.message(b"end")

    first, second = await next_event(alice), await next_event(alice)
    assert isinstance(first, sipgram.Receipt)
    assert isinstance(second, sipgram.Receipt)
    assert (first.message_id, first.status, first.sender) == (
        "m7",
        "displayed",
        "sip:bob@example.com",
    )
    assert (second.message_id, second.status) == ("call-9", "delivered")
    assert (await next_message(alice)).text == "end"
    assert peer.is_idle(b"MESSAGE")


async def test_send_asks_for_receipts(peer: Peer, alice: Client) -> None:
    sent = await alice.send("bob", "grün", want={"delivered", "displayed"}, expires_s=60)

    request = await peer.received(b"MESSAGE")
    body = opened(request)
    assert body.wishes == set(ALL)
    assert (body.text, body.content_type) == ("grün", "text/plain;charset=UTF-8")
    assert (body.message_id, sent.id) == (sent.call_id, request.call_id.decode())
    assert sent.want == {"delivered", "displayed"}
    assert request.value(b"expires") == b"60"


async def test_a_receipt_is_waited_for(peer: Peer, alice: Client) -> None:
    sent = await alice.send("bob", "hi", want={"delivered"})
    with pytest.raises(TimeoutError):
        await sent.receipt("delivered", timeout_s=0.01)
    waiting = asyncio.create_task(sent.receipt("delivered", timeout_s=5))
    kind = b"Content-Type: message/imdn+xml"
    for message_id in ("another", sent.id):
        body = bytes(Imdn.of(message_id, "delivered", recipient_uri=""))
        await peer.request(b"MESSAGE", body, kind, call_id=message_id.encode() + b"-r")

    await waiting
    await sent.receipt("delivered")  # It has come already.


@pytest.mark.parametrize("status", [415, 488])
async def test_who_refuses_cpim_gets_the_text_and_is_remembered(
    peer: Peer, alice: Client, status: int
) -> None:
    peer.says(b"MESSAGE", status)

    sent = await alice.send("bob", "one", want={"displayed"})
    await alice.send("bob", "two", want={"displayed"})
    await alice.send("carol", "three", want={"displayed"})

    requests = [await peer.received(b"MESSAGE") for _ in range(4)]
    kinds = [request.value(b"content-type") for request in requests]
    assert kinds == [b"message/cpim", b"text/plain", b"text/plain", b"message/cpim"]
    assert requests[1].body == b"one"
    assert (sent.call_id, sent.want) == (requests[1].call_id.decode(), frozenset())


async def test_other_refusals_are_raised(peer: Peer, alice: Client) -> None:
    peer.says(b"MESSAGE", 404)
    with pytest.raises(Rejected):
        await alice.send("bob", "one", want={"displayed"})
    with pytest.raises(UsageError, match="'eaten'"):
        await alice.send("bob", "one", want={"eaten"})


async def test_a_receipt_under_way_is_sent_before_the_end(peer: Peer) -> None:
    async with Client(ALICE, server=peer.udp, settings=SETTINGS) as me:
        await peer.request(b"MESSAGE", cpim(*ALL), CPIM)
        async for event in me.events():
            if isinstance(event, sipgram.Message):
                break
    assert Imdn.parse(opened(await peer.received(b"MESSAGE")).content).status == "delivered"


# ---- typing ---------------------------------------------------------------------------------


@pytest.mark.rfc("3994", "3.3")
async def test_typing_is_an_event_when_it_changes(peer: Peer, alice: Client) -> None:
    kind = b"Content-Type: application/im-iscomposing+xml"
    for n, state in enumerate(("active", "active", "idle", "active")):
        status = IsComposing("active" if state == "active" else "idle")
        response = await peer.request(b"MESSAGE", bytes(status), kind, call_id=b"t%d" % n)
        assert response.status == 200
    await peer.message(b"hi")

    events = [await next_event(alice) for _ in range(5)]

    bob = "sip:bob@example.com"
    assert [e.active for e in events if isinstance(e, sipgram.Typing)] == [True, False, True, False]
    assert events[0] == sipgram.Typing(bob, active=True)
    assert isinstance(events[3], sipgram.Message)


@pytest.mark.rfc("3994", "3.2")
async def test_typing_is_told_once_and_ended_by_the_message(peer: Peer, alice: Client) -> None:
    await alice.typing("bob")
    await alice.typing("bob")
    await alice.send("bob", "hi")
    await alice.typing("bob", active=False)
    await alice.typing("bob")
    await alice.typing("bob", active=False)

    requests = [await peer.received(b"MESSAGE") for _ in range(4)]
    assert requests[0].value(b"expires") == b"0"
    assert requests[1].body == b"hi"
    states = [IsComposing.parse(requests[n].body).state for n in (0, 2, 3)]
    assert states == ["active", "active", "idle"]
    assert peer.is_idle(b"MESSAGE")


async def test_d21_who_refuses_to_hear_of_typing_does_not_any_more(
    peer: Peer, alice: Client
) -> None:
    peer.says(b"MESSAGE", 415)
    await alice.typing("bob")
    await peer.received(b"MESSAGE")

    await alice.typing("bob", active=False)
    await alice.typing("bob")

    assert peer.is_idle(b"MESSAGE")
