"""Receipts through the server as a process; what is owed outlives SIGKILL (DELIVERY.md D15)."""

import asyncio
from pathlib import Path
from typing import TypeVar

import pytest

import sipgram
from sipgram.client.client import Client
from sipgram.payload.body import Body
from sipgram.payload.cpim import Cpim
from sipgram.payload.imdn import Imdn, asking
from sipgram.testing.messages import request, response

from .running import Serve
from .test_lifecycle import Phone

T = TypeVar("T")

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
LISTEN = ("--listen", "udp:127.0.0.1:0", "--listen", "tcp:127.0.0.1:0")


@pytest.mark.timeout(60)
async def test_d15_a_negative_receipt_is_owed_over_a_kill(tmp_path: Path) -> None:
    body = bytes(Cpim(b"hi", headers=asking("m1", ("negative-delivery",))))
    headers = (b"Content-Type: message/cpim", b"Expires: 1")
    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as first:
        await first.ready()
        with Phone(first) as alice:
            alice.send(request(via=alice.via("m"), headers=headers, body=body))
            assert (await alice.read()).status == 202
        first.process.kill()
        await first.process.wait()

    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as second:
        await second.ready()
        with Phone(second) as alice:
            await alice.register("alice")
            got = await alice.read()
            alice.send(response(got.raw, 200))
            notice = Imdn.parse(Body.parse(got.body, "message/cpim").content)
            assert (notice.message_id, notice.status) == ("m1", "failed")
        await second.stop()


async def next_of(me: Client, kind: type[T]) -> T:
    """Return the next event of a kind; states of the connection and others are passed over."""
    async with asyncio.timeout(10):
        async for event in me.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the events have ended")


@pytest.mark.timeout(60)
async def test_two_clients_hear_what_became_of_their_messages_and_see_each_other_type(
    tmp_path: Path,
) -> None:
    """CLIENT_API: send with ``want``, receipts as events, ``mark_displayed``, typing."""
    async with Serve(*OPEN, *LISTEN, data=tmp_path / "d") as serve:
        await serve.ready()
        server = f"tcp:127.0.0.1:{serve.port('tcp')}"
        async with (
            Client("sip:alice@example.com", server=server) as alice,
            Client("sip:bob@example.com", server=server) as bob,
        ):
            await alice.typing("bob")
            typing = await next_of(bob, sipgram.Typing)
            sent = await alice.send("bob", "grüße", want={"delivered", "displayed"})
            message = await next_of(bob, sipgram.Message)
            delivered = await next_of(alice, sipgram.Receipt)
            await message.mark_displayed()
            displayed = await next_of(alice, sipgram.Receipt)

            assert typing == sipgram.Typing("sip:alice@example.com", active=True)
            assert (message.text, message.id) == ("grüße", sent.id)
            told = [(r.message_id, r.status, r.sender) for r in (delivered, displayed)]
            assert told == [(sent.id, s, "sip:bob@example.com") for s in ("delivered", "displayed")]
            await sent.receipt("displayed", timeout_s=1)
        await serve.stop()
