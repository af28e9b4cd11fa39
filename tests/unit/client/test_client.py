"""Sending and receiving through a client, on loopback."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import sipgram
from sipgram.client.client import Client
from sipgram.client.messages import NoAnswer, Outcome, Rejected
from sipgram.errors import UsageError

from .conftest import SETTINGS
from .peer import Peer

ALICE = "sip:alice@example.com"


@pytest.fixture
async def sender(peer: Peer) -> AsyncIterator[Client]:
    """Alice without a registration."""
    async with Client(ALICE, server=peer.udp, register=False, settings=SETTINGS) as me:
        yield me


@pytest.fixture(params=["udp", "tcp"])
async def listener(peer: Peer, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Alice, registered, who has read that she is."""
    server = peer.udp if request.param == "udp" else peer.tcp
    async with Client(ALICE, server=server, settings=SETTINGS) as me:
        assert await anext(me.events()) == sipgram.ConnectionState("registered")
        yield me


# ---- sending ----------------------------------------------------------------------------------


@pytest.mark.rfc("3428", "4")
async def test_message_is_sent_and_delivered(peer: Peer, sender: Client) -> None:
    sent = await sender.send("bob", "größer", expires_s=60)

    request = await peer.received(b"MESSAGE")
    assert (sent.outcome, sent.status, sent.reason) == (Outcome.DELIVERED, 200, "OK")
    assert sent.call_id.encode() == request.call_id
    assert sent.ms > 0
    assert request.uri == request.to_uri == b"sip:bob@example.com"
    assert request.from_uri == b"sip:alice@example.com"
    assert request.body == "größer".encode()
    assert request.value(b"content-type") == b"text/plain"
    assert request.value(b"expires") == b"60"
    assert request.has(b"date")
    assert not request.has(b"contact")  # RFC 3428 §4: not in a MESSAGE.
    assert peer.is_idle(b"REGISTER")


async def test_bytes_of_any_type_are_sent_as_they_are(peer: Peer, sender: Client) -> None:
    await sender.send("bob", b"\0\xff", content_type="application/octet-stream")

    request = await peer.received(b"MESSAGE")
    assert request.body == b"\0\xff"
    assert request.value(b"content-type") == b"application/octet-stream"


async def test_accepted_means_stored(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 202)

    assert (await sender.send("bob", "hi")).outcome is Outcome.STORED


async def test_refusal_is_raised(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 480, b"Retry-After: 30")

    with pytest.raises(Rejected) as caught:
        await sender.send("bob", "hi")

    error = caught.value
    assert (error.status, error.retry_after_s) == (480, 30)
    assert error.call_id.encode() == (await peer.received(b"MESSAGE")).call_id


async def test_silence_is_raised_after_timer_f(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 0)

    with pytest.raises(NoAnswer, match=r"no answer from udp:127\.0\.0\.1") as caught:
        await sender.send("bob", "hi")

    assert caught.value.call_id.encode() == (await peer.received(b"MESSAGE")).call_id


async def test_silence_is_raised_after_the_callers_time(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 0)

    with pytest.raises(NoAnswer, match=r"no answer within 0\.05 s"):
        await sender.send("bob", "hi", timeout_s=0.05)


async def test_provisional_answer_is_no_answer_yet(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 100)

    with pytest.raises(NoAnswer):
        await sender.send("bob", "hi")


async def test_nobody_listens_on_tcp() -> None:
    client = Client(ALICE, server="tcp:127.0.0.1:1", register=False, settings=SETTINGS)
    async with client as me:
        with pytest.raises(NoAnswer, match=r"cannot reach .*: Connection refused"):
            await me.send("bob", "hi")


async def test_connection_is_opened_again_for_the_next_message(peer: Peer) -> None:
    async with Client(ALICE, server=peer.tcp, register=False, settings=SETTINGS) as me:
        peer.says(b"MESSAGE", 0)
        sending = asyncio.ensure_future(me.send("bob", "one"))
        await peer.received(b"MESSAGE")

        peer.hang_up()

        with pytest.raises(NoAnswer, match="lost the flow"):
            await sending
        assert (await me.send("bob", "two")).status == 200


@pytest.mark.rfc("3261", "18.1.1")
async def test_large_message_takes_a_stream(peer: Peer, sender: Client) -> None:
    """§18.1.1: a request "larger than 1300 bytes [...] MUST be sent using [...] TCP"."""
    await sender.send("bob", "x" * 2000)
    await sender.send("bob", "y" * 2000)

    for letter in (b"x", b"y"):
        request = await peer.received(b"MESSAGE")
        assert (request.value(b"via") or b"").startswith(b"SIP/2.0/TCP")
        assert request.body == letter * 2000


