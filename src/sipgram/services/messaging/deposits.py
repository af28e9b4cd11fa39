"""Messages on their way to disk: nothing is promised before it is there (DELIVERY.md D9 to D11)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from sipgram.errors import Refusal, Unavailable
from sipgram.services.answers import Done
from sipgram.services.messaging import rules
from sipgram.services.messaging.history import NOBODYS, History
from sipgram.services.messaging.inbox import Device, Inbox
from sipgram.services.messaging.ledger import Ledger
from sipgram.services.messaging.live import LiveBranch, LiveBranches
from sipgram.services.messaging.store import (
    CopyOutcome,
    FailedAttempt,
    MessageStore,
    StoredMessage,
)
from sipgram.services.messaging.stored_form import digest_of, head_of
from sipgram.settings import MessagingSettings
from sipgram.sip.keeping import Concluded, KeptTarget, Verdict
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.timers import NEVER

ID_STEP_BITS: Final = 20
"""Ids are milliseconds since 1970 with room for so many more within one."""


class MessageIds:
    """Ids that rise with time, also over a restart."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._last = 0
        self._reserved: dict[bytes, int] = {}

    def next(self, now_utc: float | None = None) -> int:
        """Return a new id, above all before it; ``now_utc`` saves looking at the clock."""
        at_utc = self._wall() if now_utc is None else now_utc
        self._last = max(self._last + 1, int(at_utc * 1000) << ID_STEP_BITS)
        return self._last

    def of(self, call_id: bytes, now_utc: float) -> int:
        """Return the id of a message: the one that was reserved for it, else a new one."""
        return self._reserved.get(call_id) or self.next(now_utc)

    def reserve(self, call_id: bytes, id: int) -> None:
        """Let a message that has an id already keep it, when it is stored."""
        self._reserved[call_id] = id

    def release(self, call_id: bytes) -> None:
        """The message is stored, or will not be."""
        self._reserved.pop(call_id, None)

    def seen(self, id: int) -> None:
        """Stay above an id that another run of the program gave."""
        self._last = max(self._last, id)


class Registered(Protocol):
    """A binding, as far as it matters here."""

    instance: bytes
    updated: float
    "When it last registered, monotonic."


class Drains(Protocol):
    """Who delivers what is kept."""

    def look(self, device: Device, *, was_tried: bool, now: float) -> None:
        """Something waits for a device, which may be there."""


class _Said(NamedTuple):
    """What a device answered, 0 for nothing, and over which flow."""

    status: int
    contact: bytes
    flow: str


