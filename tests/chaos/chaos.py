"""Kills the server, or its writer, again and again under load, and counts what became of all mail.

    PYTHONPATH=tests python -m chaos.chaos --kills 200 [--seed N]      (`make chaos`)

Here time does pass: a kill has to hit whatever happens at that moment, and the end of all
deliveries is a silence, which no event tells.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

from .peers import DOMAIN, Caller, Device, Sender

RECIPIENTS = 6
SENDERS = 4
LOSS = 0.05
READY_WITHIN_S = 20.0
CALM_S = 3.0
"""No delivery for so long: everything has arrived that will."""
SETTLE_WITHIN_S = 180.0


class Killed:
    """The server, started as often as it is killed, on one port and one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sipgram", "serve", "--auth", "none", "--http", "none"),
            *("--domain", DOMAIN, "--listen", f"udp:127.0.0.1:{self.port}"),
            *("--data", str(self._data), "--answer-s", "1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            while (line := await self._process.stdout.readline()) != b"ready\n":
                assert line, "the server ended while it started"
                if line.startswith(b"listening udp"):
                    self.port = int(line.rpartition(b":")[2])

    async def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def kill_writer(self) -> None:
        """End its child alone."""
        assert self._process is not None
        pid = self._process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)


@dataclass(slots=True)
class Report:
    """What a run found; ``faults`` must be empty."""

    kills: int
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    delivered: int = 0
    doubled: int = 0
    faults: list[str] = field(default_factory=list)


class World:
    """People with two devices each, and those who write to them."""

    def __init__(self, data: Path, *, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = Killed(data)
        self.devices: list[Device] = []
        self.senders: list[Sender] = []
        self._is_over = False

    async def run(self, kills: int) -> Report:
        """Kill the server so often while everybody goes on, then let all calm down and look."""
        await self.server.start()
        await self._open()
        work = [asyncio.create_task(self._write(sender)) for sender in self.senders]
        work += [asyncio.create_task(self._come_and_go(device)) for device in self.devices[::2]]
        for number in range(kills):
            await asyncio.sleep(self.chance.uniform(0.2, 1.2))
            if number % 4 == 3:
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
        address = ("127.0.0.1", self.server.port)
        for number in range(RECIPIENTS):
            for name in ("a", "b"):
                device = Device(
                    address, f"r{number}", f"{number}{name}", chance=self.chance, loss=LOSS
                )
                self.devices.append(device)
        for number in range(SENDERS):
            caller = Caller(address, chance=self.chance, loss=LOSS)
            self.senders.append(Sender(caller, f"s{number}"))
        for peer in (*self.devices, *(sender.caller for sender in self.senders)):
            await peer.open()
        for device in self.devices:
            assert await device.register() == 200

    async def _write(self, sender: Sender) -> None:
        for number in count():
            if self._is_over:
                return
            await sender.write(f"r{self.chance.randrange(RECIPIENTS)}", number)

    async def _come_and_go(self, device: Device) -> None:
        """Leave with and without a word, and come back."""
        while not self._is_over:
            await asyncio.sleep(self.chance.uniform(0.2, 1.5))
            if self.chance.random() < 0.5:
                await device.register(0)
            else:
                device.is_on = False
                await asyncio.sleep(self.chance.uniform(0.2, 1.5))
                device.is_on = True
            await device.register()

    async def _calm_down(self) -> None:
        async with asyncio.timeout(SETTLE_WITHIN_S):
            for device in self.devices:
                device.is_on = True
                assert await device.register() == 200
            before = -1
            while (taken := sum(len(device.taken) for device in self.devices)) != before:
                before = taken
                await asyncio.sleep(CALM_S)
                for device in self.devices:
                    await device.register()

    def _look(self, kills: int) -> Report:
        report = Report(kills)
        accepted: dict[str, set[str]] = {}
        for told in (told for sender in self.senders for told in sender.told):
            if 200 <= told.status < 300:
                accepted.setdefault(told.recipient, set()).add(told.body)
                report.accepted += 1
            elif told.status:
                report.refused += 1
            else:
                report.unanswered += 1
        for device in self.devices:
            self._look_at(device, accepted.get(device.user, set()), report)
        return report

    def _look_at(self, device: Device, accepted: set[str], report: Report) -> None:
        first = list(dict.fromkeys(taken.body for taken in device.taken))
        report.delivered += len(first)
        for body in sorted(accepted - set(first)):
            report.faults.append(f"{device.name} never got {body}, which was answered 2xx")
        for sender in self.senders:
            # What was refused is promised to nobody, and may come when its branch comes through.
            of_one = [b for b in first if b in accepted and b.startswith(f"{sender.name}>")]
            report.faults += [
                f"{device.name} got {body} after {before}"
                for before, body in pairwise(of_one)
                if body < before
            ]
        identities = {taken.body: set[object]() for taken in device.taken}
        for taken in device.taken:
            identities[taken.body].add(taken.identity)
        report.doubled += sum(Counter(t.body for t in device.taken).values()) - len(first)
        report.faults += [
            f"{device.name} got {body} under {len(found)} identities"
            for body, found in identities.items()
            if len(found) > 1
        ]


async def run(data: Path, *, kills: int, seed: int) -> Report:
    """Run once in a data folder."""
    return await World(data, seed=seed).run(kills)


def main() -> int:
    """Run from the command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(run(Path(folder) / "data", kills=asked.kills, seed=asked.seed))
    sys.stdout.write(f"seed {asked.seed}: {report}\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
