"""The book of what waits for whom: memory and disk changed together (DELIVERY.md D7, D15, D16)."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Protocol

import structlog

from sipgram.errors import Unavailable
from sipgram.services.answers import Done
from sipgram.services.messaging.inbox import Device, Inbox
from sipgram.services.messaging.store import (
    AwayDevice,
    CopyOutcome,
    CopyState,
    MessageState,
    MessageStore,
)

log = structlog.get_logger("sipgram.messaging")

Write = Callable[[Done], None]
After = Callable[[], None]

DEVICES_MAX: Final = 8
"""Devices of one account that are waited for (D7)."""
PAGES_MAX: Final = 2
"""Browser pages among them, counted apart, since each load makes a new one."""
DEVICE_S: Final = 30 * 86_400.0
PAGE_S: Final = 86_400.0
UNWRITTEN_MAX: Final = 100_000
"""Changes kept while the database does not take them."""
RETRIES_AT_ONCE: Final = 500


class Kept(Protocol):
    """A message on disk."""

    @property
    def id(self) -> int:
        """Names it."""

    @property
    def sender(self) -> bytes:
        """Whose messages keep their order."""

    @property
    def size(self) -> int:
        """Octets that count."""

    @property
    def wants_failure(self) -> bool:
        """Whether its sender asked to be told that nobody took it (D15)."""


class MessageNews(Protocol):
    """Who hears what became of messages that nobody had taken at once."""

    def __call__(self, id: int, *, aor: str, sender: bytes, state: MessageState) -> None:
        """A message is delivered to its first device, or will be to none."""


class Ledger:
    """Every inbox, by AoR; each change goes to the store at once and is not waited for.

    A change that cannot be written now is written later. A restart before that delivers once
    more, which a device can tell by Call-ID, CSeq and From tag (D18).
    """

    def __init__(self, store: MessageStore, *, away_max: int) -> None:
        """``away_max`` bounds the devices that are waited for, in all."""
        self.news: tuple[MessageNews, ...] = ()
        self._store = store
        self._away_max = away_max
        self._inboxes: dict[str, Inbox] = {}
        self._unwritten: deque[tuple[Write, After | None]] = deque()
        self._pages: OrderedDict[Device, None] = OrderedDict()  # Those on record, oldest first.
        self.away_count = 0
        self.waiting_count = 0
        self.taken = 0
        self.refused = 0
        self.on_failed: Callable[[int, MessageState, After | None], None] = self.finish
        "Closes a message that nobody took, when its sender asked to be told (D15)."
        self.lost = 0
        "Changes that the database did not take for too long."

    def __len__(self) -> int:
        return len(self._inboxes)

    def find(self, aor: str) -> Inbox | None:
        """Return the inbox of an AoR, if there is one."""
        return self._inboxes.get(aor)

    def inbox(self, aor: str, account_id: int) -> Inbox:
        """Return the inbox of an AoR; one of an account that is gone is emptied (D4, D36)."""
        inbox = self._inboxes.get(aor)
        if inbox is not None and inbox.account_id != account_id:
            self.clear(inbox)
            inbox = None
        if inbox is None:
            inbox = self._inboxes[aor] = Inbox(aor, account_id)
        return inbox

    def inboxes(self) -> Iterable[Inbox]:
        """Return all of them."""
        return self._inboxes.values()

    def some_inboxes(self, at_most: int) -> Iterable[Inbox]:
        """Return some inboxes, those first that were not returned for longest."""
        for aor in list(islice(self._inboxes, at_most)):
            inbox = self._inboxes[aor] = self._inboxes.pop(aor)
            yield inbox

    def drop_idle(self, inbox: Inbox) -> bool:
        """Let go of an inbox that has nothing any more."""
        return inbox.is_idle and self._inboxes.pop(inbox.aor, None) is not None

    # ---- messages --------------------------------------------------------------------------

    def add(self, inbox: Inbox, message: Kept) -> None:
        """A message is on disk, for whoever comes first."""
        inbox.add_untaken(message.id, message.size)
        self.waiting_count += 1

    def add_shared(self, inbox: Inbox, message: Kept, devices: Iterable[Device]) -> None:
        """A message is on disk for some devices; another has taken it."""
        for device in devices:
            inbox.add_own(device, message.id)
        self.waiting_count += 1

    def take(
        self, device: Device, message: Kept, *, status: int, contact: bytes, flow: str = ""
    ) -> None:
        """A device has it: the others wait for it on their own from now on."""
        inbox = device.inbox
        if not device.waits_for(message.id):
            return  # A second 2xx, or one for a copy that was cancelled.
        self.taken += 1
        is_first = inbox.is_untaken(message.id)
        heirs = [heir for heir in inbox.take(message.id, message.size) if heir is not device]
        inbox.settle(device, message.id)
        outcomes = [_outcome(message, heir.instance, "waiting") for heir in heirs]
        outcomes.append(_outcome(message, device.instance, "taken", status, contact, flow))
        self.write(lambda done: self._store.note(outcomes, done))
        if is_first and heirs:
            # After the rows of those who still wait, so that no moment forgets them.
            self.write(lambda done: self._store.share(message.id, is_for_all=False, done=done))
        if is_first:
            self._tell(inbox.aor, message, "delivered")
        self._finish_if_over(inbox, message, "delivered")

    def refuse(
        self, device: Device, message: Kept, *, status: int, contact: bytes, flow: str = ""
    ) -> bool:
        """A device will never take it; say whether that was the last that could."""
        if not device.waits_for(message.id):
            return False
        self.refused += 1
        inbox = device.inbox
        was_untaken = inbox.is_untaken(message.id)
        inbox.settle(device, message.id)
        outcome = _outcome(message, device.instance, "refused", status, contact, flow)
        self.write(lambda done: self._store.note([outcome], done))
        is_over = self._finish_if_over(inbox, message, "failed" if was_untaken else "delivered")
        if is_over and was_untaken:
            self._tell(inbox.aor, message, "failed")
        return is_over and was_untaken

    def end(
        self, inbox: Inbox, message: Kept, state: MessageState, after: After | None = None
    ) -> None:
        """Nobody is to have it any more: it has expired, or was cancelled."""
        if not inbox.holds(message.id):
            self.finish(message.id, state, after)  # Its end is on its way to disk, or it is lost.
            return
        was_untaken = inbox.is_untaken(message.id)
        self.close(inbox, message, state if was_untaken else "delivered", after)
        if was_untaken:
            self._tell(inbox.aor, message, state)

    def withdraw(self, inbox: Inbox, message: Kept, state: MessageState) -> bool:
        """Take out of memory what a command has ended; say whether it was there."""
        if not inbox.holds(message.id):
            return False
        was_untaken = inbox.is_untaken(message.id)
        inbox.withdraw(message.id, message.size)
        inbox.release(message.sender)
        self.waiting_count -= 1
        if was_untaken:
            self._tell(inbox.aor, message, state)
        return True

    def clear(self, inbox: Inbox) -> None:
        """The account is gone: its mail goes with it, on disk by ``removals`` (D36)."""
        self._inboxes.pop(inbox.aor, None)
        ids = set(inbox.untaken)
        for device in inbox.devices.values():
            ids.update(device.own)
            self._back(device)
        self.waiting_count -= len(ids)

    def _finish_if_over(self, inbox: Inbox, message: Kept, state: MessageState) -> bool:
        if inbox.waits_somewhere(message.id):
            return False
        self.close(inbox, message, state)
        return True

    def _tell(self, aor: str, message: Kept, state: MessageState) -> None:
        for hear in self.news:
            hear(message.id, aor=aor, sender=message.sender, state=state)

    def close(
        self, inbox: Inbox, message: Kept, state: MessageState, after: After | None = None
    ) -> None:
        """A message that was counted waits for nobody any more."""
        inbox.withdraw(message.id, message.size)
        self.waiting_count -= 1
        inbox.release(message.sender)
        if message.wants_failure and state != "delivered":
            self.on_failed(message.id, state, after)
        else:
            self.finish(message.id, state, after)

    def finish(self, id: int, state: MessageState, after: After | None = None) -> None:
        """Close a message that waits for nobody; ``after`` is called once that is on disk."""
        self.write(lambda done: self._store.finish(id, state, done), after)

    def drop(self, id: int, after: After | None = None) -> None:
        """Let go of the record of a message; ``after`` is called once that is on disk."""
        self.write(lambda done: self._store.drop(id, done), after)

    # ---- devices ---------------------------------------------------------------------------

    def away(self, device: Device, *, seen_utc: float) -> None:
        """A device has gone: it is waited for, among so many of its account (D7)."""
        inbox = device.inbox
        of_kind = [d for d in inbox.devices.values() if d.is_page == device.is_page]
        over = len(of_kind) - (PAGES_MAX if device.is_page else DEVICES_MAX)
        for oldest in sorted(of_kind, key=lambda d: d.seen)[: max(0, over)]:
            self.forget(oldest)
        if device.instance not in inbox.devices:
            return
        if self.away_count >= self._away_max and not device.is_on_record and not device.is_page:
            self._evict_page()
        if self.away_count < self._away_max or device.is_on_record:
            self.on_record(device)
            row = AwayDevice(
                inbox.aor, inbox.account_id, device.instance, device.is_page, seen_utc, device.push
            )
            self.write(lambda done: self._store.away(row, done))
        elif not device.is_waiting:
            self.on_record(device)  # The registrar wrote it with the end of the binding.
            self.forget(device)
            self.drop_idle(inbox)

    def _evict_page(self) -> None:
        """D7: there are too many, and pages go first."""
        page = next(iter(self._pages), None)
        if page is not None:
            self.forget(page)
            self.drop_idle(page.inbox)

    def on_record(self, device: Device) -> None:
        """The table of devices has it."""
        self.away_count += not device.is_on_record
        device.is_on_record = True
        if device.is_page:
            self._pages[device] = None

    def back(self, device: Device) -> None:
        """A device is there; its binding says so from now on."""
        self._back(device)

    def _back(self, device: Device) -> None:
        if not device.is_on_record:
            return
        device.is_on_record = False
        self._pages.pop(device, None)
        self.away_count -= 1
        self.write(lambda done: self._store.back(device.inbox.aor, device.instance, done))

    def forget(self, device: Device) -> None:
        """Wait for a device no more."""
        inbox = device.inbox
        own = list(device.own)
        inbox.devices.pop(device.instance, None)
        self._back(device)
        for id in own:
            if not inbox.waits_somewhere(id):
                self.waiting_count -= 1
                self.finish(id, "delivered")
        if own:
            inbox.forget_senders()

    def forget_unseen(self, inbox: Inbox, now: float) -> None:
        """Forget devices that were not seen for long (D7)."""
        for device in list(inbox.devices.values()):
            if now - device.seen > (PAGE_S if device.is_page else DEVICE_S):
                self.forget(device)

    # ---- writing ---------------------------------------------------------------------------

    def retry(self) -> None:
        """Write again what could not be written, in its order, some of it at a time."""
        for _ in range(min(len(self._unwritten), RETRIES_AT_ONCE)):
            self.write(*self._unwritten.popleft())

    @property
    def unwritten_count(self) -> int:
        """Changes that wait for a database which does not take them."""
        return len(self._unwritten)

    def write(self, write: Write, after: After | None = None) -> None:
        """Change the store now, or later when it does not take it now; in order."""

        def note(error: Exception | None) -> None:
            if isinstance(error, Unavailable):
                self._postpone(write, after, error)
                return
            if error is not None:
                log.error("change does not fit the database", reason=str(error))
            if after is not None:
                after()

        try:
            write(note)
        except Unavailable as error:
            self._postpone(write, after, error)

    def _postpone(self, write: Write, after: After | None, error: Unavailable) -> None:
        if not self._unwritten:
            log.warning("changes wait for the database", reason=error.reason)
        if len(self._unwritten) < UNWRITTEN_MAX:
            self._unwritten.append((write, after))
            return
        self.lost += 1
        if after is not None:
            after()


def _outcome(
    message: Kept,
    instance: bytes,
    state: CopyState,
    status: int = 0,
    contact: bytes = b"",
    flow: str = "",
) -> CopyOutcome:
    return CopyOutcome(message.id, instance, state, status, contact, flow)
