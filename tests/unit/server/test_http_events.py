"""Event streams: what happens to an account, without a gap (D8); HTTP_API.md."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sipgram.testing.messages import request

from .http_house import (
    ALICE,
    BOB,
    client_of,
    command,
    new_key,
    served,
    served_here,
    until_state,
)
from .running import Listening
from .test_http_send import taken
from .test_lifecycle import Phone


class Heard:
    """The events of one stream, read line by line."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            if line.startswith("data: "):
                event: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return event
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def heard(
    client: httpx.AsyncClient, *, after: str | None = None, **query: str
) -> AsyncIterator[Heard]:
    headers = {} if after is None else {"Last-Event-ID": after}
    async with client.stream("GET", "/v1/events", params=query, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield Heard(response)


def text_from(phone: Phone, sender: str, to: str, text: str, branch: str) -> bytes:
    return request(
        b"MESSAGE",
        to.encode(),
        via=phone.via(branch),
        sender=f"<{sender}>;tag={branch}".encode(),
        to=f"<{to}>".encode(),
        call_id=branch.encode(),
        body=text.encode(),
    )


async def test_d8_a_listener_takes_messages_by_commit_and_resumes_without_a_gap(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, BOB)
    async with served_here(tmp_path, key=key) as (serve, client):
        with Phone(serve) as alice:
            async with heard(client) as stream:
                alice.send(text_from(alice, ALICE, BOB, "one", "b1"))
                first = await stream.next()
                answer = await alice.read()
            alice.send(text_from(alice, ALICE, BOB, "two", "b2"))
            while (second_answer := await alice.read()).cseq and b"b2" not in second_answer.branch:
                pass
            async with heard(client, after=stream.last_id) as resumed:
                second = await resumed.next()
                alice.send(text_from(alice, ALICE, BOB, "three", "b3"))
                third = await resumed.next()

    assert answer.status == 200
    assert second_answer.status == 200
    assert first["type"] == "message.received"
    assert (first["account"], first["data"]["from"]) == (BOB, ALICE)
    assert [e["data"]["text"] for e in (first, second, third)] == ["one", "two", "three"]


async def test_d8_a_restart_keeps_the_device_and_its_inbox(tmp_path: Path) -> None:
    key = await new_key(tmp_path, BOB)
    async with served(tmp_path, key=key) as (serve, client):
        with Phone(serve) as alice:
            async with heard(client) as stream:
                alice.send(text_from(alice, ALICE, BOB, "one", "b1"))
                await stream.next()
        serve.process.kill()
        await serve.process.wait()
    async with served(tmp_path, key=key) as (serve, client):
        with Phone(serve) as alice:
            alice.send(text_from(alice, ALICE, BOB, "two", "b2"))
            answer = await alice.read()
            async with heard(client, after="0") as again:
                texts = [(await again.next())["data"]["text"] for _ in range(2)]

    assert answer.status == 200
    assert texts == ["one", "two"]


async def test_a_stream_hears_its_own_accounts_only(tmp_path: Path) -> None:
    bobs, carols = await new_key(tmp_path, BOB), await new_key(tmp_path, "sip:carol@example.com")
    async with (
        served_here(tmp_path, key=bobs) as (serve, client),
        client_of(serve, carols) as other,
    ):
        refused = await other.get("/v1/events", params={"account": BOB})
        async with heard(client) as bob, heard(other) as carol:
            with Phone(serve) as alice:
                alice.send(text_from(alice, ALICE, BOB, "for bob", "b1"))
                alice.send(text_from(alice, ALICE, "sip:carol@example.com", "for carol", "c1"))
                texts = [(await each.next())["data"]["text"] for each in (bob, carol)]

    assert refused.status_code == 403
    assert texts == ["for bob", "for carol"]


async def test_what_the_api_sends_and_what_becomes_of_it_shows_on_the_accounts_listeners(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (serve, client):
        with Phone(serve) as bob:
            await bob.register("bob")
            async with heard(client) as stream:
                sending = asyncio.create_task(
                    client.post("/v1/messages", json={"to": BOB, "text": "Hi", "tag": "x"})
                )
                await taken(bob)
                sent, delivered = await stream.next(), await stream.next()
                answer = await sending

    assert (sent["type"], sent["data"]["text"]) == ("message.sent", "Hi")
    assert delivered["type"] == "message.delivered"
    assert delivered["data"]["message_id"] == answer.json()["id"]
    assert delivered["data"]["tag"] == "x"


def url_of(serve: Listening) -> str:
    return f"ws://127.0.0.1:{serve.port('http')}/v1/events"


async def test_a_web_socket_hears_the_same_events(tmp_path: Path) -> None:
    key = await new_key(tmp_path, BOB)
    headers = {"Authorization": f"Bearer {key}"}
    async with served_here(tmp_path, key=key) as (serve, _):
        with Phone(serve) as alice:
            async with connect(url_of(serve), additional_headers=headers, proxy=None) as socket:
                alice.send(text_from(alice, ALICE, BOB, "one", "b1"))
                event = json.loads(await socket.recv())
            with pytest.raises(InvalidStatus) as refused:
                await connect(url_of(serve), proxy=None)

    assert (event["type"], event["data"]["text"]) == ("message.received", "one")
    assert event["event_id"].isdigit()
    assert refused.value.response.status_code == 401


IMDN = """<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>{id}</message-id>
<datetime>2026-11-25T12:00:00Z</datetime>
<display-notification><status><displayed/></status></display-notification></imdn>"""
TYPING = """<?xml version="1.0" encoding="UTF-8"?>
<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"><state>active</state></isComposing>"""


def typed_from(phone: Phone, sender: str, to: str, content_type: str, body: str) -> bytes:
    raw = text_from(phone, sender, to, body, content_type.partition("/")[2][:6])
    return raw.replace(b"Content-Type: text/plain", f"Content-Type: {content_type}".encode())


async def test_typing_is_heard_and_a_receipt_makes_a_message_displayed(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (serve, client):
        with Phone(serve) as bob, Phone(serve) as mallory:
            await bob.register("bob")
            async with heard(client) as stream:
                body = {"to": BOB, "text": "Hi", "receipts": ["delivered", "displayed"]}
                sending = asyncio.create_task(client.post("/v1/messages?wait=5", json=body))
                message = await taken(bob)
                id = (await sending).json()["id"]
                eve = "sip:eve@example.com"
                receipt = IMDN.format(id=id)
                mallory.send(typed_from(mallory, eve, ALICE, "message/imdn+xml", receipt))
                await mallory.read()
                before = (await client.get(f"/v1/messages/{id}")).json()["state"]
                bob.send(typed_from(bob, BOB, ALICE, "application/im-iscomposing+xml", TYPING))
                bob.send(typed_from(bob, BOB, ALICE, "message/imdn+xml", receipt))
                found = await until_state(client, id, "displayed")
                events = [await stream.next() for _ in range(6)]

    assert b"imdn.Message-ID: " + id.encode() in message.body
    assert before == "delivered"
    assert found["displayed"] >= found["delivered"]
    assert sorted(event["type"] for event in events) == [
        "message.delivered",
        "message.displayed",
        "message.receipt",
        "message.receipt",
        "message.sent",
        "typing",
    ]


async def test_bindings_are_heard(tmp_path: Path) -> None:
    key = await new_key(tmp_path, BOB)
    async with served_here(tmp_path, key=key) as (serve, client), heard(client) as stream:
        with Phone(serve) as bob:
            await bob.register("bob")
            event = await stream.next()
            bound = (await client.get("/v1/accounts/bob@example.com/bindings")).json()

    assert (event["type"], event["account"]) == ("binding.added", BOB)
    assert bound["bindings"][0]["contact"] == event["data"]["contact"]


async def test_a_stream_ends_with_its_key(tmp_path: Path) -> None:
    key, other = await new_key(tmp_path, BOB), await new_key(tmp_path, BOB)
    async with served_here(tmp_path, key=key) as (serve, client), client_of(serve, other) as good:
        with Phone(serve) as alice:
            async with heard(client) as stream, heard(good) as witness:
                command("key", "revoke", key.split("_")[1], "--data", str(tmp_path))
                async with asyncio.timeout(5):
                    while (await client.get("/v1/key")).status_code == 200:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                alice.send(text_from(alice, ALICE, BOB, "secret", "b1"))
                heard_by_other = await witness.next()
                with pytest.raises(AssertionError, match="has ended"):
                    await stream.next()

    assert heard_by_other["data"]["text"] == "secret"


async def test_open_streams_do_not_hold_up_the_end(tmp_path: Path) -> None:
    key = await new_key(tmp_path, BOB)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        served(tmp_path, key=key) as (serve, client),
        heard(client),
        connect(url_of(serve), additional_headers=headers, proxy=None),
    ):
        log = await serve.stop()

    assert "exception" not in log.lower(), log
