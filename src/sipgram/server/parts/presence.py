"""Wires event notification and presence: packages, subscriptions, publications (RFC 6665, 3903, 3856)."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import structlog

from sipgram.errors import Error, PeerError, Refusal
from sipgram.net.endpoint import Address, Endpoint
from sipgram.server.api.build import Foundation
from sipgram.server.dispatch import Service
from sipgram.server.ways import Ways
from sipgram.services.event_package import EventPackage
from sipgram.services.events.dialog_event import DialogEvent
from sipgram.services.events.message_summary import MessageSummary
from sipgram.services.events.publishing import Publishing
from sipgram.services.events.service import Subscribing
from sipgram.services.events.sql import EventRows
from sipgram.services.events.store import EventStore, KeptSubscription
from sipgram.services.events.subscriptions import Subscriptions
from sipgram.services.presence.service import Presence
from sipgram.services.presence.sql import DocumentRows
from sipgram.services.presence.store import KeptDocument
from sipgram.services.presence.watchers import WatcherInfo
from sipgram.services.registrar.location import Binding, Locations
from sipgram.services.registrar.reg_event import RegistrationEvent
from sipgram.settings import Settings
from sipgram.sip.branch import Brancher
from sipgram.sip.events.dialog import Dialog
from sipgram.sip.events.header import Event
from sipgram.sip.events.subscription import Phase, Subscription
from sipgram.sip.message.uri import SipUri
from sipgram.sip.sink import Flow
from sipgram.sip.transaction.table import TransactionTable

log = structlog.get_logger("sipgram.presence")

AUDIT_AT_ONCE = 500
"""AoRs that are looked at in one turn after accounts have changed."""


class ContactFlows(Protocol):
    """Who chooses the flow of a contact (D27)."""

    def flow_to(self, contact: SipUri, source: Flow) -> Flow:
        """Return the contact's own address when that is where its request came from."""


class WatcherFlows:
    """The way to a watcher: by its Contact where its SUBSCRIBE came from, later by its binding."""

    def __init__(self, contacts: ContactFlows, locations: Locations) -> None:
        self._contacts = contacts
        self._locations = locations

    def flow_to_uri(self, uri: bytes, source: Flow) -> Flow:
        try:
            return self._contacts.flow_to(SipUri.parse(uri), source)
        except PeerError:
            return source

    def find(self, subscription: Subscription) -> Flow | None:
        """Return the flow of the binding whose Contact the watcher subscribed with."""
        try:
            entry = self._locations.find(subscription.watcher.encode())
            target = SipUri.parse(subscription.dialog.target)
        except (Refusal, PeerError):
            return None
        for binding in reversed(entry.bindings):
            own = SipUri.parse(binding.uri)
            if (own.user, own.host, own.port) == (target.user, target.host, target.port):
                return binding.flow
        return None


@dataclass(slots=True)
class PresenceParts:
    """The running parts, and what the rest of the server tells them."""

    subscriptions: Subscriptions
    subscribing: Subscribing
    publishing: Publishing
    presence: Presence
    locations: Locations
    clock: Callable[[], float]
    to_audit: list[str] = field(default_factory=list)
    keeping: "PresenceKeeping | None" = None

    @property
    def routes(self) -> dict[bytes, Service]:
        """What answers which method."""
        return {b"SUBSCRIBE": self.subscribing, b"PUBLISH": self.publishing}

    async def restore(self) -> None:
        """Take back what was kept."""
        if self.keeping is not None:
            await self.keeping.restore()

    async def follow(self) -> None:
        """Take the rules that commands and other programs have written."""
        if self.keeping is not None:
            await self.keeping.follow()

    def on_binding(self, binding: Binding) -> None:
        """A binding has come or gone."""
        aor = binding.aor
        if not self.subscriptions.concerns(aor):
            return  # The usual case, on the way of each new binding.
        now = self.clock()
        if self.subscriptions.is_watched(b"presence", aor):
            self.presence.changed(aor, now)
        self.subscriptions.changed(b"reg", aor, now)
        if binding.is_bound:
            self.subscriptions.resume(aor, now)

    def forget_accounts(self) -> None:
        """Accounts have changed: look, some at a time, whether somebody is gone."""
        self.to_audit = list({*self.subscriptions.aors(), *self.publishing.aors()})

    def tick(self, now: float) -> None:
        """End what belongs to accounts that are gone; tell of messages that wait."""
        self.presence.tick(now)
        batch = list(islice(self.to_audit, AUDIT_AT_ONCE))
        del self.to_audit[: len(batch)]
        for aor in batch:
            try:
                self.locations.find(aor.encode())
            except (Refusal, PeerError):
                self.subscriptions.end_all(aor, now)
                self.publishing.forget(aor)
                self.presence.forget(aor)
        for aor in self.subscriptions.aors_of(b"message-summary"):
            self.subscriptions.changed(b"message-summary", aor, now)


