"""The listeners of accounts, their inboxes, and the events that they hear (DELIVERY.md D8)."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import structlog

from sipgram.errors import PeerError, Refusal, Unavailable
from sipgram.services.answers import Done
from sipgram.services.listeners.device import CommitFlow, VirtualDevice
from sipgram.services.listeners.hub import Hub
from sipgram.services.listeners.reading import Content, content_of
from sipgram.services.listeners.store import Event, EventStore
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow

log = structlog.get_logger("sipgram.listeners")

UNUSED_S: Final = 30 * 86_400.0
"""After so long the account's listener is no device any more (D8)."""
NOTED_S: Final = 3_600.0
"""How exactly the last use is kept."""
DUE_AT_ONCE: Final = 200


class Entry(Protocol):
    """An AoR that lives here."""

    listener: Any
    account_id: int

    @property
    def aor(self) -> object:
        """Its leading name."""


class Contact(Protocol):
    """A binding of an account."""

    aor: str
    uri: bytes
    instance: bytes

    @property
    def is_bound(self) -> bool:
        """Whether it has not ended."""


class Told(Protocol):
    """Who keeps an event for others as well, before it counts as taken."""

    def __call__(self, event: Event, done: Done) -> None:
        """Keep it, and call ``done``."""


class Ids(Protocol):
    """Where ids come from."""

    def next(self) -> int:
        """Return a new one."""

    def seen(self, id: int) -> None:
        """Stay above one."""


