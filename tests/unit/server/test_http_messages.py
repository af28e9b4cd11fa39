"""``/v1/messages``: once only, later, taken back, listed, in batches (HTTP_API.md)."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from .http_house import ALICE, BOB, new_key, served, served_here, until_state
from .running import Listening
from .test_http_send import taken
from .test_lifecycle import Phone


async def test_the_same_key_sends_once_and_another_body_is_refused(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    once = {"Idempotency-Key": "order 17"}
    async with served_here(tmp_path, key=key) as (_, client):
        body = {"to": BOB, "text": "one"}
        first = await client.post("/v1/messages", json=body, headers=once)
        again = await client.post("/v1/messages", json=body, headers=once)
        other = await client.post("/v1/messages", json={**body, "text": "two"}, headers=once)
        get = await client.get("/send", params={**body, "id": "order 17"})
        same = await client.get("/send", params={**body, "id": "order 17"})
        listed = await client.get("/v1/messages")

    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422
    assert other.json()["errors"][0]["parameter"] == "Idempotency-Key"
    assert get.json() == same.json()
    assert len(listed.json()["messages"]) == 2


async def test_requests_of_one_key_at_the_same_time_send_once(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    once = {"Idempotency-Key": "k"}
    async with served_here(tmp_path, key=key) as (_, client):
        body = {"to": BOB, "text": "one"}
        posts = [client.post("/v1/messages", json=body, headers=once) for _ in range(10)]
        answers = await asyncio.gather(*posts)

    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_key_outlives_the_server(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    once = {"Idempotency-Key": "k"}
    body = {"to": [BOB, "sip:carol@example.com"], "text": "one"}
    async with served(tmp_path, key=key) as (serve, client):
        first = await client.post("/v1/messages", json=body, headers=once)
        serve.process.kill()
        await serve.process.wait()
    async with served(tmp_path, key=key) as (_, client):
        again = await client.post("/v1/messages", json=body, headers=once)

    assert first.json() == again.json()


async def test_a_message_for_later_is_sent_then_also_after_a_restart(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served(tmp_path, key=key) as (serve, client):
        at = datetime.now(UTC) + timedelta(seconds=2)
        body = {"to": BOB, "text": "later", "send_at": at.isoformat()}
        answer = await client.post("/v1/messages", json=body)
        id = answer.json()["id"]
        state = (await client.get(f"/v1/messages/{id}")).json()["state"]
        serve.process.kill()
        await serve.process.wait()
    async with served(tmp_path, key=key) as (serve, client):
        with Phone(serve) as bob:
            await bob.register("bob")
            message = await taken(bob)
            found = await until_state(client, id, "delivered")

    assert state == "scheduled"
    assert message.body == b"later"
    assert found["sent"] >= found["send_at"]


async def test_d21_what_was_not_delivered_can_be_taken_back(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (serve, client):
        at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        ids = []
        for body in ({"text": "stored"}, {"text": "later", "send_at": at}, {"text": "stays"}):
            answer = await client.post("/v1/messages?wait=1", json={"to": BOB, **body})
            ids.append(answer.json()["id"])
        gone = [await client.delete(f"/v1/messages/{id}") for id in ids[:2]]
        states = [(await until_state(client, id, "cancelled"))["state"] for id in ids[:2]]
        with Phone(serve) as bob:
            await bob.register("bob")
            message = await taken(bob)
            await until_state(client, ids[2], "delivered")
        late = await client.delete(f"/v1/messages/{ids[2]}")

    assert [answer.status_code for answer in gone] == [204, 204]
    assert states == ["cancelled"] * 2
    assert message.body == b"stays"
    assert late.status_code == 409


async def test_lists_have_filters_and_cursors(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE, BOB)
    async with served_here(tmp_path, key=key) as (_, client):
        for n in range(5):
            body = {"from": ALICE, "to": BOB, "text": str(n), "tag": str(n)}
            await client.post("/v1/messages?wait=5", json=body)
        await client.post("/v1/messages", json={"from": BOB, "to": ALICE, "text": "x"})
        seen, cursor = [], None
        while True:
            query = {"from": ALICE, "limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/messages", params=query)).json()
            seen += [message["tag"] for message in page["messages"]]
            cursor = page["next"]
            if cursor is None:
                break
        stored = await client.get("/v1/messages", params={"state": "stored", "to": BOB})
        kept = await client.get("/v1/stored-messages", params={"account": BOB, "limit": "3"})

    assert seen == ["4", "3", "2", "1", "0"]
    assert len(stored.json()["messages"]) == 5
    assert [message["to"] for message in kept.json()["messages"]] == [BOB] * 3
    assert kept.json()["next"] is not None


def batch(count: int, text: str = "Hi") -> bytes:
    lines = [{"to": f"user{n}", "text": f"{text} {n}", "tag": str(n)} for n in range(count)]
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def post_batch(client: httpx.AsyncClient, body: bytes, key: str) -> httpx.Response:
    return await client.post("/v1/messages:batch", content=body, headers={"Idempotency-Key": key})


async def all_of(client: httpx.AsyncClient, submission: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    query = {"submission": submission, "limit": "500"}
    while True:
        page = (await client.get("/v1/messages", params=query)).json()
        found += page["messages"]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


async def test_a_batch_names_the_lines_that_are_no_messages(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    lines = b'{"to": "bob", "text": "ok"}\n\nnot json\n{"to": "bob"}\n{"to": "b o b", "text": "x"}'
    async with served_here(tmp_path, key=key) as (_, client):
        answer = await post_batch(client, lines, "k")

    found = answer.json()
    assert (answer.status_code, found["accepted"], found["rejected"]) == (202, 1, 3)
    assert [error["line"] for error in found["errors"]] == [3, 4, 5]
    assert found["errors"][2]["pointer"] == "#/to"


@pytest.mark.timeout(90)
async def test_a_batch_that_sigkill_cuts_off_is_resumed_and_none_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, ALICE)
    body = batch(3_000)
    async with served(tmp_path, key=key) as (serve, client):
        sending = asyncio.create_task(post_batch(client, body, "k"))
        await until_counted(client)  # Killed while its rows are being written.
        serve.process.kill()
        await serve.process.wait()
        first = (await asyncio.gather(sending, return_exceptions=True))[0]
    async with served(tmp_path, key=key) as (serve, client):
        answer = await post_batch(client, body, "k")
        await all_stored(client, answer.json()["id"], 3_000, within_s=5)
        serve.process.kill()  # And while they are being sent, or just after.
        await serve.process.wait()
    async with served(tmp_path, key=key) as (serve, client):
        again = await post_batch(client, body, "k")
        states = await all_stored(client, answer.json()["id"], 3_000, within_s=30)
        everything = (await client.get("/v1/messages", params={"limit": "1"})).json()
        doubled = await delivered_to(serve, "user7")

    assert isinstance(first, BaseException) or first.json() == answer.json()
    assert answer.json()["accepted"] == 3_000
    assert again.json() == answer.json()
    assert states == {"stored": 3_000}
    assert everything["messages"]
    assert doubled == [b"Hi 7"]


async def until_counted(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            page = (await client.get("/v1/messages", params={"limit": "1"})).json()
            if page["messages"]:
                return
            await asyncio.sleep(0)


async def all_stored(
    client: httpx.AsyncClient, submission: str, count: int, *, within_s: float
) -> dict[str, int]:
    """Wait until all messages of a batch are stored, or give up and tell how far it came."""
    states: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    ends = loop.time() + within_s
    while states.get("stored") != count and loop.time() < ends:
        states = {}
        for message in await all_of(client, submission):
            states[message["state"]] = states.get(message["state"], 0) + 1
    return states


async def delivered_to(serve: Listening, user: str) -> list[bytes]:
    """Register; return all that comes before a message that is sent last."""
    with Phone(serve) as phone, Phone(serve) as last:
        await phone.register(user)
        bodies = [(await taken(phone)).body]
        last.send(_marker(last, user))
        while bodies[-1] != b"marker":
            bodies.append((await taken(phone)).body)
    return bodies[:-1]


def _marker(phone: Phone, user: str) -> bytes:
    from sipgram.testing.messages import request

    uri = f"sip:{user}@example.com".encode()
    return request(
        b"MESSAGE",
        uri,
        via=phone.via("marker"),
        sender=b"<sip:alice@example.com>;tag=m",
        to=b"<" + uri + b">",
        call_id=b"marker",
        body=b"marker",
    )