def assemble(
    settings: Settings,
    *,
    locations: Locations,
    store: EventStore,
    brancher: Brancher,
    table: TransactionTable,
    address_of: Callable[[Flow], bytes],
    flows: WatcherFlows,
    clock: Callable[[], float],
    wall: Callable[[], float],
    waiting_of: Callable[[str], int],
) -> PresenceParts:
    """Make the parts, without a database of their own."""
    packages: dict[bytes, EventPackage] = {}
    subscriptions = Subscriptions(
        packages,
        store,
        settings=settings.events,
        brancher=brancher,
        clock=clock,
        address_of=address_of,
        find_flow=flows.find,
    )
    subscriptions.attach(table)
    presence = _add_packages(
        packages, subscriptions, settings=settings, locations=locations, clock=clock, wall=wall
    )
    packages[b"message-summary"] = MessageSummary(waiting_of)
    publishing = Publishing(
        locations.find,
        packages,
        store,
        settings=settings.events,
        clock=clock,
        wall=wall,
        new_id=_Ids(wall),
        contact_at=_Contacts(locations, clock).at,
    )
    publishing.attach(table)
    subscribing = Subscribing(
        locations.find,
        packages,
        subscriptions,
        store,
        settings=settings.events,
        brancher=brancher,
        flows=flows,
    )
    parts = PresenceParts(subscriptions, subscribing, publishing, presence, locations, clock)
    locations.on_change = parts.on_binding
    return parts