class Listeners:
    """Every account that has a listener."""

    def __init__(
        self,
        store: EventStore,
        *,
        hub: Hub,
        ids: Ids,
        wall: Callable[[], float],
        via_host: str,
        listeners_max: int,
    ) -> None:
        self.store = store
        self.hub = hub
        self._ids = ids
        self._wall = wall
        self._listeners_max = listeners_max
        self._devices: dict[str, VirtualDevice] = {}
        self._via_host = via_host.encode()
        self._find: Callable[[bytes], Entry]
        self._answered: Callable[[Message, Flow], None]
        self._later: Callable[[Callable[[], None]], object]
        self._on_device: Callable[[Entry, VirtualDevice], None]
        self._told: Sequence[Told] = ()
        self._on_receipt: Callable[[int, str, str], None]
        self._watch: Callable[[Callable[[Message], None]], None]

    def __len__(self) -> int:
        return len(self._devices)

    def attach(
        self,
        *,
        find: Callable[[bytes], Entry],
        answered: Callable[[Message, Flow], None],
        later: Callable[[Callable[[], None]], object],
        on_device: Callable[[Any, Any], None],
        told: Sequence[Told],
        on_receipt: Callable[[int, str, str], None],
        watch: Callable[[Callable[[Message], None]], None],
    ) -> None:
        """Take the rest of the server.

        ``find`` finds an AoR, ``answered`` takes responses, ``later`` calls something in the next
        turn, ``on_device`` hears of a new device, ``told`` keep events for others, ``on_receipt``
        hears of receipts for messages by their id, ``watch`` takes who hears what accounts send.
        """
        self._find = find
        self._answered = answered
        self._later = later
        self._on_device = on_device
        self._told = told
        self._on_receipt = on_receipt
        self._watch = watch

    # ---- who listens -----------------------------------------------------------------------

    def device_of(self, aor: object) -> VirtualDevice | None:
        """Return the virtual device of an account, if it has one."""
        return self._devices.get(str(aor)) if self._devices else None

    def use(self, aor: str, account_id: int) -> None:
        """An account's listener is used now: it is a device from now on.

        Raises:
            Unavailable: there are too many.
        """
        now = self._wall()
        device = self._devices.get(aor)
        if device is not None and device.account_id == account_id:
            if now - device.used_utc > NOTED_S:
                device.used_utc = now
                self.store.used(aor, account_id, now)
            return
        if device is not None:
            self.forget(device)  # Of an account that is gone and was called so (D4).
        if len(self._devices) >= self._listeners_max:
            raise Unavailable(f"more than {self._listeners_max} accounts have listeners")
        device = self._add(aor, account_id, now)
        self.store.used(aor, account_id, now)
        entry = self._find(aor.encode())
        entry.listener = device
        self._on_device(entry, device)
        self._watch(self.on_sent)

    def _add(self, aor: str, account_id: int, used_utc: float) -> VirtualDevice:
        flow = CommitFlow(
            lambda request, answer: self._take(aor, request, answer),
            via_host=self._via_host,
            answered=self._answered,
        )
        device = self._devices[aor] = VirtualDevice(aor, account_id, flow, used_utc=used_utc)
        return device

    def forget(self, device: VirtualDevice) -> None:
        """A listener is a device no more, and its inbox goes (D36)."""
        self._devices.pop(device.aor, None)
        self.store.forget(device.aor)
        try:
            entry = self._find(device.aor.encode())
        except (Refusal, PeerError):
            return
        if entry.listener is device:
            entry.listener = None

    async def load(self) -> None:
        """Read who has a listener, before the location table is asked for anybody."""
        self._ids.seen(await self.store.newest())
        for aor, account_id, used_utc in await self.store.listeners():
            self._add(aor, account_id, used_utc)
        if self._devices:
            self._watch(self.on_sent)

    async def tick(self) -> None:
        """Forget what is old, and accounts that are gone: some of it at a time."""
        now = self._wall()
        for id in await self.store.due(now, DUE_AT_ONCE):
            self.store.drop(id)
        for aor, device in list(self._devices.items())[:DUE_AT_ONCE]:
            del self._devices[aor]
            self._devices[aor] = device  # To the end of the line.
            if now - device.used_utc > UNUSED_S or not self._is_there(device):
                self.forget(device)

    def _is_there(self, device: VirtualDevice) -> bool:
        try:
            return self._find(device.aor.encode()).account_id == device.account_id
        except (Refusal, PeerError):
            return False

    # ---- what happens ----------------------------------------------------------------------

    def _take(self, aor: str, request: Message, answer: Callable[[int], None]) -> None:
        """Take a message by committing it."""
        content = content_of(request)
        parties = _parties(request)
        if content.kind == "typing":
            self.tell(aor, "typing", {**parties, **content.data}, is_kept=False)
            self._later(lambda: answer(200))
            return
        if content.kind == "receipt":
            self._receipt(content, parties["from"])
        kind = "message.received" if content.kind == "message" else "message.receipt"
        data = {**parties, "call_id": request.call_id.decode("latin-1"), **content.data}

        def done(error: Exception | None) -> None:
            answer(200 if error is None else 500)

        try:
            self._keep(aor, kind, data, done)
        except Unavailable:
            self._later(lambda: answer(500))

    def _receipt(self, content: Content, by: str) -> None:
        """Let a receipt for a message that came by HTTP be known by that message's id."""
        message_id = content.data["message_id"]
        if message_id.isascii() and message_id.isdigit() and len(message_id) < 20:
            self._on_receipt(int(message_id), content.data["status"], by)

    def on_sent(self, request: Message) -> None:
        """An account's device sends something: its listeners see that too."""
        if request.method != b"MESSAGE":
            return
        try:
            aor = str(self._find(request.from_uri).aor)
        except (Refusal, PeerError):
            return
        if aor not in self._devices:
            return
        content = content_of(request)
        if content.kind == "typing":
            return
        kind = "message.sent" if content.kind == "message" else "message.read"
        self.tell(aor, kind, {**_parties(request), **content.data})

    def on_binding(self, contact: Contact) -> None:
        """A contact of an account has come or gone."""
        if contact.aor in self._devices:
            kind = "binding.added" if contact.is_bound else "binding.ended"
            data = {
                "contact": contact.uri.decode(errors="replace"),
                "instance": contact.instance.decode(errors="replace"),
            }
            self.tell(contact.aor, kind, data, is_kept=False)

    def tell(
        self, aor: str, kind: str, data: dict[str, Any], *, is_kept: bool = True, id: str = ""
    ) -> None:
        """Let an account's listeners know; what is kept is heard by those who come later.

        ``id`` is the same each time that the same fact is told.
        """
        if not is_kept:
            if self.hub.has(aor):
                self.hub.publish(Event(0, aor, kind, self._json(0, aor, kind, data)))
            return
        try:
            self._keep(aor, kind, data, lambda error: None, fact=id)
        except Unavailable as error:
            log.warning("event is lost", account=aor, kind=kind, reason=error.reason)

    def _keep(
        self, aor: str, kind: str, data: dict[str, Any], done: Done, *, fact: str = ""
    ) -> None:
        id = self._ids.next()
        event = Event(id, aor, kind, self._json(id, aor, kind, data, fact=fact))

        def kept(error: Exception | None) -> None:
            if error is None:
                self.hub.publish(event)
            done(error)

        if aor not in self._devices:
            for tell in self._told:
                tell(event, lambda error: None)
            return
        # The others' rows go first: the event counts as taken when all of them are on disk.
        left = 1 + len(self._told)

        def one(error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if error is not None and left >= 0:
                left = -1
                kept(error)
            elif left == 0:
                kept(None)

        for tell in self._told:
            tell(event, one)
        self.store.put(event, one)

    def _json(self, id: int, aor: str, kind: str, data: dict[str, Any], *, fact: str = "") -> bytes:
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        value = {"id": fact or str(id), "type": kind, "account": aor, "at": at, "data": data}
        return json.dumps(value, ensure_ascii=False).encode()


def _parties(request: Message) -> dict[str, Any]:
    return {
        "from": request.from_uri.decode(errors="replace"),
        "to": request.to_uri.decode(errors="replace"),
    }
