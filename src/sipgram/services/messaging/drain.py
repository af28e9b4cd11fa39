"""Delivers what waits for a device that is there again, one message after the other (D16 to D18)."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from sipgram.errors import Error
from sipgram.services.messaging.inbox import Device
from sipgram.services.messaging.ledger import Ledger
from sipgram.services.messaging.live import SAME_BRANCH_S, LiveBranch, LiveBranches
from sipgram.services.messaging.rules import Meaning, meaning
from sipgram.services.messaging.store import FailedAttempt, MessageStore, StoredMessage
from sipgram.services.messaging.stored_form import rebuilt
from sipgram.sip.branch import Brancher
from sipgram.sip.message.adapting import PLAIN, REFUSES_BODY, Adapter, NoAdapter, spliced
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.proxy import OutcomeUser, Target
from sipgram.sip.push import Push
from sipgram.sip.sink import AS_IT_IS, SMALL_BYTES, Carrier, Cause, ClientSide, Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable

FIRST_S: Final = 0.2
"""After the 200 to its REGISTER: some clients read one message per packet (D17)."""
RETRIES_S: Final = (30.0, 120.0, 600.0, 1_800.0)
"""How long a device that is bound and does not take its mail is left alone; the last for good."""
DATABASE_RETRY_S: Final = 2.0
PAGE: Final = 50
"""Messages read at once."""


class BoundDevice(Target, Protocol):
    """A binding of the device."""

    instance: bytes
    expires: float
    updated: float
    push: Push | None
    "How it is woken (RFC 8599)."

    def takes(self, method: bytes) -> bool:
        """Say whether the contact knows the method."""


class Drainer:
    """All drains, at most ``at_once`` of them at work."""

    def __init__(
        self,
        ledger: Ledger,
        store: MessageStore,
        *,
        bindings_of: Callable[[str], Sequence[BoundDevice]],
        live: LiveBranches,
        brancher: Brancher,
        wall: Callable[[], float],
        clock: Callable[[], float],
        at_once: int,
        quiet_s: float,
    ) -> None:
        """``bindings_of`` returns the contacts of a leading AoR, none when it has no account."""
        self.ledger = ledger
        self.store = store
        self.live = live
        self.brancher = brancher
        self.wall = wall
        self.clock = clock
        self.rearm: Callable[[], None] = lambda: None
        self.adapter: Adapter = NoAdapter()
        self.wake: Callable[[str, Push], None] = lambda aor, push: None
        self._quiet_s = quiet_s
        self.delivered = 0
        self._bindings_of = bindings_of
        self._at_once = at_once
        self._drains: dict[Device, Drain] = {}
        self._working: set[Drain] = set()
        self._queue: OrderedDict[Drain, None] = OrderedDict()
        self.table: TransactionTable
        self.user: OutcomeUser
        self.carrier: Carrier = AS_IT_IS

    def __len__(self) -> int:
        return len(self._drains)

    def look(self, device: Device, *, was_tried: bool, now: float) -> None:
        """See to it that a device that is there gets its mail; one just tried is left in peace."""
        bindings = self.bindings(device, now)
        if was_tried or not bindings:
            self._wake(device, bindings[0].push if bindings else device.push, now)
        drain = self._drains.get(device)
        if drain is None:
            if not bindings:
                return
            drain = self._drains[device] = Drain(device, self)
            drain.plan(self.retry_after_s(device) if was_tried else FIRST_S, now)
        elif not was_tried:
            drain.hasten(now)

    def _wake(self, device: Device, push: Push | None, now: float) -> None:
        """D25: "its push service is told once"; another copy within ``quiet_s`` wakes nobody anew."""
        if push is None or (device.pushed != NEVER and now - device.pushed < self._quiet_s):
            return
        device.pushed = now
        self.wake(device.inbox.aor, push)

    def on_bound(self, device: Device, now: float) -> None:
        """The device has a new or refreshed binding: try now, whatever was before."""
        device.tries = 0
        drain = self._drains.get(device)
        if drain is None:
            drain = self._drains[device] = Drain(device, self)
        drain.hasten(now)

    def on_late(self, branch: bytes, status: int, now: float) -> bool:
        """Take a 2xx that no transaction waits for any more (D12)."""
        live = self.live.of_branch(branch)
        if live is None or meaning(status) is not Meaning.TAKEN:
            return False
        self.live.over(live)
        flow = str(live.flow)
        self.ledger.take(live.device, live.message, status=status, contact=live.contact, flow=flow)
        return True

    def retry_after_s(self, device: Device) -> float:
        """Return how long the device is left alone."""
        return RETRIES_S[min(device.tries, len(RETRIES_S) - 1)]

    def bindings(self, device: Device, now: float) -> list[BoundDevice]:
        """Return where a device can be reached, the latest first."""
        found = self._bindings_of(device.inbox.aor)
        live = [b for b in found if b.instance == device.instance and b.expires > now]
        return [b for b in reversed(live) if b.takes(b"MESSAGE")]

    # ---- the drains' own -------------------------------------------------------------------

    def may_work(self, drain: "Drain") -> bool:
        """Give a drain its turn, or let it wait for one (D17)."""
        if drain in self._working:
            return True
        if len(self._working) >= self._at_once:
            self._queue[drain] = None
            return False
        self._working.add(drain)
        return True

    def rest(self, drain: "Drain", now: float) -> None:
        """A drain pauses: the next may work."""
        self._working.discard(drain)
        self._queue.pop(drain, None)
        while self._queue and len(self._working) < self._at_once:
            waiting, _ = self._queue.popitem(last=False)
            self._working.add(waiting)
            waiting.work(now)

    def over(self, drain: "Drain", now: float) -> None:
        """A drain has nothing left to do, or nowhere to send to."""
        self.rest(drain, now)
        device = drain.device
        self._drains.pop(device, None)
        if self.bindings(device, now):
            device.inbox.let_go(device)


class Drain:
    """The mail of one device on its way; a sleeper, and the user of one transaction."""

    __slots__ = (
        "_adapted",
        "_after",
        "_all",
        "_attempt",
        "_is_reading",
        "_mute",
        "_page",
        "_stuck",
        "device",
        "due",
    )

    def __init__(self, device: Device, drainer: Drainer) -> None:
        self.device = device
        self.due = NEVER
        self._all = drainer
        self._page: deque[StoredMessage] = deque()
        self._after = 0  # The last id that was read.
        self._attempt: tuple[StoredMessage, BoundDevice] | None = None
        self._adapted: Message | None = None  # What goes out in another form than it was kept in.
        self._is_reading = False
        self._stuck: set[bytes] = set()  # Senders whose mail must wait for a better time (D16).
        # The sender whose message had no answer: the others' go first the next time. A phone that
        # drops one message without a word would lose all mail behind it otherwise.
        self._mute = b""

    def plan(self, after_s: float, now: float) -> None:
        """Begin, or begin again, after some time."""
        self._all.table.wake(self, after_s, now)

    def hasten(self, now: float) -> None:
        """There is a reason to try soon."""
        self._stuck.clear()
        self._after = 0
        is_busy = self._attempt is not None or self._is_reading
        if not is_busy and self.due > now + FIRST_S:
            self._page.clear()
            self.plan(FIRST_S, now)

    def fire(self, now: float) -> None:
        """It is time."""
        if self._all.may_work(self):
            self.work(now)

    def work(self, now: float) -> None:
        """Send the next message."""
        if self._attempt is not None or self._is_reading:
            return
        while self._page:
            message = self._page.popleft()
            if message.sender in self._stuck or message.sender == self._mute:
                continue
            if not self.device.waits_for(message.id):
                continue
            bindings = self._all.bindings(self.device, now)
            if not bindings:
                self._all.over(self, now)
                return
            self._send(message, bindings[0], now)
            return
        self._read(now)

    # ---- reading ---------------------------------------------------------------------------

    def _read(self, now: float) -> None:
        ids = list(islice(self.device.waiting(after=self._after), PAGE))
        if ids:
            self._is_reading = True
            self._after = ids[-1]
            self._all.store.read(ids, self._on_page)
        elif self._mute:
            self._mute, self._after = b"", 0
            self._read(now)
        elif self._stuck and self._all.bindings(self.device, now):
            self._pause(now)
        elif self.device.is_waiting and not self._stuck and self._after:
            self._after = 0  # Something came while the last page was under way.
            self.plan(FIRST_S, now)
            self._all.rest(self, now)
        else:
            self._all.over(self, now)

    def _on_page(self, messages: Sequence[StoredMessage] | None) -> None:
        now = self._all.clock()
        self._is_reading = False
        if messages is None:
            self._after = 0
            self._all.rest(self, now)
            self.plan(DATABASE_RETRY_S, now)
        else:
            self._page.extend(messages)
            self.work(now)
        self._all.rearm()

    # ---- sending ---------------------------------------------------------------------------

    def _send(self, message: StoredMessage, binding: BoundDevice, now: float) -> None:
        live = self._all.live.of_copy(message.id, self.device.instance)
        flow = binding.flow
        if live is not None and live.flow is flow and now - live.at < SAME_BRANCH_S:
            branch = live.branch  # D18: a repetition, to the device.
        else:
            branch = self._branch(message, binding.name)
        if live is not None:
            self._all.live.over(live)
            is_moved = live.flow is not flow
            if is_moved and self._all.table.take_over(live.branch, flow, self):
                # It has just gone there: the device has registered anew (D28).
                self._attempt, self._adapted = (message, binding), None
                return
            self._all.table.abandon(live.branch)
        data, plain = self._prepared(message, binding, flow, branch)
        if len(data) > SMALL_BYTES and not flow.is_reliable:
            found = self._all.carrier.carry(binding, len(data))
            if found is None:
                self._all.ledger.refuse(self.device, message, status=513, contact=binding.uri)
                self.work(now)
                return
            binding, flow = found
            data, plain = self._prepared(message, binding, flow, branch)
        self._attempt = (message, binding)
        self._all.table.start_client(data, plain, b"MESSAGE", flow, self, now)

    def _branch(self, message: StoredMessage, name: bytes) -> bytes:
        epoch = int(self._all.wall() // SAME_BRANCH_S)
        return self._all.brancher.stored(message.id, name, epoch)

    def _prepared(
        self, message: StoredMessage, binding: BoundDevice, flow: Flow, branch: bytes
    ) -> tuple[bytes, bytes]:
        """Return the request and its branch, of another form for who refused CPIM (D20)."""
        data = _request(message, binding, flow, branch)
        self._adapted = None
        if not binding.cannot_read:
            return data, branch
        request = parse(data)
        edits = self._all.adapter.cuts(request, binding)
        if not edits:
            return data, branch
        self._adapted = request
        plain = self._branch(message, binding.name + PLAIN)
        return spliced(data, edits).replace(branch, plain, 1), plain

    def on_waiting(self, now: float) -> None:
        """A device takes its time."""

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take the device's answer."""
        status = response.status
        if status < 200 or self._attempt is None:
            return
        (message, binding), self._attempt = self._attempt, None
        binding.is_silent = False
        device, ledger = self.device, self._all.ledger
        if status >= 300:
            self._all.user.on_outcome(binding, b"MESSAGE", status)
        match meaning(status):
            case Meaning.TAKEN:
                device.tries = 0
                self._all.delivered += 1
                flow = str(binding.flow)
                ledger.take(device, message, status=status, contact=binding.uri, flow=flow)
                if self._adapted is not None:
                    self._all.adapter.on_taken(self._adapted, now)
            case Meaning.REFUSED if self._may_adapt(message, binding, status):
                self._page.appendleft(message)
            case Meaning.REFUSED:
                flow = str(binding.flow)
                ledger.refuse(device, message, status=status, contact=binding.uri, flow=flow)
            case Meaning.KEPT | Meaning.UNBOUND:
                self._note(message, binding, status, response.reason)
                if status == 430 and self._all.user.fail_over(binding) is not None:
                    self._page.appendleft(message)  # Over another flow of the device (D5).
                else:
                    self._stuck.add(message.sender)
        self.work(now)

    def _may_adapt(self, message: StoredMessage, binding: BoundDevice, status: int) -> bool:
        """Say whether the device may take the message in another form (D20)."""
        if status not in REFUSES_BODY or self._adapted is not None:
            return False
        branch = self._branch(message, binding.name)
        request = parse(_request(message, binding, binding.flow, branch))
        return bool(self._all.adapter.on_refused(request, binding))

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """There was no answer: leave the device in peace for a while."""
        if self._attempt is None:
            return
        (message, binding), self._attempt = self._attempt, None
        if cause == "transport-error" and self._may_go_otherwise(binding, transaction.flow):
            self._page.appendleft(message)
            self.work(now)
            return
        binding.is_silent = True
        self._all.user.on_outcome(binding, b"MESSAGE", 0)
        self._note(message, binding, 0, cause.encode())
        if cause == "timeout":
            contact, device = binding.uri, self.device
            branch, flow = transaction.branch, transaction.flow
            self._all.live.add(LiveBranch(branch, flow, contact, device, message, now))
        self._pause(now)
        self._mute = message.sender

    def _may_go_otherwise(self, binding: BoundDevice, flow: Flow) -> bool:
        """Say whether there is another way to the device than a flow that is dead (D5, D26)."""
        if flow is not binding.flow:  # Found for what is large.
            return self._all.carrier.give_up(binding, flow)
        return self._all.user.fail_over(binding) is not None

    def _note(
        self, message: StoredMessage, binding: BoundDevice, status: int, reason: bytes
    ) -> None:
        attempt = FailedAttempt(
            message_id=message.id,
            device=self.device.instance,
            contact=binding.uri,
            flow=str(binding.flow),
            status=status,
            reason=reason,
        )
        try:
            self._all.store.attempt(attempt)
        except Error:
            return  # Known to nobody then; the message itself is safe.

    def _pause(self, now: float) -> None:
        after_s = self._all.retry_after_s(self.device)
        self.device.tries += 1
        self._stuck.clear()
        self._page.clear()
        self._after = 0
        self._all.rest(self, now)
        self.plan(after_s, now)


def _request(message: StoredMessage, binding: BoundDevice, flow: Flow, branch: bytes) -> bytes:
    via, routes = flow.via_line + branch, binding.routes
    return rebuilt(message.head, message.body, uri=binding.uri, via=via, routes=routes)