def _add_packages(
    packages: dict[bytes, EventPackage],
    subscriptions: Subscriptions,
    *,
    settings: Settings,
    locations: Locations,
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> Presence:
    watchers = WatcherInfo(watchers_of=lambda aor: subscriptions.of(b"presence", aor))

    def on_watched(subscription: Subscription, now: float) -> None:
        watchers.note(subscription)
        subscriptions.changed(b"presence.winfo", subscription.resource, now)

    presence = Presence(
        settings=settings.presence,
        contacts_of=_Contacts(locations, clock).of,
        wall=wall,
        on_watched=on_watched,
    )
    presence.attach(subscriptions)
    found: tuple[EventPackage, ...] = (
        presence,
        watchers,
        DialogEvent(presence.admit, changed=subscriptions.changed),
        RegistrationEvent(locations.find),
    )
    packages.update({package.name: package for package in found})
    return presence


class _Ids:
    """Numbers that rise over restarts, too: the time, in microseconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._newest = 0

    def __call__(self) -> int:
        self._newest = max(self._newest + 1, int(self._wall() * 1_000_000))
        return self._newest


class _Contacts:
    """The bindings of an AoR, as presence asks for them."""

    def __init__(self, locations: Locations, clock: Callable[[], float]) -> None:
        self._locations = locations
        self._clock = clock

    def of(self, aor: str) -> Sequence[bytes]:
        now = self._clock()
        return [binding.uri for binding in self._bindings(aor) if binding.expires > now]

    def at(self, aor: str, flow: Flow) -> bytes:
        """Return the contact that is reached over, or registered from, a flow."""
        own = (b.uri for b in self._bindings(aor) if b.source is flow or b.flow is flow)
        return next(own, b"")

    def _bindings(self, aor: str) -> Sequence[Binding]:
        try:
            return self._locations.find(aor.encode()).bindings
        except (Refusal, PeerError):
            return ()


class PresenceKeeping:
    """What presence has in the database: taken back at start, followed while serving."""

    def __init__(
        self, parts: PresenceParts, rows: EventStore, documents: DocumentRows, endpoint: Endpoint
    ) -> None:
        self._parts = parts
        self._rows = rows
        self._documents = documents
        self._endpoint = endpoint

    async def restore(self) -> None:
        """Take back rules, publications and subscriptions."""
        parts, now = self._parts, self._parts.clock()
        async for document in self._documents.documents():
            self._take(document, now, tells=False)
        async for publication in self._rows.publications(now):
            parts.publishing.restore(publication)
        parts.publishing.tell_all()
        count = 0
        async for kept in self._rows.subscriptions():
            try:
                parts.subscriptions.add(self._subscription(kept, now))
                count += 1
            except Error as error:
                log.info("subscription not restored", aor=kept.aor, reason=str(error))
        parts.subscriptions.tell_all(now)
        self._endpoint.after_batch()
        if count or len(parts.publishing):
            log.info("presence restored", subscriptions=count, publications=len(parts.publishing))

    async def follow(self) -> None:
        """Take the rules that commands and other programs have written."""
        for document in await self._documents.changed():
            self._take(document, self._parts.clock(), tells=True)
        self._endpoint.after_batch()

    def _take(self, document: KeptDocument, now: float, *, tells: bool) -> None:
        """Take a document under its account's leading name: a command may know another (D4)."""
        with suppress(Refusal, PeerError):  # Of an account that is gone: it is read by nobody.
            aor = str(self._parts.locations.find(document.aor.encode()).aor)
            self._parts.presence.take_document(document._replace(aor=aor), now, tells=tells)

    def _subscription(self, kept: KeptSubscription, now: float) -> Subscription:
        dialog = Dialog(
            call_id=kept.call_id,
            tag=kept.tag,
            remote_tag=kept.remote_tag,
            local=kept.local,
            remote=kept.remote,
            target=kept.target,
            routes=kept.routes,
            local_cseq=kept.local_cseq,
            remote_cseq=kept.remote_cseq,
        )
        subscription = Subscription(
            dialog,
            Event.parse(kept.event),
            resource=kept.aor,
            watcher=kept.watcher,
            account_id=kept.account_id,
            accepted=tuple(kept.accepted.split(b",")),
            flow=self._flow(kept.flow),
            out=self._parts.subscriptions,
        )
        wall = time.time()
        subscription.phase = Phase(kept.phase)
        subscription.since = now + kept.since_utc - wall
        subscription.expires = subscription.kept_until = now + kept.expires_utc - wall
        subscription.reserved = kept.local_cseq
        return subscription

    def _flow(self, text: str) -> Flow | None:
        """Return the flow of a UDP watcher; connections ended with the process that had them."""
        if not text.startswith("udp:"):
            return None
        shown, _, ours = text.partition(" ")
        address = Address.parse(shown)
        local_port = int(ours) if ours.isdigit() else 0
        return self._endpoint.udp_flow(address.host, address.port, local_port=local_port)


def build_presence(
    base: Foundation, endpoint: Endpoint, brancher: Brancher, ways: Ways, contacts: ContactFlows
) -> PresenceParts:
    """Make the parts on the server's database; their ``routes`` are what answers which method."""
    rows = EventRows(base.engine, base.writer, wall=time.time)
    parts = assemble(
        base.settings,
        locations=base.locations,
        store=rows,
        brancher=brancher,
        table=endpoint.table,
        address_of=lambda flow: ways.side(flow, b"sip:" + flow.host).address,
        flows=WatcherFlows(contacts, base.locations),
        clock=asyncio.get_running_loop().time,
        wall=time.time,
        waiting_of=base.mailroom.waiting_count,
    )
    documents = DocumentRows(base.engine, wall=time.time)
    parts.keeping = PresenceKeeping(parts, rows, documents, endpoint)
    return parts
