"""SUBSCRIBE: the notifier's steps (RFC 6665 §4.2.1)."""

from collections.abc import Callable, Mapping
from typing import Protocol

from sipgram.errors import Refusal
from sipgram.services.answers import Commit, Done, Reply
from sipgram.services.event_package import EventPackage, Watcher
from sipgram.services.events.store import EventStore
from sipgram.services.events.subscriptions import Subscriptions
from sipgram.settings import EventSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.events import header
from sipgram.sip.events.dialog import Dialog, contact_of
from sipgram.sip.events.header import Event
from sipgram.sip.events.subscription import Phase, Subscription
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import Aor
from sipgram.sip.sink import Flow


class Resource(Protocol):
    """An AoR that lives here."""

    aor: Aor
    "Its leading name."
    account_id: int


class WatcherFlows(Protocol):
    """Who knows the flow that reaches a watcher."""

    def flow_to_uri(self, uri: bytes, source: Flow) -> Flow:
        """Return the flow to a Contact or route, given where its SUBSCRIBE came from (D27)."""


class Subscribing:
    """Takes SUBSCRIBE for the packages that are served here."""

    def __init__(
        self,
        find: Callable[[bytes], Resource],
        packages: Mapping[bytes, EventPackage],
        subscriptions: Subscriptions,
        store: EventStore,
        *,
        settings: EventSettings,
        brancher: Brancher,
        flows: WatcherFlows,
    ) -> None:
        self._find = find
        self._packages = packages
        self._subscriptions = subscriptions
        self._store = store
        self._settings = settings
        self._brancher = brancher
        self._flows = flows
        names = sorted(packages)
        self.allow_events = b"Allow-Events: " + b", ".join(names)

    def handle(
        self, request: Message, source: Flow, account_id: int | None, now: float
    ) -> Reply | Commit:
        """Answer a SUBSCRIBE, new or within its dialog.

        Raises:
            Refusal: 489, 406, 481, 423, 403, 404, 480.
            PeerError: 400, a header is malformed.
        """
        wanted = Event.of(request)
        package = self._packages.get(wanted.package)
        if package is None:
            raise Refusal(489, f"Bad Event: {shown(wanted.package)}", (self.allow_events,))
        accepted = header.accepts(request, package.types[0])
        if not any(header.is_accepted(kind, accepted) for kind in package.types):
            line = b"Accept: " + b", ".join(package.types)
            raise Refusal(406, f"Not Acceptable: {shown(b', '.join(accepted))}", (line,))
        wished = header.expires_of(request, self._settings.expires_s)
        granted_s = header.granted(
            wished, least_s=self._settings.expires_min_s, most_s=self._settings.expires_max_s
        )
        if request.to_tag:
            return self._again(request, wanted, granted_s, source, now)
        return self._begin(request, wanted, package, accepted, granted_s, source, account_id, now)

    # ---- a new one -------------------------------------------------------------------------

    def _begin(
        self,
        request: Message,
        wanted: Event,
        package: EventPackage,
        accepted: tuple[bytes, ...],
        granted_s: int,
        source: Flow,
        account_id: int | None,
        now: float,
    ) -> Reply | Commit:
        resource = self._find(request.uri)
        aor = str(resource.aor)
        watcher = Watcher(self._watcher_of(request), account_id)
        phase = package.admit(aor, watcher)
        if phase is Phase.TERMINATED:
            raise Refusal(403, "Watcher Is Blocked")
        dialog = Dialog.of(request, self._brancher.tag(request))
        subscription = Subscription(
            dialog,
            wanted,
            resource=aor,
            watcher=watcher.aor,
            account_id=resource.account_id,
            accepted=accepted,
            flow=self._flows.flow_to_uri(dialog.next_hop, source),
            out=self._subscriptions,
        )
        subscription.phase = phase
        subscription.since = now
        subscription.expires = now + granted_s
        if not granted_s:  # §4.4.3: to fetch the state once.
            subscription.phase = Phase.TERMINATED
            subscription.reason = b"timeout"
            self._subscriptions.greet(subscription, now)
            return self._ok(0, subscription)
        self._subscriptions.check_room(watcher.aor, (wanted.package, aor))
        self._subscriptions.add(subscription)

        def start(done: Done) -> None:
            try:
                self._store.put_subscription(subscription, now, done)
            except BaseException:
                self._subscriptions.remove(subscription)
                raise

        def reply(error: Exception | None) -> Reply:
            if error is not None:
                self._subscriptions.remove(subscription)
                raise error
            package.watched(subscription, now)
            self._subscriptions.greet(subscription, now)
            return self._ok(granted_s, subscription)

        return Commit(start, reply)

    def _watcher_of(self, request: Message) -> str:
        """Return the leading AoR of a watcher that lives here, else the one that From says."""
        try:
            return str(self._find(request.from_uri).aor)
        except Refusal:
            return str(Aor.parse(request.from_uri))

    # ---- within its dialog -----------------------------------------------------------------

    def _again(
        self, request: Message, wanted: Event, granted_s: int, source: Flow, now: float
    ) -> Reply | Commit:
        subscription = self._subscriptions.of_tag(request.to_tag)
        if (
            subscription is None
            or subscription.is_over
            or not subscription.dialog.is_of(request)
            or (subscription.event.package, subscription.event.id) != (wanted.package, wanted.id)
        ):
            raise Refusal(481, "Subscription Does Not Exist")
        if request.cseq <= subscription.dialog.remote_cseq:  # RFC 3261 §12.2.2.
            raise Refusal(500, f"CSeq is not higher than before: {request.cseq}")
        next_hop = subscription.dialog.routes and subscription.dialog.next_hop
        contact = next_hop or (request.has(b"contact") and contact_of(request)) or b""
        flow = self._flows.flow_to_uri(contact, source) if contact else source
        is_moved = subscription.refresh(request, flow)
        if not granted_s:
            self._subscriptions.give_up(subscription, now)
            return self._ok(0, subscription)
        subscription.expires = now + granted_s
        self._subscriptions.watch_over(subscription)
        if not is_moved:
            self._store.note_subscription(subscription, now)
            self._subscriptions.greet(subscription, now)
            return self._ok(granted_s, subscription)

        def start(done: Done) -> None:
            self._store.put_subscription(subscription, now, done)

        def reply(error: Exception | None) -> Reply:
            if error is not None:
                raise error
            self._subscriptions.greet(subscription, now)
            return self._ok(granted_s, subscription)

        return Commit(start, reply)

    def _ok(self, granted_s: int, subscription: Subscription) -> Reply:
        """§4.2.1.1: 200, not 202 any more, with the time that was granted."""
        lines: tuple[bytes, ...] = (b"Expires: %d" % granted_s,)
        if subscription.flow is not None:
            lines += (b"Contact: " + self._subscriptions.contact(subscription),)
        return Reply(200, headers=lines)
