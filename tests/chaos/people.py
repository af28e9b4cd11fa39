"""Three people and a server that something happens to; what it promised is checked at the end."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sipgram.sip.message.message import Message

from .peers import Caller, Device
from .server import Killed

RECOVERED_WITHIN_S = 15.0


class House:
    """bob is there, carol is away; alice writes to both while the database is ill."""

    def __init__(self, server: Killed) -> None:
        chance = random.Random(1)
        self.server = server
        self.alice = Caller(server.ports, chance=chance)
        self.bob = Device(server.ports, "bob", "b", chance=chance)
        self.carol = Device(server.ports, "carol", "c", chance=chance)
        self.promised: list[str] = []
        self.refused = 0
        self._number = 0

    async def write_to_carol(self) -> Message:
        """Write to who is away; 202 is a promise."""
        self._number += 1
        body = f"m{self._number:06}"
        answer = await self._write("carol", body)
        if answer.status == 202:
            self.promised.append(body)
        else:
            self.refused += 1
            assert answer.status == 500, answer.raw
            assert answer.has(b"retry-after")
        return answer

    async def relay(self) -> None:
        """Write to who is there: this needs no database."""
        self._number += 1
        before = len(self.bob.taken)
        assert (await self._write("bob", f"live{self._number}")).status == 200
        assert len(self.bob.taken) == before + 1

    async def until_stored(self) -> None:
        """Write until the database takes it again."""
        async with asyncio.timeout(RECOVERED_WITHIN_S):
            while (await self.write_to_carol()).status != 202:
                await asyncio.sleep(0.1)

    async def check_promises(self) -> None:
        """carol comes home: she has what was promised, once and in order."""
        async with asyncio.timeout(RECOVERED_WITHIN_S):
            while await self.carol.register() != 200:
                await asyncio.sleep(0.1)
            while len(self.carol.taken) < len(self.promised):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        assert [taken.body for taken in self.carol.taken] == self.promised

    async def _write(self, to: str, body: str) -> Message:
        answer = await self.alice.answer(
            "MESSAGE",
            to,
            "alice",
            extra="Content-Type: text/plain\r\n",
            body=f"{body}\n".ljust(800),
        )
        assert answer is not None, f"no answer: {body}"
        return answer


@asynccontextmanager
async def house(
    data: Path, *, database: str = "", environment: Mapping[str, str] | None = None
) -> AsyncIterator[House]:
    """Start the server and let bob register."""
    log = data.parent / "log"  # On the same disk, full or not.
    server = Killed(data, database=database, environment=environment, log=log)
    await server.start()
    people = House(server)
    peers = (people.alice, people.bob, people.carol)
    try:
        for peer in peers:
            await peer.open()
        assert await people.bob.register() == 200
        yield people
        await server.stop()
    finally:
        await server.kill()
        for peer in peers:
            peer.close()
