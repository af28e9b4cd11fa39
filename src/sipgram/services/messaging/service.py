"""The way of a MESSAGE from its sender to the devices of its recipient (RFC 3428, DELIVERY.md)."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipgram.errors import Refusal, Unavailable
from sipgram.services.answers import Answer, Commit, Done, Forward, Reply, Split
from sipgram.services.messaging import rules
from sipgram.services.messaging.deposits import Deposit, Deposits
from sipgram.services.messaging.inbox import Inbox, Recognised
from sipgram.services.messaging.stored_form import digest_of
from sipgram.settings import MessagingSettings
from sipgram.sip.loops import LoopGuard, breadth_of
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.preferences import NONE, Features, Preferences
from sipgram.sip.proxy import Target
from sipgram.sip.sink import Flow
from sipgram.sip.targets import Disposition, one_flow_each

ACCEPTED: Final = Reply(202)
ASSERTED: Final = (b"p-asserted-identity", b"p-preferred-identity")
"""Who is not trusted asserts nothing (D2)."""


class Device(Target, Protocol):
    """A contact that may take a MESSAGE."""

    expires: float
    "Monotonic seconds."
    source: Flow
    "Where its own requests come from."
    instance: bytes
    reg_id: int
    updated: float
    q: float

    @property
    def features(self) -> Features:
        """What its Contact told of its abilities (RFC 3840)."""

    def takes(self, method: bytes) -> bool:
        """Say whether the contact knows the method."""


class Recipient(Protocol):
    """An AoR that lives here."""

    has_inbox: bool
    "A device of it is away, or something waits."

    @property
    def listener(self) -> Device | None:
        """Who takes its messages besides (D8)."""

    @property
    def bindings(self) -> Sequence[Device]:
        """Its contacts."""

    text: str
    "Its leading name."

    @property
    def members(self) -> Sequence[bytes]:
        """The AoRs of a group's members, none of an account's own AoR."""

    @property
    def only(self) -> bytes:
        """The +sip.instance of the one device that was asked for, empty for all of them."""

    @property
    def account_id(self) -> int:
        """Whose it is, 0 under ``--auth none``."""


class ListService(Protocol):
    """Who serves messages to many (RFC 5365)."""

    def is_service(self, uri: bytes) -> bool:
        """Say whether a Request-URI of ours is its."""

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        """Take a request to it."""


class Messaging:
    """Relays what can be relayed and keeps the rest; ``find`` raises Refusal for whom we do not have.

    Without ``deposits`` nothing is kept: who is away is 480.
    """

    def __init__(
        self,
        find: Callable[[bytes], Recipient],
        *,
        settings: MessagingSettings,
        deposits: Deposits | None = None,
        loops: LoopGuard | None = None,
    ) -> None:
        self._find = find
        self._loops = loops
        self._settings = settings
        self._deposits = deposits
        self.on_sent: Callable[[Message], None] | None = None
        "Hears what accounts send, while anybody listens to them (D8)."
        # None when nobody has a history: the usual case asks nothing more.
        self._history = deposits.history if deposits and deposits.history.is_on else None
        self.lists: ListService | None = None

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        """Choose the devices for a request to an AoR.

        Raises:
            Refusal: 404 and 403 for whom we do not have, 480 when every device is away and the
                request cannot wait, 513 for a body that is too large.
        """
        size = request.content_length
        if size < 0:  # As a datagram may leave it out.
            size = len(request.body)
        if size > self._settings.body_bytes_max:
            limit = self._settings.body_bytes_max
            raise Refusal(513, f"Body Is Over {limit} Bytes: {size}")
        try:
            recipient = self._find(request.uri)
        except Refusal:
            if self.lists is not None and self.lists.is_service(request.uri):
                return self.lists.handle(request, source, account_id, now)
            raise
        bindings = recipient.bindings
        if recipient.listener is not None:
            bindings = [*bindings, recipient.listener]
        if self.on_sent is not None:
            self.on_sent(request)
        is_recorded = self._history is not None and self._records(request, recipient)
        if not recipient.has_inbox and len(bindings) == 1 and not is_recorded:
            device = bindings[0]
            if device.expires > now and not device.cannot_read and device.takes(request.method):
                return Forward(bindings)
        if recipient.members and request.method == b"MESSAGE":
            self._check_fork(request, 1)
            return Split(self._members(recipient, source, account_id, now), account_id)
        targets = [b for b in bindings if b.expires > now and b.takes(request.method)]
        if not targets and self.lists is not None and self.lists.is_service(request.uri):
            return self.lists.handle(request, source, account_id, now)
        if any(b.cannot_read for b in targets) and rules.is_typing(request):
            targets = [b for b in targets if rules.TYPING not in b.cannot_read]
            if not targets:
                return ACCEPTED  # D21: nobody is there who wants to know.
        if len(targets) > 1:
            targets = _preferred(request, one_flow_each(targets))
            if len(targets) > 1:
                self._check_fork(request, len(targets))
        may_keep = self._deposits is not None and (
            recipient.has_inbox or not targets or is_recorded
        )
        if may_keep and rules.is_storable(request):
            sender = (source, account_id)
            return self._keep(request, recipient, targets, sender, now, is_recorded=is_recorded)
        if not targets:
            raise Refusal(480, "Temporarily Unavailable", (b"Retry-After: 30",))
        return Forward(_others(targets, source))

    def _keep(
        self,
        request: Message,
        recipient: Recipient,
        targets: list[Device],
        sender: tuple[Flow, int | None],
        now: float,
        *,
        is_recorded: bool,
    ) -> Answer:
        """Store what cannot be delivered now, before the sender hears of it (D9, D10)."""
        assert self._deposits is not None
        source, account_id = sender
        only = recipient.only
        if only and not targets:
            self._check_known(recipient)
        inbox = self._deposits.ledger.inbox(recipient.text, recipient.account_id)
        recipient.has_inbox = True
        digest = digest_of(request)
        known = _recognised(inbox, request, digest) if inbox.recent else None
        if known is not None:
            return Commit(known.wait, _accepted)
        ready = _in_order(inbox, request, targets)
        here = {binding.instance for binding in targets}
        wanted = (only,) if only else inbox.devices
        is_live = ready and len(ready) == len(targets) and here.issuperset(wanted)
        if is_live and not is_recorded:
            return Forward(_others(targets, source))
        cuts = _asserted(request) if account_id is not None else ()
        deposit = self._deposits.deposit(
            *(request, inbox, cuts, now, digest),
            only=only,
            sender_id=account_id or 0,
            is_record=bool(is_live),
        )
        if not ready:
            return Commit(lambda done: _begin(deposit, done, now), _accepted)
        forked = _others(ready, source)
        for own in ready if is_live else ():
            if own not in forked:
                deposit.leave_out(own)
        try:
            deposit.begin(now, forked_to=forked)
        except (Refusal, Unavailable):
            if not is_live:
                raise
            return Forward(forked)  # What cannot be recorded now can be relayed all the same.
        return Forward(forked, deposit=deposit)

    def _records(self, request: Message, recipient: Recipient) -> bool:
        assert self._history is not None
        return bool(self._history.kept(recipient.text, request.from_uri))

    def _members(
        self, group: Recipient, source: Flow, account_id: int | None, now: float
    ) -> list[bytes]:
        """Return the members who are to have it, the sender only on other devices (D4, D6).

        Raises:
            Refusal: 480, there is nobody else.
        """
        uris = []
        for uri in group.members:
            member = self._find(uri)
            is_sender = account_id is not None and member.account_id == account_id
            others = [b for b in member.bindings if b.source is not source and b.expires > now]
            if not is_sender or others:
                uris.append(uri)
        if not uris:
            raise Refusal(480, "Nobody Else Is In The Group", (b"Retry-After: 30",))
        return uris

    def _check_fork(self, request: Message, count: int) -> None:
        """Refuse to fork what has been here before, or has forked enough (RFC 5393).

        Raises:
            Refusal: 482 and 440.
        """
        if self._loops is not None and self._loops.is_loop(request):
            raise Refusal(482, "Loop Detected")
        if breadth_of(request) < count:
            raise Refusal(440, "Max-Breadth Exceeded")

    def _check_known(self, recipient: Recipient) -> None:
        """Refuse a message for one device that is neither here nor away (D6, D7).

        Raises:
            Refusal: 404.
        """
        assert self._deposits is not None
        inbox = self._deposits.ledger.find(recipient.text)
        if inbox is None or recipient.only not in inbox.devices:
            raise Refusal(404, "No Such Device")


def _others(targets: list[Device], source: Flow) -> list[Device]:
    """D6: not back to where it came from, unless that is the only device there is."""
    return [b for b in targets if b.source is not source] or targets


def _preferred(request: Message, targets: list[Device]) -> list[Device]:
    """Choose between several devices as the sender asks (RFC 3841)."""
    preferences = Preferences.of(request)
    if preferences is not NONE:
        targets = preferences.apply(targets)
        if not targets:
            raise Refusal(480, "No Device Is As Asked", (b"Retry-After: 30",))
    if not Disposition.of(request).may_fork:
        targets = sorted(targets, key=lambda device: -device.q)[:1]
    return targets


def _in_order(inbox: Inbox, request: Message, targets: list[Device]) -> list[Device]:
    """Return the devices for which nothing of the same sender waits (D16)."""
    if request.from_uri not in inbox.senders:
        return targets
    ready = []
    for binding in targets:
        device = inbox.devices.get(binding.instance)
        if device is None or not (device.is_waiting or inbox.committing):
            ready.append(binding)
    return ready


def _recognised(inbox: Inbox, request: Message, digest: bytes) -> Recognised | None:
    """Return the stored message that a request repeats (D23)."""
    known = inbox.recent.get(digest)
    if known is None and (key := rules.asked_of(request).imdn_key):
        known = inbox.recent.get(key)
    return None if known is None else known[1]


def _begin(deposit: Deposit, done: Done, now: float) -> None:
    deposit.wait(done)
    deposit.begin(now)


def _accepted(error: Exception | None) -> Reply:
    if error is not None:
        raise error
    return ACCEPTED


def _asserted(request: Message) -> tuple[Cut, ...]:
    return tuple(
        (*span, b"") for name in ASSERTED if request.has(name) for span in request.spans(name)
    )
