"""The notifier's side of one subscription (RFC 6665 §4.2, RFC 5057 §5.1).

At most one NOTIFY is under way for each; what changes meanwhile is told in the next, so that a
watcher that answers slowly holds up nobody, and the newest state wins. It is the user of its own
client transactions.
"""

import enum
from typing import Final, Protocol

from sipgram.sip.events.dialog import Dialog, contact_of
from sipgram.sip.events.header import Event
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import NEVER, Sleeper

ENDS_SUBSCRIPTION: Final = frozenset(
    (404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 502, 604)
)
"""Answers to a NOTIFY that end the dialog or its usage (RFC 5057 §5.1); others end that NOTIFY."""


class Phase(enum.Enum):
    """The substates that Subscription-State tells (RFC 6665 §4.1.3)."""

    PENDING = b"pending"
    ACTIVE = b"active"
    TERMINATED = b"terminated"


class Subscription:
    """One watcher's wish to know one resource's state.

    ``resource`` and ``watcher`` are the AoRs as text; ``accepted`` the media types it takes.
    """

    __slots__ = (
        "_fixed",
        "_is_busy",
        "_is_due",
        "_out",
        "_sent_at",
        "accepted",
        "account_id",
        "dialog",
        "due",
        "event",
        "expires",
        "flow",
        "is_changed",
        "kept_until",
        "phase",
        "reason",
        "reserved",
        "resource",
        "sending",
        "since",
        "told",
        "watcher",
    )

    def __init__(
        self,
        dialog: Dialog,
        event: Event,
        *,
        resource: str,
        watcher: str,
        account_id: int,
        accepted: tuple[bytes, ...],
        flow: Flow | None,
        out: "Notifier",
    ) -> None:
        """``flow`` is None when the watcher cannot be reached now."""
        self.dialog = dialog
        self.event = event
        self.resource = resource
        self.watcher = watcher
        self.account_id = account_id
        self.accepted = accepted
        self.flow = flow
        self.phase = Phase.PENDING
        self.reason = b""
        "Why it is terminated; ``;retry-after=`` may follow."
        self.expires = NEVER
        self.kept_until = 0.0
        "What the database has for expires."
        self.is_changed = False
        "Whether the database has something else than its expiry wrong."
        self.since = 0.0
        self.reserved = 0
        "CSeq numbers up to this are safe to use: after a restart higher ones follow."
        self.told: bytes | None = None
        "What the last NOTIFY that was answered 2xx ended with."
        self.sending: bytes | None = None
        "The same of the NOTIFY that is under way."
        self.due = NEVER
        self._out = out
        self._is_busy = False
        self._is_due = False
        self._sent_at = -NEVER
        self._fixed = b""

    @property
    def is_over(self) -> bool:
        """Whether the watcher has been told, or is being told, that it has ended."""
        return self.phase is Phase.TERMINATED

    @property
    def known(self) -> bytes | None:
        """What the watcher knows or is being told, as a NOTIFY ends; None for nothing yet."""
        return self.sending if self._is_busy else self.told

    @property
    def version(self) -> int:
        """The number of the next document of this subscription, from 0 (RFC 3858 §4.1).

        Every NOTIFY has one document and takes one CSeq, so that they rise together.
        """
        return self.dialog.local_cseq

    def notify(self, now: float) -> None:
        """Tell the watcher the state: at once, when its last NOTIFY is answered, or as it asked."""
        if self._is_busy:
            self._is_due = True
            return
        wait_s = self._sent_at + self.event.min_interval_s - now
        if wait_s > 0 and not self.is_over:
            if self.due == NEVER:
                # Whole seconds above one: timers' lengths stay few.
                self._out.wake(self, wait_s if wait_s < 1 else float(-(-wait_s // 1)), now)
            return
        self._send(now)

    def terminate(self, reason: bytes, now: float) -> None:
        """End it, and tell the watcher why (RFC 6665 §4.2.2)."""
        if not self.is_over:
            self.phase = Phase.TERMINATED
            self.reason = reason
            self.notify(now)

    def refresh(self, request: Message, flow: Flow | None) -> bool:
        """Take a SUBSCRIBE within the dialog (§4.2.1.3); say whether the way to it is another."""
        dialog = self.dialog
        dialog.remote_cseq = request.cseq
        is_changed = False
        if request.has(b"contact"):
            target = contact_of(request)
            is_changed = target != dialog.target
            dialog.target = target
        if flow is not None and flow is not self.flow:
            self.flow = flow
            is_changed = True
        self._fixed = b""
        return is_changed

    def fire(self, now: float) -> None:
        """The watcher's interval is over."""
        if not self._is_busy:
            self._send(now)

    # ---- the user of its client transactions -----------------------------------------------

    def on_waiting(self, now: float) -> None:
        """A watcher takes its time; nobody waits for it."""

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        """Take the watcher's answer to a NOTIFY."""
        status = response.status
        if status < 200:
            return
        self._is_busy = False
        if status < 300:
            self.told, self.sending = self.sending, None
        elif status in ENDS_SUBSCRIPTION:
            self.phase = Phase.TERMINATED
            self._out.ended(self)
            return
        self._go_on(now)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        """There was no answer.

        §4.2.2: "If the NOTIFY request fails due to expiration of SIP Timer F (transaction
        timeout), the notifier SHOULD remove the subscription." A connection that closed is not
        that: the watcher may come back on another, and is told then.
        """
        self._is_busy = False
        if cause == "timeout":
            self.phase = Phase.TERMINATED
            self._out.ended(self)
            return
        if self.flow is transaction.flow:
            self.flow = None
        self._is_due = True
        if self.is_over:
            self._out.ended(self)

    # ---- sending ---------------------------------------------------------------------------

    def _go_on(self, now: float) -> None:
        if self._is_due:
            self._is_due = False
            self.notify(now)
        elif self.is_over:
            self._out.ended(self)

    def _send(self, now: float) -> None:
        flow = self.flow or self._out.flow_to(self)
        if flow is None:
            self._is_due = True
            if self.is_over:
                self._out.ended(self)
            return
        self.flow = flow
        tail = self.sending = self._out.tail(self, now)
        dialog = self.dialog
        dialog.local_cseq += 1
        branch = self._out.branch(self)
        request = (
            b"NOTIFY %b SIP/2.0\r\n%b%b\r\n%bCSeq: %d NOTIFY\r\nSubscription-State: %b\r\n%b"
            % (
                dialog.target,
                flow.via_line,
                branch,
                self._fixed or self._fixed_lines(),
                dialog.local_cseq,
                self._state(now),
                tail,
            )
        )
        self._is_busy = True
        self._is_due = False
        self._sent_at = now
        self._out.send(self, request, branch, flow, now)

    def _state(self, now: float) -> bytes:
        if self.is_over:
            return b"terminated;reason=" + (self.reason or b"noresource")
        return b"%b;expires=%d" % (self.phase.value, max(0, round(self.expires - now)))

    def _fixed_lines(self) -> bytes:
        """Return what is the same in each NOTIFY of this subscription."""
        dialog = self.dialog
        routes = b"Route: " + dialog.routes + b"\r\n" if dialog.routes else b""
        self._fixed = (
            b"Max-Forwards: 70\r\n%bFrom: %b\r\nTo: %b\r\nCall-ID: %b\r\nContact: %b\r\nEvent: %b\r\n"
            % (
                routes,
                dialog.local,
                dialog.remote,
                dialog.call_id,
                self._out.contact(self),
                bytes(self.event),
            )
        )
        return self._fixed


class Notifier(Protocol):
    """What subscriptions ask of whoever keeps them all."""

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        """Set a subscription's only deadline."""

    def send(
        self, subscription: Subscription, request: bytes, branch: bytes, flow: Flow, now: float
    ) -> None:
        """Begin the client transaction of a NOTIFY."""

    def branch(self, subscription: Subscription) -> bytes:
        """Return a new branch."""

    def tail(self, subscription: Subscription, now: float) -> bytes:
        """Return the state that the watcher may see, from Content-Type on (``Content.tail``)."""

    def contact(self, subscription: Subscription) -> bytes:
        """Return our Contact as the watcher reaches it, brackets and all."""

    def flow_to(self, subscription: Subscription) -> Flow | None:
        """Find another way to a watcher whose connection has closed."""

    def ended(self, subscription: Subscription) -> None:
        """It is over and the watcher knows, or cannot be told."""