class Deposits:
    """Begins to keep messages; what is common to all of them."""

    def __init__(
        self,
        ledger: Ledger,
        store: MessageStore,
        *,
        inbox_of: Callable[[bytes], tuple[Inbox, bytes]],
        bindings_of: Callable[[str], Sequence[Registered]],
        settings: MessagingSettings,
        live: LiveBranches,
        clock: Callable[[], float],
        wall: Callable[[], float],
        ids: MessageIds,
        history: History = NOBODYS,
    ) -> None:
        """``inbox_of`` returns the inbox of a Request-URI, and the device when it names only one.

        It raises Refusal like a look-up.
        """
        self.ledger = ledger
        self.store = store
        self.settings = settings
        self.live = live
        self.clock = clock
        self.wall = wall
        self.ids = ids
        self.history = history
        self.stored = 0
        self._inbox_of = inbox_of
        self._bindings_of = bindings_of
        self.drains: Drains

    def open(self, request: Message, cuts: Sequence[Cut], now: float) -> "Deposit | None":
        """Begin to keep a request that some device did not take (``sip.keeping.Keeper``)."""
        if not rules.is_storable(request):
            return None
        if request.to_tag and request.has(b"route"):
            return None  # D31: within a dialog nothing is stored.
        try:
            inbox, only = self._inbox_of(request.uri)
        except Refusal:
            return None  # Its account has gone in the meantime.
        return self.deposit(request, inbox, cuts, now, only=only)

    def deposit(
        self,
        request: Message,
        inbox: Inbox,
        cuts: Sequence[Cut],
        now: float,
        digest: bytes = b"",
        *,
        only: bytes = b"",
        sender_id: int = 0,
        is_record: bool = False,
    ) -> "Deposit":
        """Begin to keep a request, of which ``digest`` may be known; nothing is written yet.

        ``only`` is the +sip.instance of the one device that it is for (D6); ``is_record``: every
        device is there, and only a history wants it on disk.
        """
        received_utc = self.wall()
        asked = rules.asked_of(request)
        message = StoredMessage(
            id=self.ids.of(request.call_id, received_utc),
            aor=inbox.aor,
            account_id=inbox.account_id,
            sender=request.from_uri,
            call_id=request.call_id,
            digest=digest or digest_of(request),
            content_type=request.value(b"content-type") or b"",
            head=head_of(request, cuts, received_utc=received_utc),
            body=request.body,
            received_utc=received_utc,
            expires_utc=rules.expires_utc(request, received_utc),
            imdn_key=asked.imdn_key,
            wants_failure=asked.wants_failure,
            kept=self.history.kept(inbox.aor, request.from_uri),
            sender_id=sender_id,
        )
        return Deposit(message, inbox, self, only=only, is_record=is_record)

    def welcome(self, inbox: Inbox, since: float) -> None:
        """Know the devices that came while nobody had the message yet: it waits for them too (D7)."""
        for binding in self._bindings_of(inbox.aor):
            if binding.updated >= since:
                inbox.device(binding.instance, now=self.clock())

    def check_room(self, inbox: Inbox, size: int, *, only: bytes = b"") -> None:
        """Refuse a message that nobody has taken when there is no room for it (D22).

        Mail for ``only`` one device is counted by message.

        Raises:
            Refusal: 480 with Retry-After.
        """
        limits = self.settings
        device = inbox.devices.get(only) if only else None
        own = 0 if device is None else len(device.own)
        if len(inbox.untaken) + own >= limits.inbox_messages_max:
            kind, limit = "messages", limits.inbox_messages_max
        elif inbox.bytes + size > limits.inbox_bytes_max:
            kind, limit = "octets", limits.inbox_bytes_max
        elif self.ledger.waiting_count >= limits.stored_messages_max:
            raise Refusal(480, "Message Store Is Full", (b"Retry-After: 3600",))
        else:
            return
        raise Refusal(480, f"Inbox Is Full: {limit} {kind}", (b"Retry-After: 3600",))


