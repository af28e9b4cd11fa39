"""Webhooks: signed, in order, until heard; never into private networks unless that is allowed."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import httpx

from .http_house import ALICE, BOB, new_key, served, served_here, until_state
from .test_http_send import taken
from .test_lifecycle import Phone

PRIVATE = {"SIPGRAM_WEBHOOKS__ALLOW_PRIVATE": "true", "SIPGRAM_WEBHOOKS__RETRY_S": "0.05"}


class Receiver:
    """An HTTP server that answers each POST with the next status of its script, then 200."""

    def __init__(self, *script: int) -> None:
        self._script = list(script)
        self.port = 0
        self.heard: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        "What was answered 200."
        self.tries: list[str] = []
        "The webhook-id of each POST."
        self.silent = asyncio.Event()
        self.silent.set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                pairs = [line.split(": ", 1) for line in head.splitlines()[1:] if line]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers["content-length"]))
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            self.tries.append(headers["webhook-id"])
            await self.silent.wait()
            status = self._script.pop(0) if self._script else 200
            if status == 200:
                self.heard.put_nowait((headers, body))
            more = f"Location: {self.url}\r\n" if status == 302 else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{more}Content-Length: 0\r\n\r\n".encode())

    async def next(self) -> dict[str, Any]:
        """Return the next event that was heard."""
        async with asyncio.timeout(10):
            _, body = await self.heard.get()
        event: dict[str, Any] = json.loads(body)
        return event


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


@asynccontextmanager
async def hooked(
    tmp_path: Path, receiver: Receiver, *, is_process: bool = False, **body: Any
) -> AsyncIterator[Any]:
    """A server whose account has a webhook; gives server, client and the webhook."""
    key = await new_key(tmp_path, ALICE, BOB)
    serving: Any = served if is_process else served_here
    async with serving(tmp_path, key=key, environment=PRIVATE) as (serve, client):
        new = {"url": receiver.url, "account": ALICE, **body}
        answer = await client.post("/v1/webhooks", json=new)
        assert answer.status_code == 201, answer.text
        yield serve, client, answer.json()


async def until_dead(client: httpx.AsyncClient, place: str) -> list[dict[str, Any]]:
    """Ask for what was given up until there is something."""
    async with asyncio.timeout(10):
        while True:
            dead: list[dict[str, Any]] = (await client.get(place)).json()["events"]
            if dead:
                return dead
            await asyncio.sleep(0)


async def test_the_webhook_tells_delivered_when_the_absent_one_comes(tmp_path: Path) -> None:
    async with Receiver() as receiver, hooked(tmp_path, receiver) as (serve, client, hook):
        query = {"to": BOB, "text": "Hello", "from": ALICE}
        answer = await client.get("/send", params=query)
        id = answer.json()["id"]
        await until_state(client, id, "stored")
        with Phone(serve) as bob:
            await bob.register("bob")
            await taken(bob)
            headers, body = await asyncio.wait_for(receiver.heard.get(), 10)
        event = json.loads(body)

    assert event["type"] == "message.delivered"
    assert event["data"]["message_id"] == id
    assert headers["webhook-id"] == event["id"] == f"{id}.delivered"
    assert is_signed(hook["secret"], headers, body)


async def test_events_that_fail_are_told_again_in_order_under_the_same_id(tmp_path: Path) -> None:
    kinds = ["message.received"]
    async with (
        Receiver(500, 500, 302, 200, 500) as receiver,
        hooked(tmp_path, receiver, account=BOB, kinds=kinds) as (_, client, _),
    ):
        for text in ("one", "two", "three"):
            body = {"from": ALICE, "to": BOB, "text": text}
            await client.post("/v1/messages?wait=5", json=body)
        events = [await receiver.next() for _ in range(3)]

    assert [event["data"]["text"] for event in events] == ["one", "two", "three"]
    assert receiver.tries == [
        *[events[0]["id"]] * 4,
        *[events[1]["id"]] * 2,
        events[2]["id"],
    ]


async def test_events_outlive_the_server_and_a_receiver_that_is_down(tmp_path: Path) -> None:
    kinds = ["message.received"]
    receiver = Receiver()
    async with receiver:
        pass  # Its port is closed from now on.
    async with hooked(tmp_path, receiver, is_process=True, account=BOB, kinds=kinds) as (
        serve,
        client,
        _,
    ):
        for text in ("one", "two"):
            body = {"from": ALICE, "to": BOB, "text": text}
            (sent,) = (await client.post("/v1/messages?wait=5", json=body)).json()["messages"]
            assert sent["state"] == "delivered"  # The virtual device has it.
        serve.process.kill()
        await serve.process.wait()
    async with receiver, served(tmp_path, environment=PRIVATE):
        events = [await receiver.next() for _ in range(2)]

    assert [event["data"]["text"] for event in events] == ["one", "two"]


async def test_what_was_stored_before_a_restart_is_told_as_delivered_after_it(
    tmp_path: Path,
) -> None:
    async with Receiver() as receiver:
        async with hooked(tmp_path, receiver, is_process=True) as (serve, client, _):
            body = {"to": BOB, "text": "Hello", "from": ALICE}
            answer = await client.post("/v1/messages?wait=5", json=body)
            id = answer.json()["id"]
            await until_state(client, id, "stored")
            serve.process.kill()
            await serve.process.wait()
        async with served(tmp_path, environment=PRIVATE) as (serve, _):
            with Phone(serve) as bob:
                await bob.register("bob")
                await taken(bob)
                event = await receiver.next()

    assert (event["type"], event["data"]["message_id"]) == ("message.delivered", id)


async def test_a_callback_of_one_message_is_signed_with_the_keys_secret(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with (
        Receiver() as receiver,
        served_here(tmp_path, key=key, environment=PRIVATE) as (serve, client),
    ):
        secret = (await client.get("/v1/callback-secret")).json()["secret"]
        with Phone(serve) as bob:
            await bob.register("bob")
            body = {"to": BOB, "text": "Hi", "callback_url": receiver.url}
            sending = asyncio.create_task(client.post("/v1/messages", json=body))
            await taken(bob)
            await sending
            headers, told = await asyncio.wait_for(receiver.heard.get(), 10)

    assert json.loads(told)["type"] == "message.delivered"
    assert is_signed(secret, headers, told)


async def test_both_secrets_sign_after_a_rotation(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        hooked(tmp_path, receiver, kinds=["message.failed"]) as (_, client, hook),
    ):
        turned = await client.post(f"/v1/webhooks/{hook['id']}/secret")
        await client.get("/send", params={"to": "sip:x@elsewhere.org", "text": "x", "from": ALICE})
        headers, body = await asyncio.wait_for(receiver.heard.get(), 10)

    assert is_signed(hook["secret"], headers, body)
    assert is_signed(turned.json()["secret"], headers, body)
    assert turned.json()["secret"] != hook["secret"]


async def test_what_is_given_up_can_be_told_again(tmp_path: Path) -> None:
    quick = {**PRIVATE, "SIPGRAM_WEBHOOKS__GIVE_UP_S": "0"}
    key = await new_key(tmp_path, ALICE)
    async with (
        Receiver(500) as receiver,
        served_here(tmp_path, key=key, environment=quick) as (_, client),
    ):
        new = {"url": receiver.url, "kinds": ["message.failed"]}
        hook = (await client.post("/v1/webhooks", json=new)).json()
        await client.get("/send", params={"to": "sip:x@elsewhere.org", "text": "x"})
        place = f"/v1/webhooks/{hook['id']}/dead"
        dead = await until_dead(client, place)
        again = await client.post(f"{place}/{dead[0]['id']}")
        event = await receiver.next()

    assert (dead[0]["status"], dead[0]["tries"]) == (500, 1)
    assert again.status_code == 202
    assert event["id"] == dead[0]["event_id"]


async def test_a_private_address_is_refused_and_the_field_named(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (_, client):
        answer = await client.post("/v1/webhooks", json={"url": "http://127.0.0.1:1/"})

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "#/url"


async def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_used(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, ALICE)
    quick = {"SIPGRAM_WEBHOOKS__GIVE_UP_S": "0"}
    async with (
        Receiver() as receiver,
        served_here(tmp_path, key=key, environment=quick) as (_, client),
    ):
        url = f"http://localhost:{receiver.port}/"
        new = {"url": url, "kinds": ["message.failed"]}
        hook = (await client.post("/v1/webhooks", json=new)).json()
        await client.get("/send", params={"to": "sip:x@elsewhere.org", "text": "x"})
        dead = await until_dead(client, f"/v1/webhooks/{hook['id']}/dead")

    assert "private" in dead[0]["reason"]
    assert receiver.tries == []
