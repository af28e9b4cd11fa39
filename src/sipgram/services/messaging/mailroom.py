"""The message store as the rest of the server sees it: who came, who went, what is due (D7, D17)."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from sipgram.errors import PeerError, Refusal
from sipgram.services.messaging.deposits import Deposits, MessageIds
from sipgram.services.messaging.drain import BoundDevice, Drainer
from sipgram.services.messaging.failures import Failures
from sipgram.services.messaging.history import NOBODYS, History
from sipgram.services.messaging.inbox import Inbox, OnDisk
from sipgram.services.messaging.ledger import DEVICE_S, PAGE_S, Ledger, MessageNews
from sipgram.services.messaging.letters import Letter, LetterBox
from sipgram.services.messaging.live import LiveBranches
from sipgram.services.messaging.store import (
    CopyOutcome,
    DueMessage,
    MessageState,
    MessageStore,
    StoredMessage,
    WaitingMessage,
)
from sipgram.services.messaging.stored_form import rebuilt
from sipgram.settings import MessagingSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import Aor
from sipgram.sip.proxy import OutcomeUser
from sipgram.sip.push import Push
from sipgram.sip.sink import AS_IT_IS, Carrier, is_websocket
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable

log = structlog.get_logger("sipgram.messaging")

DUE_AT_ONCE: Final = 200
"""Expired messages ended in one turn: well under 10 ms."""
INBOXES_AT_ONCE: Final = 500
"""Inboxes looked through for what nobody needs any more."""


class Entry(Protocol):
    """An AoR that lives here."""

    has_inbox: bool
    aor: Aor
    account_id: int

    @property
    def bindings(self) -> Sequence[BoundDevice]:
        """Its contacts."""

    @property
    def only(self) -> bytes:
        """The +sip.instance of the one device that was asked for, empty for all of them."""

    @property
    def listener(self) -> BoundDevice | None:
        """Who takes its messages besides (D8)."""


class Mailroom:
    """Ledger, deposits and drains, and the news that moves them."""

    def __init__(
        self,
        store: MessageStore,
        *,
        settings: MessagingSettings,
        brancher: Brancher,
        clock: Callable[[], float],
        wall: Callable[[], float],
        certain: Callable[[], float] | None = None,
        history: History = NOBODYS,
    ) -> None:
        """``wall`` is the time to stamp with, ``certain`` that by which things end (D35)."""
        self._store = store
        self._clock = clock
        self._wall = wall
        self._certain = certain or wall
        self._find: Callable[[bytes], Entry]
        self._is_looking = False
        self._looked = 0
        self.ledger = Ledger(store, away_max=settings.devices_max)
        self.live = LiveBranches()
        self.ids = MessageIds(wall)
        self.deposits = Deposits(
            self.ledger,
            store,
            inbox_of=self._inbox_of,
            bindings_of=self._bindings_of,
            settings=settings,
            live=self.live,
            clock=clock,
            wall=wall,
            ids=self.ids,
            history=history,
        )
        self.drainer = Drainer(
            self.ledger,
            store,
            bindings_of=self._bindings_of,
            live=self.live,
            brancher=brancher,
            wall=wall,
            clock=clock,
            at_once=settings.drains_max,
            quiet_s=settings.push_quiet_s,
        )
        self.deposits.drains = self.drainer
        self.letters = LetterBox(
            self.deposits,
            inbox_of=lambda uri: self._inbox_of(uri)[0],
            bindings_of=self._bindings_of,
            rearm=lambda: self.drainer.rearm(),
        )
        self._failures: Failures | None = None

    def attach(
        self,
        table: TransactionTable,
        find: Callable[[bytes], Entry],
        user: OutcomeUser,
        *,
        carrier: Carrier = AS_IT_IS,
        rearm: Callable[[], None] = lambda: None,
        wake: Callable[[str, Push], None] = lambda aor, push: None,
        news: Sequence[MessageNews] = (),
    ) -> None:
        """Take the transactions to deliver by, and the location table to look in.

        ``news`` hear what becomes of messages that wait.
        """
        self.ledger.news = tuple(news)
        self.drainer.carrier = carrier
        self._find = find
        self.drainer.table = table
        self.drainer.user = user
        self.drainer.rearm = rearm
        self.drainer.wake = wake

    def rearm(self) -> None:
        """Something was planned outside of a turn of the endpoint."""
        self.drainer.rearm()

    def report_failures(self, report: Callable[[Message], None]) -> None:
        """Tell of messages that nobody took, when their senders asked for it (D15)."""

        def told(message: StoredMessage) -> None:
            via = b"Via: SIP/2.0/UDP stored.invalid;branch=z9hG4bK"
            report(parse(rebuilt(message.head, message.body, uri=message.aor.encode(), via=via)))

        self._failures = Failures(self.ledger, self._store, report=told)
        self.ledger.on_failed = self._failures.begin

    def post(
        self,
        *,
        sender: bytes,
        to: bytes,
        cause: bytes,
        content_type: bytes,
        body: bytes,
        headers: Sequence[bytes],
        now: float,
    ) -> bool:
        """Store a message of the server's own; False when it cannot be delivered."""
        return self.letters.post(Letter(sender, to, cause, content_type, body, headers), now)

    # ---- news of the location table --------------------------------------------------------

    def has_inbox(self, aor: str) -> bool:
        """Say whether something waits for an AoR, or a device of it is away."""
        return self.ledger.find(aor) is not None

    def on_gone(self, entry: Entry, binding: BoundDevice) -> None:
        """A device is away: what comes from now on waits for it."""
        now = self._clock()
        inbox = self.ledger.inbox(str(entry.aor), entry.account_id)
        entry.has_inbox = True
        device = inbox.device(binding.instance, now=now)
        # It may be known already, of mail that it missed while it was there.
        device.is_page = is_websocket(binding.flow)
        device.seen = now
        device.push = binding.push
        self.ledger.away(device, seen_utc=self._wall())

    def on_bound(self, entry: Entry, binding: BoundDevice) -> None:
        """A device has registered: it gets its mail, and a new one what nobody has taken (D7)."""
        inbox = self.ledger.find(str(entry.aor))
        if inbox is None:
            entry.has_inbox = False
            return
        now = self._clock()
        if inbox.account_id != entry.account_id:
            self.ledger.clear(inbox)
            entry.has_inbox = False
            return
        device = inbox.devices.get(binding.instance)
        if device is not None:
            self.ledger.back(device)
            device.seen = now
            device.pushed = NEVER
            inbox.let_go(device)
        elif inbox.untaken or inbox.committing:
            device = inbox.device(binding.instance, now=now)
        if device is not None and device.is_waiting:
            self.drainer.on_bound(device, now)

    def on_stray(self, response: Message, now: float) -> bool:
        """Take a late 2xx (D12); say whether it was one."""
        return self.drainer.on_late(response.branch, response.status, now)

    def waiting_count(self, aor: str) -> int:
        """Return how many messages no device of an account has taken (RFC 3842)."""
        inbox = self.ledger.find(aor)
        return 0 if inbox is None else len(inbox.untaken)

    # ---- time ------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do once a second what is due: in small steps, so that nobody waits for it."""
        self.ledger.retry()
        if self._failures is not None:
            self._failures.go_on()
        if not self._is_looking:
            self._look_for_due()
        inboxes = list(self.ledger.some_inboxes(INBOXES_AT_ONCE))
        for inbox in inboxes:
            entry = self._entry(inbox.aor)
            if entry is None or entry.account_id != inbox.account_id:
                self.ledger.clear(inbox)
                continue
            inbox.forget_recent(now)
            self.ledger.forget_unseen(inbox, now)
            self._forget_present(inbox, now)
            if self.ledger.drop_idle(inbox):
                self._unmark(inbox)

    def _forget_present(self, inbox: Inbox, now: float) -> None:
        """Let the bindings alone speak for devices that are there and have their mail."""
        for device in list(inbox.devices.values()):
            if not device.is_waiting and self.drainer.bindings(device, now):
                inbox.let_go(device)

    def requeue(self, message: WaitingMessage, copies: Sequence[CopyOutcome]) -> None:
        """Deliver, beginning now, what a command put back, or in, or wants tried at once."""
        now = self._clock()
        inbox = self.ledger.inbox(message.aor, message.account_id)
        if not inbox.holds(message.id):
            self._restored(message, now, self._wall())
            self._restore_copies(inbox, copies, now)
        for device in inbox.devices.values():
            device.refused.discard(message.id)
            device.tries = 0
        self._revive(message.aor, now)

    def _look_for_due(self) -> None:
        self._is_looking = True
        self._store.due(self._certain(), DUE_AT_ONCE, self._on_due)

    def _on_due(self, due: Sequence[DueMessage]) -> None:
        """End what has expired; look again once that is on disk, else it would be found again."""
        left = len(due)
        self._is_looking = left > 0

        def after() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self._is_looking = False
                if len(due) == DUE_AT_ONCE:  # There is more: go on, not in a second.
                    self._look_for_due()

        for message in due:
            if self._failures is not None and message.id in self._failures:
                after()  # It is being told already.
                continue
            inbox = self.ledger.find(message.aor)
            if inbox is None:
                self.ledger.finish(message.id, "expired", after)
            else:
                self.ledger.end(inbox, message, "expired", after)

    def _unmark(self, inbox: Inbox) -> None:
        entry = self._entry(inbox.aor)
        if entry is not None:
            entry.has_inbox = False

    def cancel(self, id: int, done: Callable[[bool], None]) -> None:
        """Take back a message that nobody has taken; tell whether there was such a one."""

        def on_read(messages: Sequence[StoredMessage] | None) -> None:
            for message in messages or ():
                inbox = self.ledger.find(message.aor)
                if inbox is not None and inbox.is_untaken(id):
                    self.ledger.end(inbox, message, "cancelled")
                    done(True)
                    return
            done(False)

        self._store.read([id], on_read)

    # ---- restart ---------------------------------------------------------------------------

    async def load(self) -> int:
        """Read back what waits for whom, before anybody is served; return how many messages do."""
        now, wall = self._clock(), self._certain()
        async for away in self._store.load_devices():
            inbox = self.ledger.inbox(away.aor, away.account_id)
            seen = now - max(0.0, wall - away.seen_utc)
            device = inbox.device(away.device, now=seen, is_page=away.is_page)
            device.push = away.push
            self.ledger.on_record(device)
        open_ids: dict[int, Inbox] = {}
        async for message in self._store.load_waiting():
            open_ids[message.id] = self._restored(message, now, wall)
        async for copy in self._store.load_copies():
            if (owner := open_ids.get(copy.message_id)) is not None:
                self._restore_copies(owner, (copy,), now)
        async for bound in self._store.load_bound():
            # Those whose bindings come back are let go in ``revive``. The others, whose
            # connections ended with the process or whose time ran out meanwhile, are away.
            age_s = max(0.0, wall - bound.seen_utc)
            if age_s < (PAGE_S if bound.is_page else DEVICE_S):
                owner = self.ledger.inbox(bound.aor, bound.account_id)
                device = owner.device(bound.device, now=now - age_s, is_page=bound.is_page)
                device.push = bound.push
        for id, owner in open_ids.items():
            if not owner.waits_somewhere(id):  # Cut off between two writes, or all forgotten.
                found = await self._store.load_one(id)
                if found is not None:
                    state: MessageState = "failed" if found[0].is_for_all else "delivered"
                    self.ledger.close(owner, found[0], state)
        return len(open_ids)

    def _restore_copies(self, inbox: Inbox, copies: Sequence[CopyOutcome], now: float) -> None:
        for copy in copies:
            device = inbox.device(copy.device, now=now)
            if copy.state != "waiting":
                inbox.settle(device, copy.message_id)
            elif not inbox.is_untaken(copy.message_id):
                inbox.add_own(device, copy.message_id)

    def revive(self) -> None:
        """The bindings are back: begin to deliver to those who are there."""
        now = self._clock()
        for inbox in list(self.ledger.inboxes()):
            self._revive(inbox.aor, now)
            if self.ledger.drop_idle(inbox):
                self._unmark(inbox)

    def _restored(self, message: WaitingMessage, now: float, wall: float) -> Inbox:
        inbox = self.ledger.inbox(message.aor, message.account_id)
        self.ids.seen(message.id)
        inbox.restore(message)
        self.ledger.waiting_count += 1
        came = now - max(0.0, wall - message.received_utc)
        inbox.remember(message.digest, OnDisk(), came)
        if message.imdn_key:
            inbox.remember(message.imdn_key, OnDisk(), came)
        return inbox

    def _revive(self, aor: str, now: float) -> None:
        """Mark an AoR that has an inbox, and begin to deliver to those who are there."""
        entry = self._entry(aor)
        if entry is None:
            return
        entry.has_inbox = True
        for binding in list(_contacts(entry)):
            self.on_bound(entry, binding)

    def _entry(self, aor: str) -> Entry | None:
        try:
            return self._find(aor.encode())
        except (Refusal, PeerError):
            return None

    def _inbox_of(self, uri: bytes) -> tuple[Inbox, bytes]:
        entry = self._find(uri)
        entry.has_inbox = True
        return self.ledger.inbox(str(entry.aor), entry.account_id), entry.only

    def _bindings_of(self, aor: str) -> Sequence[BoundDevice]:
        entry = self._entry(aor)
        return () if entry is None else _contacts(entry)


def _contacts(entry: Entry) -> Sequence[BoundDevice]:
    return entry.bindings if entry.listener is None else [*entry.bindings, entry.listener]
