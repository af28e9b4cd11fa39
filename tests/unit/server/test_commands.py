"""Commands beside a server that runs, on both engines: it sees what they did within a second."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sipgram.db.engine import open_engine
from sipgram.services.messaging.operator.commands import MessageCommands
from sipgram.services.messaging.operator.records import MessageRecords
from sipgram.sip.message.message import Message
from sipgram.testing.messages import request, response

from .running import Serve
from .test_lifecycle import Phone

OPEN = ("--auth", "none", "--domain", "example.com", "--http", "none")
LISTEN = ("--listen", "udp:127.0.0.1:0")
BOB = "sip:bob@example.com"


@pytest.fixture
async def serve(database_address: str, tmp_path: Path) -> AsyncIterator[Serve]:
    arguments = (*OPEN, *LISTEN, "--database", database_address)
    async with Serve(*arguments, data=tmp_path) as serve:
        await serve.ready()
        yield serve


@pytest.fixture
async def engine(serve: Serve, database_address: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_address)
    yield engine
    await engine.dispose()


@pytest.fixture
def phones(serve: Serve) -> Iterator["Phones"]:
    with ExitStack() as stack:
        yield Phones(serve, stack)


class Phones:
    """alice, and bob's devices."""

    def __init__(self, serve: Serve, stack: ExitStack) -> None:
        self._serve, self._stack = serve, stack
        self._sent = 0
        self.alice = self.new()

    def new(self) -> Phone:
        return self._stack.enter_context(Phone(self._serve))

    def post(self, body: bytes) -> None:
        """Send bob a message."""
        self._sent += 1
        via = self.alice.via(f"m{self._sent}")
        self.alice.send(
            request(via=via, body=body).replace(b"Call-ID: ", b"Call-ID: %d" % self._sent)
        )

    async def send(self, body: bytes) -> int:
        """Send bob a message; return the status."""
        self.post(body)
        return (await self.alice.read()).status

    async def register(self, phone: Phone, instance: bytes, *, expires: int = 600) -> None:
        contact = b"Contact: <sip:bob@127.0.0.1:%d>" % phone.port
        more = b';+sip.instance="<urn:%b>";expires=%d' % (instance, expires)
        bob = b"<sip:bob@example.com>"
        via = phone.via(f"r{time.monotonic_ns()}")
        head = request(
            b"REGISTER",
            b"sip:example.com",
            via=via,
            sender=bob + b";tag=1",
            to=bob,
            headers=(contact + more,),
        )
        phone.send(head.replace(b"Call-ID: ", b"Call-ID: %d" % time.monotonic_ns()))
        assert (await phone.read()).status == 200


async def took(phone: Phone, status: int = 200) -> Message:
    """Read a message and answer it."""
    message = await phone.read()
    phone.send(response(message.raw, status))
    return message


async def test_cancelled_while_it_waits(phones: Phones, engine: AsyncEngine) -> None:
    assert [await phones.send(body) for body in (b"one", b"two")] == [202, 202]
    (second, first) = await MessageRecords(engine).page()

    await MessageCommands(engine, wall=time.time).cancel(first["id"])
    bob = phones.new()
    await phones.register(bob, b"a")

    assert (await took(bob)).body == b"two"
    assert (second["state"], first["state"]) == ("waiting", "waiting")


@pytest.mark.timeout(15)
async def test_requeued_it_is_tried_at_once(phones: Phones, engine: AsyncEngine) -> None:
    """Left alone it would be 30 s."""
    await phones.send(b"one")
    bob = phones.new()
    await phones.register(bob, b"a")
    assert (await took(bob, 486)).body == b"one"
    (record,) = await MessageRecords(engine).page()

    await MessageCommands(engine, wall=time.time).requeue(record["id"])

    assert (await took(bob)).body == b"one"
    found = await MessageRecords(engine).find(record["id"])
    assert found is not None
    assert [(a["status"], a["number"]) for a in found["attempts"]] == [(486, 0)]
    assert found["attempts"][0]["flow"] == f"udp:127.0.0.1:{bob.port}"


async def test_d7_a_forgotten_device_gets_nothing_of_what_waited(
    phones: Phones, engine: AsyncEngine
) -> None:
    here, away = phones.new(), phones.new()
    await phones.register(here, b"a")
    await phones.register(away, b"b")
    await phones.register(away, b"b", expires=0)
    phones.alice.send(request(via=phones.alice.via("x"), body=b"one"))
    await took(here)
    assert (await phones.alice.read()).status == 200
    (device,) = await MessageRecords(engine).devices(BOB)

    assert await MessageCommands(engine, wall=time.time).forget(BOB, device["device"].encode())
    while (await MessageRecords(engine).page())[0]["state"] == "waiting":
        pass  # The server ends what waited for that device alone, when it has heard.
    await phones.register(away, b"b")
    phones.alice.send(request(via=phones.alice.via("y"), body=b"two"))

    assert (await took(away)).body == b"two"
    assert (await took(here)).body == b"two"