async def test_large_message_goes_as_it_is_where_no_stream_is() -> None:
    """D26: a server without TCP gets it over UDP; RFC 3261 §18.1.1 allows that retry."""
    async with (
        Peer(transports=("udp",)) as peer,
        Client(ALICE, server=peer.udp, register=False, settings=SETTINGS) as me,
    ):
        assert (await me.send("bob", "x" * 2000)).status == 200
        assert (await me.send("bob", "y" * 2000)).status == 200


async def test_wrong_input_is_the_callers_mistake(sender: Client) -> None:
    with pytest.raises(UsageError, match="address is not one that SIP knows"):
        await sender.send("", "hi")
    with pytest.raises(UsageError, match="CR or LF"):
        await sender.send("bob", "hi", content_type="text/plain\r\nRoute: <sip:x>")


# ---- credentials ------------------------------------------------------------------------------


async def test_both_kinds_of_challenge_are_answered(peer: Peer) -> None:
    peer.says(b"MESSAGE", 407, peer.challenge(b"Proxy-Authenticate"))
    peer.says(b"MESSAGE", 401, peer.challenge())

    async with Client(
        ALICE, password="secret", server=peer.udp, register=False, settings=SETTINGS
    ) as me:
        await me.send("bob", "hi")

    for headers in ((), (b"proxy-authorization",), (b"proxy-authorization", b"authorization")):
        request = await peer.received(b"MESSAGE")
        assert all(request.has(header) for header in headers)


async def test_stale_nonce_is_replaced_without_asking(strict: Peer) -> None:
    async with Client(
        ALICE, password="secret", server=strict.udp, register=False, settings=SETTINGS
    ) as me:
        await me.send("bob", "one")
        strict.nonce = "nonce-2"
        strict.says(b"MESSAGE", 401, strict.challenge(stale=True))

        assert (await me.send("bob", "two")).status == 200


async def test_server_that_only_says_stale_is_given_up(peer: Peer) -> None:
    for _ in range(20):
        peer.says(b"MESSAGE", 401, peer.challenge(stale=True))

    async with Client(
        ALICE, password="secret", server=peer.udp, register=False, settings=SETTINGS
    ) as me:
        with pytest.raises(Rejected, match="401"):
            await me.send("bob", "hi")


@pytest.mark.parametrize(
    "challenge",
    [
        b'WWW-Authenticate: Basic realm="x"',
        b'WWW-Authenticate: Digest realm="x", nonce="y", algorithm=SHA-1',
        b"WWW-Authenticate: Digest ,,,=",
        b"X-Nothing: here",
    ],
)
async def test_challenge_that_cannot_be_answered_is_a_refusal(peer: Peer, challenge: bytes) -> None:
    peer.says(b"MESSAGE", 401, challenge)

    async with Client(
        ALICE, password="secret", server=peer.udp, register=False, settings=SETTINGS
    ) as me:
        with pytest.raises(Rejected, match="401"):
            await me.send("bob", "hi")


async def test_without_a_password_a_challenge_is_a_refusal(peer: Peer, sender: Client) -> None:
    peer.says(b"MESSAGE", 407, peer.challenge(b"Proxy-Authenticate"))

    with pytest.raises(Rejected, match="407"):
        await sender.send("bob", "hi")


# ---- receiving --------------------------------------------------------------------------------


@pytest.mark.rfc("3428", "7")
async def test_message_comes_in(peer: Peer, listener: Client) -> None:
    response = await peer.message("größer".encode(), call_id=b"c1")

    event = await anext(listener.events())
    assert isinstance(event, sipgram.Message)
    assert response.status == 200
    assert (event.sender, event.to) == ("sip:bob@example.com", "sip:alice@example.com")
    assert (event.text, event.id) == ("größer", "c1")


async def test_message_that_comes_again_is_shown_once(peer: Peer, listener: Client) -> None:
    """D18: a stored copy keeps its Call-ID, CSeq and From tag, so that a device can tell."""
    for text in (b"one", b"one", b"two"):
        assert (await peer.message(text, call_id=b"c1")).status == 200

    texts = [await anext(listener.events()) for _ in range(2)]
    assert [m.text for m in texts if isinstance(m, sipgram.Message)] == ["one", "two"]


