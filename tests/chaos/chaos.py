"""Kills the server, or its writer, again and again under load, and counts what became of all mail.

    PYTHONPATH=tests python -m chaos.chaos --kills 200 [--seed N] [--postgres]      (`make chaos`)

Here time does pass: a kill has to hit whatever happens at that moment, and the end of all
deliveries is a silence, which no event tells.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

from sipgram.db.own_postgres import PostgresServer

from .peers import Caller, Device, Sender, Transport
from .server import Killed

RECIPIENTS = 6
SENDERS = 4
LOSS = 0.05
SIZES = (0, 0, 160, 420, 900, 4_000)
"""Octets of bodies: words, SMS, receipts with and without their CPIM, a long text."""
CALM_S = 3.0
"""No delivery for so long: everything has arrived that will."""
SETTLE_WITHIN_S = 400.0
OLD_S = 15.0
"""What another device had so long before a new one came is old mail (D7), whatever was killed."""


@dataclass(slots=True)
class Report:
    """What a run found; ``faults`` must be empty."""

    kills: int
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    delivered: int = 0
    doubled: int = 0
    newcomers: int = 0
    faults: list[str] = field(default_factory=list)


class World:
    """People with two devices each, some on connections, and those who write to them."""

    def __init__(self, data: Path, *, seed: int, database: str = "") -> None:
        self.chance = random.Random(seed)
        self.server = Killed(data, database=database)
        self.devices: list[Device] = []
        self.senders: list[Sender] = []
        self._has_writer = not database
        self._is_over = False

    async def run(self, kills: int) -> Report:
        """Kill the server so often while everybody goes on, then let all calm down and look."""
        await self.server.start()
        await self._open()
        work = [asyncio.create_task(self._write(sender)) for sender in self.senders]
        work += [asyncio.create_task(self._come_and_go(device)) for device in self.devices[::2]]
        joining = sorted(self.chance.sample(range(kills), min(RECIPIENTS, kills)))
        for number in range(kills):
            await asyncio.sleep(self.chance.uniform(0.2, 1.2))
            if number in joining:
                user = joining.index(number)
                work.append(asyncio.create_task(self._join(user)))
            if number % 4 == 3 and self._has_writer:
                self.server.kill_writer()
            else:
                await self.server.kill()
                await self.server.start()
        self._is_over = True
        await asyncio.gather(*work)
        await self._calm_down()
        report = self._look(kills)
        await self.server.kill()
        for peer in (*self.devices, *(sender.caller for sender in self.senders)):
            peer.close()
        return report

    async def _open(self) -> None:
        for number in range(RECIPIENTS):
            for name in ("a", "b"):
                # Of the first person both are on connections, of the second the one that stays.
                is_stream = number == 0 or (number == 1 and name == "b")
                self.devices.append(self._device(number, name, is_stream=is_stream))
        for number in range(SENDERS):
            transport: Transport = "tcp" if number == 0 else "udp"
            caller = Caller(self.server.ports, chance=self.chance, loss=LOSS, transport=transport)
            self.senders.append(Sender(caller, f"s{number}"))
        for peer in (*self.devices, *(sender.caller for sender in self.senders)):
            await peer.open()
        for device in self.devices:
            assert await device.register() == 200

    def _device(self, user: int, name: str, *, is_stream: bool) -> Device:
        return Device(
            self.server.ports,
            f"r{user}",
            f"{user}{name}",
            chance=self.chance,
            loss=LOSS,
            transport="tcp" if is_stream else "udp",
        )

    async def _write(self, sender: Sender) -> None:
        for number in count():
            if self._is_over:
                return
            recipient = f"r{self.chance.randrange(RECIPIENTS)}"
            await sender.write(recipient, number, size=self.chance.choice(SIZES))
            if sender.caller.transport == "tcp":
                # Without loss it would pile up more than lossy phones take in a reasonable time.
                await asyncio.sleep(self.chance.uniform(0.0, 0.2))

    async def _come_and_go(self, device: Device) -> None:
        """Leave with and without a word, and come back."""
        while not self._is_over:
            await asyncio.sleep(self.chance.uniform(0.2, 1.5))
            if self.chance.random() < 0.5:
                await device.register(0)
            else:
                device.is_on = False
                device.hang_up()
                await asyncio.sleep(self.chance.uniform(0.2, 1.5))
                device.is_on = True
            await device.register()

    async def _join(self, user: int) -> None:
        """Somebody buys a third device, which is there from now on (D7)."""
        device = self._device(user, "c", is_stream=user % 2 == 1)
        await device.open()
        device.asked = time.monotonic()
        while await device.register() != 200:
            pass
        device.known = time.monotonic()
        self.devices.append(device)

    async def _calm_down(self) -> None:
        async with asyncio.timeout(SETTLE_WITHIN_S):
            for device in self.devices:
                device.is_on = True
                while await device.register() != 200:
                    pass
            before = -1
            while (taken := sum(len(device.taken) for device in self.devices)) != before:
                before = taken
                await asyncio.sleep(CALM_S)
                for device in self.devices:
                    await device.register()

    def _look(self, kills: int) -> Report:
        report = Report(kills)
        accepted: dict[str, dict[str, float]] = {}
        for told in (told for sender in self.senders for told in sender.told):
            if 200 <= told.status < 300:
                accepted.setdefault(told.recipient, {})[told.body] = told.begun
                report.accepted += 1
            elif told.status:
                report.refused += 1
            else:
                report.unanswered += 1
        for device in self.devices:
            self._look_at(device, accepted.get(device.user, {}), report)
            if device.asked:
                self._look_for_old_mail(device, report)
        return report

    def _look_at(self, device: Device, accepted: dict[str, float], report: Report) -> None:
        first = list(dict.fromkeys(taken.body for taken in device.taken))
        report.delivered += len(first)
        owed = {body for body, begun in accepted.items() if begun >= device.known}
        for body in sorted(owed - set(first)):
            report.faults.append(f"{device.device} never got {body}, which was answered 2xx")
        for sender in self.senders:
            # What was refused is promised to nobody, and may come when its branch comes through.
            of_one = [b for b in first if b in accepted and b.startswith(f"{sender.user}>")]
            report.faults += [
                f"{device.device} got {body} after {before}"
                for before, body in pairwise(of_one)
                if body < before
            ]
        identities = {taken.body: set[object]() for taken in device.taken}
        for taken in device.taken:
            identities[taken.body].add(taken.identity)
        report.doubled += sum(Counter(t.body for t in device.taken).values()) - len(first)
        report.faults += [
            f"{device.device} got {body} under {len(found)} identities"
            for body, found in identities.items()
            if len(found) > 1
        ]

    def _look_for_old_mail(self, newcomer: Device, report: Report) -> None:
        """D7: what was taken before it came is not for it."""
        report.newcomers += 1
        old = {
            taken.body
            for device in self.devices
            if device.user == newcomer.user and device is not newcomer
            for taken in device.taken
            if taken.at < newcomer.asked - OLD_S
        }
        report.faults += [
            f"{newcomer.device} got {taken.body}, which is old mail"
            for taken in newcomer.taken
            if taken.body in old
        ]


async def run(data: Path, *, kills: int, seed: int, database: str = "") -> Report:
    """Run once in a data folder."""
    return await World(data, seed=seed, database=database).run(kills)


@contextmanager
def _database(is_postgres: bool) -> Iterator[str]:
    if not is_postgres:
        yield ""
        return
    with PostgresServer.running() as server:
        yield server.new_database()


def main() -> int:
    """Run from the command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments.add_argument("--postgres", action="store_true", help="instead of SQLite")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, _database(asked.postgres) as database:
        data = Path(folder) / "data"
        work = run(data, kills=asked.kills, seed=asked.seed, database=database)
        report = asyncio.run(work)
    sys.stdout.write(f"seed {asked.seed}: {report}\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
