"""Who waits for what: one inbox an AoR, in memory, of ids alone (DELIVERY.md D7, D16).

What stands here is also on disk; a restart reads it back. An inbox exists only while the
account has a device that is away or a message that waits or was stored of late, so that all
others stay on the synchronous path.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from heapq import merge
from typing import Final, Protocol

from sipgram.services.messaging.store import WaitingMessage
from sipgram.sip.push import Push
from sipgram.sip.timers import NEVER

RECENT_S: Final = 3_600.0
"""How long a stored message is recognised when its sender sends it again (D23)."""
RECENT_MAX: Final = 1_000
"""Messages of one inbox that are recognised; beyond that the oldest are forgotten."""


class Device:
    """One device of an account: a +sip.instance, or the nameless one (D5)."""

    __slots__ = (
        "inbox",
        "instance",
        "is_on_record",
        "is_page",
        "own",
        "push",
        "pushed",
        "refused",
        "seen",
        "tries",
    )

    def __init__(self, inbox: "Inbox", instance: bytes, *, seen: float, is_page: bool) -> None:
        self.inbox = inbox
        self.instance = instance
        self.seen = seen  # Monotonic.
        self.is_page = is_page
        self.own = array("q")  # Messages that another device took and this one has not.
        self.refused: set[int] = set()  # Of the inbox's untaken ones, those that ended here.
        self.is_on_record = False  # Whether the table of devices that are away has it.
        self.push: Push | None = None  # How it was woken when it was last there (D25).
        self.pushed = NEVER  # Since when nobody came of a push; NEVER while none is out.
        self.tries = 0  # Failed attempts at the message at the head.

    @property
    def is_waiting(self) -> bool:
        """Whether a message waits for it."""
        return bool(self.own) or len(self.inbox.untaken) > len(self.refused)

    def waiting(self, *, after: int = 0) -> Iterator[int]:
        """Yield the ids that wait for it, in order, those above ``after``."""
        own, untaken = self.own, self.inbox.untaken
        of_own = own[bisect_left(own, after + 1) :]
        of_all = untaken[bisect_left(untaken, after + 1) :]
        forking = self.inbox.forking
        return (id for id in merge(of_own, of_all) if id not in self.refused and id not in forking)

    def waits_for(self, id: int) -> bool:
        """Say whether a message waits for it."""
        return _has(self.own, id) or (_has(self.inbox.untaken, id) and id not in self.refused)


class Inbox:
    """What waits for one account's devices."""

    __slots__ = (
        "account_id",
        "aor",
        "bytes",
        "committing",
        "devices",
        "forking",
        "recent",
        "senders",
        "untaken",
    )

    def __init__(self, aor: str, account_id: int) -> None:
        self.aor = aor
        self.account_id = account_id
        self.devices: dict[bytes, Device] = {}
        self.untaken = array("q")  # Messages that no device has taken, by id.
        self.bytes = 0  # Of the untaken.
        self.senders: dict[bytes, int] = {}  # Waiting messages of each, whoever they wait for.
        self.committing = 0  # Messages that are about to wait, or on their way to disk.
        self.forking: set[int] = set()  # Messages that are being relayed at this moment.
        self.recent: dict[bytes, tuple[float, Recognised]] = {}

    def device(self, instance: bytes, *, now: float, is_page: bool = False) -> Device:
        """Return a device, known from now on."""
        device = self.devices.get(instance)
        if device is None:
            device = self.devices[instance] = Device(self, instance, seen=now, is_page=is_page)
        return device

    def let_go(self, device: Device) -> None:
        """Let its bindings alone speak for a device that is there, unless something may wait.

        Not while a message is on its way to disk: it is to find those whom it waits for.
        """
        is_busy = device.is_waiting or self.committing or self.forking
        if not is_busy and self.devices.get(device.instance) is device:
            del self.devices[device.instance]

    def expect(self, sender: bytes) -> None:
        """Count a message of ``sender`` that is about to wait (D16)."""
        self.senders[sender] = self.senders.get(sender, 0) + 1

    def release(self, sender: bytes) -> None:
        """Count one of its messages less."""
        left = self.senders.get(sender, 0) - 1
        if left > 0:
            self.senders[sender] = left
        else:
            self.senders.pop(sender, None)

    def add_untaken(self, id: int, size: int) -> None:
        """Let a message wait for whoever comes first."""
        insort(self.untaken, id)
        self.bytes += size

    def add_own(self, device: Device, id: int) -> None:
        """Let a message, which another device took, wait for this one."""
        if not _has(device.own, id):
            insort(device.own, id)

    def is_untaken(self, id: int) -> bool:
        """Say whether no device has taken the message."""
        return _has(self.untaken, id)

    def take(self, id: int, size: int) -> list[Device]:
        """A device took an untaken message; return those who wait for it on their own now.

        The taker is to be settled by the caller, before or after.
        """
        if not _discard(self.untaken, id):
            return []
        self.bytes -= size
        heirs = []
        for device in self.devices.values():
            if id in device.refused:
                device.refused.discard(id)
            else:
                insort(device.own, id)
                heirs.append(device)
        return heirs

    def settle(self, device: Device, id: int) -> None:
        """The message does not wait for this device any more."""
        if not _discard(device.own, id) and self.is_untaken(id):
            device.refused.add(id)

    def withdraw(self, id: int, size: int) -> None:
        """The message waits for nobody any more."""
        if _discard(self.untaken, id):
            self.bytes -= size
        for device in self.devices.values():
            device.refused.discard(id)
            _discard(device.own, id)

    def holds(self, id: int) -> bool:
        """Say whether the message is counted here."""
        return self.is_untaken(id) or any(_has(device.own, id) for device in self.devices.values())

    def waits_somewhere(self, id: int) -> bool:
        """Say whether a device, or one that may come yet, waits for the message."""
        if self.is_untaken(id):
            devices = self.devices.values()
            return not devices or any(id not in device.refused for device in devices)
        return any(_has(device.own, id) for device in self.devices.values())

    def forget_senders(self) -> None:
        """Nothing waits: whoever was counted had mail for a device that is forgotten."""
        waits = self.untaken or any(device.own for device in self.devices.values())
        if not (waits or self.committing or self.forking):
            self.senders.clear()

    def restore(self, message: WaitingMessage) -> None:
        """Take back a message that was kept over a restart."""
        self.expect(message.sender)
        if message.is_for_all:
            self.add_untaken(message.id, message.size)

    def remember(self, key: bytes, stored: "Recognised", now: float) -> None:
        """Recognise the message when it comes again (D23)."""
        while len(self.recent) >= RECENT_MAX:
            del self.recent[next(iter(self.recent))]
        self.recent[key] = (now, stored)

    def forget_recent(self, now: float) -> None:
        """Forget what came too long ago to come again."""
        for key, (at, _) in list(self.recent.items()):
            if now - at < RECENT_S:
                return
            del self.recent[key]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is gained by keeping it; without devices nobody's mail is counted."""
        return not (self.untaken or self.recent or self.devices or self.committing)


class Recognised(Protocol):
    """A stored message, of which a repetition is known."""

    def wait(self, done: Callable[[Exception | None], None]) -> None:
        """Call ``done`` when it is on disk."""


class OnDisk:
    """A message that is, or will be, on disk without anybody's waiting for it."""

    def wait(self, done: Callable[[Exception | None], None]) -> None:
        """It is there."""
        done(None)


def _has(ids: "array[int]", id: int) -> bool:
    place = bisect_left(ids, id)
    return place < len(ids) and ids[place] == id


def _discard(ids: "array[int]", id: int) -> bool:
    place = bisect_left(ids, id)
    if place == len(ids) or ids[place] != id:
        return False
    del ids[place]
    return True