async def test_full_queue_sends_the_message_back(peer: Peer) -> None:
    settings = replace(SETTINGS, events_max=1)
    async with Client(ALICE, server=peer.udp, settings=settings) as me:
        assert (await peer.message(b"one")).status == 200
        refused = await peer.message(b"two", call_id=b"again")
        assert (refused.status, refused.value(b"retry-after")) == (480, b"30")

        await anext(me.events())
        await anext(me.events())
        assert (await peer.message(b"two", call_id=b"again")).status == 200


async def test_an_encoding_that_is_not_known_is_refused(peer: Peer, listener: Client) -> None:
    response = await peer.message(b"x", b"Content-Encoding: gzip")

    assert (response.status, response.value(b"accept-encoding")) == (415, b"deflate, identity")


async def test_extension_that_is_required_is_refused(peer: Peer, listener: Client) -> None:
    response = await peer.message(b"x", b"Require: teleport, 100rel")

    assert (response.status, response.value(b"unsupported")) == (420, b"teleport, 100rel")


async def test_options_are_answered_and_other_methods_refused(peer: Peer, listener: Client) -> None:
    options = await peer.request(b"OPTIONS", call_id=b"1")
    notify = await peer.request(b"SUBSCRIBE", call_id=b"2")
    cancel = await peer.request(b"CANCEL", call_id=b"3")
    invite = await peer.request(b"INVITE", call_id=b"4")

    assert (options.status, options.value(b"allow")) == (200, b"MESSAGE, NOTIFY, OPTIONS")
    assert (notify.status, notify.value(b"allow")) == (405, b"MESSAGE, NOTIFY, OPTIONS")
    assert (cancel.status, invite.status) == (481, 405)


async def test_the_ack_of_a_call_ends_its_refusal(peer: Peer) -> None:
    """§17.2.1: without its transaction the 405 would be sent once, and an INVITE sent again get
    another one with another tag."""
    seen: list[str] = []

    def trace(way: str, data: bytes, flow: str) -> None:
        seen.append(f"{way} {data.decode().splitlines()[0]}")

    async with Client(ALICE, server=peer.udp, settings=SETTINGS, trace=trace):
        refused = await peer.request(b"INVITE", call_id=b"i")
        ended = await peer.request(b"OPTIONS", call_id=b"o")  # After the ACK on the same flow.

    assert (refused.status, ended.status) == (405, 200)
    assert [line for line in seen if " 405 " in line] == ["> SIP/2.0 405 Method Not Allowed"]
    assert any(line.startswith("< ACK ") for line in seen), seen


async def test_what_waits_can_be_read_after_the_end(peer: Peer) -> None:
    async with Client(ALICE, server=peer.udp, settings=SETTINGS) as me:
        await peer.message(b"last")

    events = [event async for event in me.events()]
    assert [type(event).__name__ for event in events] == ["ConnectionState", "Message"]


async def test_client_that_does_not_register_has_no_events(sender: Client) -> None:
    with pytest.raises(UsageError, match="register=False"):
        sender.events()


# ---- asking -----------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "11")
async def test_options_ask_the_server(peer: Peer, sender: Client) -> None:
    peer.says(b"OPTIONS", 200, b"Allow: MESSAGE, OPTIONS", b"Accept: text/plain", b"Server: peer")

    found = await sender.options()

    assert (found.status, found.software) == (200, "peer")
    assert (found.allow, found.accept) == (("MESSAGE", "OPTIONS"), ("text/plain",))
    assert found.supported == ()
    assert (await peer.received(b"OPTIONS")).uri == b"sip:example.com"


async def test_options_ask_somebody(peer: Peer, sender: Client) -> None:
    peer.says(b"OPTIONS", 404)

    with pytest.raises(Rejected, match="404"):
        await sender.options("bob")

    assert (await peer.received(b"OPTIONS")).uri == b"sip:bob@example.com"


async def test_trace_sees_both_ways(peer: Peer) -> None:
    seen: list[tuple[str, bytes]] = []

    def trace(sigil: str, data: bytes, flow: str) -> None:
        seen.append((sigil, data.partition(b" ")[0]))

    async with Client(ALICE, server=peer.udp, settings=SETTINGS, trace=trace) as me:
        await peer.message(b"hi")
        assert me.aor == ALICE

    assert [sigil for sigil, _ in seen] == [">", "<", "<", ">", ">", "<"]
    assert (">", b"REGISTER") in seen
    assert ("<", b"MESSAGE") in seen