class Deposit:
    """One message that is kept, or about to be (``sip.keeping.Keeping``)."""

    __slots__ = (
        "_all",
        "_error",
        "_is_forked",
        "_is_open",
        "_is_record",
        "_is_shared",
        "_only",
        "_owed",
        "_refused",
        "_sent_since",
        "_taken",
        "_waiters",
        "inbox",
        "is_begun",
        "is_kept",
        "message",
    )

    def __init__(
        self,
        message: StoredMessage,
        inbox: Inbox,
        deposits: Deposits,
        *,
        only: bytes = b"",
        is_record: bool = False,
    ) -> None:
        self.message = message
        self._only = only
        self._is_record = is_record
        self.inbox = inbox
        self.is_begun = False
        self.is_kept = False
        self._is_open = True
        inbox.committing += 1  # So that neither the inbox nor a device in it is let go meanwhile.
        self._sent_since = (
            NEVER  # When it was relayed, at the earliest, if it is stored after that.
        )
        self._all = deposits
        self._is_forked = False
        self._is_shared = False
        self._error: Exception | None = None
        self._owed: dict[bytes, _Said] = {}
        self._refused: dict[bytes, _Said] = {}
        self._taken: dict[bytes, _Said] = {}
        self._waiters: list[Done] = []

    # ---- writing ---------------------------------------------------------------------------

    def begin(self, now: float, *, forked_to: Sequence[KeptTarget] = ()) -> None:
        """Write the message for every device of the account: nobody has taken it yet.

        ``forked_to`` are those to whom it is relayed at the same time; ``conclude`` will follow.

        Raises:
            Refusal: there is no room.
            Unavailable: nothing can be written now.
        """
        try:
            self._all.check_room(self.inbox, self.message.size, only=self._only)
        except Refusal:
            self._close()
            raise
        self._is_forked = bool(forked_to)
        for target in forked_to:
            self._device(target.instance)  # Else one that stays silent would inherit nothing.
        if self._only:
            self._is_shared = True
            copy = CopyOutcome(self.message.id, self._only, "waiting", 0, b"")
            self._put(is_for_all=False, copies=(copy,), now=now)
        else:
            self._put(is_for_all=True, copies=(), now=now)

    def wait(self, done: Done) -> None:
        """Call ``done`` when the message is on disk."""
        if self.is_kept:
            done(None)
        else:
            self._waiters.append(done)

    def _put(self, *, is_for_all: bool, copies: Iterable[CopyOutcome], now: float) -> None:
        inbox, message = self.inbox, self.message
        try:
            self._all.store.put(
                message, is_for_all=is_for_all, copies=tuple(copies), done=self._committed
            )
        except Unavailable:
            self._close()
            raise
        self.is_begun = True
        if self._is_forked:
            inbox.forking.add(message.id)
        inbox.expect(message.sender)
        inbox.remember(message.digest, self, now)
        if message.imdn_key:
            inbox.remember(message.imdn_key, self, now)

    def _committed(self, error: Exception | None) -> None:
        inbox, message, ledger = self.inbox, self.message, self._all.ledger
        now = self._all.clock()
        if error is not None:
            self._error = error
            inbox.forking.discard(message.id)
            inbox.release(message.sender)
            inbox.recent.pop(message.digest, None)
            ledger.drop(message.id)  # It may be on disk all the same, and nobody promised it.
        else:
            self.is_kept = True
            self._all.stored += 1
            if self._is_shared:
                instances = (self._only,) if self._only else self._owed
                ledger.add_shared(inbox, message, map(self._device, instances))
            else:
                ledger.add(inbox, message)
                if self._sent_since != NEVER:
                    self._all.welcome(inbox, self._sent_since)
            self._catch_up()
        self._close()
        waiters, self._waiters = self._waiters, []
        for done in waiters:
            done(error)
        self._look(now)

    def _close(self) -> None:
        """Nothing of it is under way any more."""
        if self._is_open:
            self._is_open = False
            self.inbox.committing -= 1
            self._all.ledger.drop_idle(self.inbox)

    def _catch_up(self) -> None:
        """Book what became known while the message was being written."""
        ledger = self._all.ledger
        for instance, (status, contact, flow) in self._taken.items():
            device = self._device(instance)
            ledger.take(device, self.message, status=status, contact=contact, flow=flow)
        for instance, (status, contact, flow) in self._refused.items():
            device = self._device(instance)
            ledger.refuse(device, self.message, status=status, contact=contact, flow=flow)
        for instance, said in self._owed.items():
            self._note(instance, said)

    def _look(self, now: float) -> None:
        """Have it delivered to devices that are there after all, once no fork is at it."""
        if self._is_forked or not self.is_kept:
            return
        for device in list(self.inbox.devices.values()):
            if device.waits_for(self.message.id):
                self._all.drains.look(device, was_tried=device.instance in self._owed, now=now)

    # ---- what the devices say --------------------------------------------------------------

    def on_taken(self, target: KeptTarget, status: int, now: float) -> None:
        instance = target.instance
        self._owed.pop(instance, None)
        said = self._taken[instance] = _Said(status, target.uri, str(target.flow))
        if self.is_kept:
            device = self._device(instance)
            self._all.ledger.take(device, self.message, **said._asdict())
            self._over(device)

    def on_refused(self, target: KeptTarget, status: int, now: float) -> None:
        instance = target.instance
        self._owed.pop(instance, None)
        if instance in self._taken:
            return
        said = self._refused[instance] = _Said(status, target.uri, str(target.flow))
        if self.is_kept:
            device = self._device(instance)
            self._all.ledger.refuse(device, self.message, **said._asdict())
            self._over(device)

    def on_owed(self, target: KeptTarget, branch: bytes, status: int, now: float) -> None:
        instance = target.instance
        if instance in self._taken:
            return
        said = self._owed[instance] = _Said(status, target.uri, str(target.flow))
        if self.is_kept:
            self._note(instance, said)
        device = self._device(instance)
        if status == 0:
            live = LiveBranch(branch, target.flow, target.uri, device, self.message, now)
            self._all.live.add(live)
        if self.is_kept and device.waits_for(self.message.id):
            self._all.drains.look(device, was_tried=True, now=now)

    def conclude(self, done: Concluded, now: float) -> bool:
        """Keep what is owed and tell when that is safe."""
        if not self.is_begun:
            if not self._owed:
                self._close()
                return False
            try:
                self._begin_late(now)
            except Refusal as error:
                done(Verdict(error.status, error.reason, error.headers), now)
                return True
            except Unavailable as error:
                done(_unavailable(error), now)
                return True
        self._is_forked = False
        self.inbox.forking.discard(self.message.id)
        if self._is_refused_by_all:
            return False  # Nothing is owed: the sender hears why.
        if self._error is not None:
            done(self._verdict(self._error), now)
            return True
        self.wait(lambda error: done(self._verdict(error), self._all.clock()))
        self._look(now)
        return True

    @property
    def _is_refused_by_all(self) -> bool:
        """Whether no device has it, nor will one that is known."""
        if self._owed or self._taken or not self._refused:
            return False
        return self.inbox.devices.keys() <= self._refused.keys()

    def _verdict(self, error: Exception | None) -> Verdict | None:
        """Return what to tell the sender; a record that is lost is no loss of the message."""
        return None if self._is_record and not self._owed else _unavailable(error)

    def leave_out(self, target: KeptTarget) -> None:
        """The message came from this device: it is no copy of it that is owed (D6)."""
        self._refused[target.instance] = _Said(0, target.uri, str(target.flow))

    def _begin_late(self, now: float) -> None:
        """Write only now, when it is known who took the message."""
        if not self._taken:
            self._sent_since = now - self._all.settings.answer_s
            self.begin(now)
            return
        self._is_shared = True
        copies = [
            CopyOutcome(self.message.id, instance, "waiting", said.status, said.contact)
            for instance, said in self._owed.items()
        ]
        self._put(is_for_all=False, copies=copies, now=now)

    def _note(self, instance: bytes, said: "_Said") -> None:
        """Keep the attempt at a device that did not take the message at once, behind."""
        attempt = FailedAttempt(self.message.id, instance, said.contact, said.flow, said.status)
        with suppress(Unavailable):  # Known to nobody then; the message itself is safe.
            self._all.store.attempt(attempt)

    def _device(self, instance: bytes) -> Device:
        return self.inbox.device(instance, now=self._all.clock())

    def _over(self, device: Device) -> None:
        live = self._all.live.of_copy(self.message.id, device.instance)
        if live is not None:
            self._all.live.over(live)


def _unavailable(error: Exception | None) -> Verdict | None:
    """D11: what cannot be stored now gets 500, since 503 would stop the peer altogether."""
    if error is None:
        return None
    after_s = error.retry_after_s if isinstance(error, Unavailable) else 5
    return Verdict(500, "Message Cannot Be Stored Now", (b"Retry-After: %d" % after_s,))
