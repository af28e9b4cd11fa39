"""The GET that this project began with, and its POST (HTTP_API.md; DELIVERY.md D9-D11, D21)."""

import asyncio
from pathlib import Path

from sipgram.sip.message.message import Message
from sipgram.testing.messages import response

from .http_house import ALICE, BOB, new_key, served_here, until_state
from .test_lifecycle import Phone


async def taken(phone: Phone) -> Message:
    """Wait for a MESSAGE and answer it 200."""
    while True:
        message = await phone.read()
        if message.method == b"MESSAGE":
            phone.send(response(message.raw, 200))
            return message


async def test_a_get_makes_a_registered_phone_print_hello(tmp_path: Path) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (serve, client):
        with Phone(serve) as bob:
            await bob.register("bob")
            query = {"to": BOB, "text": "Hello", "wait": "5"}
            asked = asyncio.create_task(client.get("/send", params=query))
            message = await taken(bob)
            answer = await asked

    assert message.body == b"Hello"
    assert message.from_uri == ALICE.encode()
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["messages"]
    assert (one["state"], one["status"]) == ("delivered", 200)


async def test_d10_a_message_to_who_is_away_is_stored_and_delivered_when_he_comes(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (serve, client):
        body = {"to": "bob", "text": "Später", "tag": "t1"}
        answer = await client.post("/v1/messages?wait=5", json=body)
        (one,) = answer.json()["messages"]
        assert one["state"] == "stored", answer.text
        with Phone(serve) as bob:
            await bob.register("bob")
            message = await taken(bob)
            found = await until_state(client, one["id"], "delivered")

    assert message.body.decode() == "Später"
    assert answer.headers["location"] == f"/v1/messages/{one['id']}"
    assert found["tag"] == "t1"
    assert [device["state"] for device in found["devices"]] == ["taken"]
    assert found["stored"] <= found["delivered"]
