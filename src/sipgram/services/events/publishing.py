"""PUBLISH: the steps of the event state compositor (RFC 3903 §6)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from sipgram.errors import ParseError, Refusal
from sipgram.services.answers import Commit, Done, Reply
from sipgram.services.event_package import EventPackage
from sipgram.services.events.publication import ETAG_BYTES_MAX, Publication, etag_of
from sipgram.services.events.service import Resource
from sipgram.services.events.store import EventStore
from sipgram.settings import EventSettings
from sipgram.sip.events import header
from sipgram.sip.events.deadlines import Deadlines
from sipgram.sip.events.header import Event
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable

LOOK_S: Final = 1.0
STEP: Final = 64
"""Expired publications ended in one turn of the loop."""


class Publishing:
    """Keeps what publishers say, and gives each package what it has to compose."""

    def __init__(
        self,
        find: Callable[[bytes], Resource],
        packages: Mapping[bytes, EventPackage],
        store: EventStore,
        *,
        settings: EventSettings,
        clock: Callable[[], float],
        wall: Callable[[], float],
        new_id: Callable[[], int],
        contact_at: Callable[[str, Flow], bytes] = lambda aor, flow: b"",
    ) -> None:
        """``contact_at`` names the binding that an AoR has on a flow, empty for none."""
        self._find = find
        self._packages = {name: p for name, p in packages.items() if p.published_types}
        self._store = store
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._new_id = new_id
        self._contact_at = contact_at
        # The newest last.
        self._by_key: dict[tuple[bytes, str], OrderedDict[int, Publication]] = {}
        self._deadlines = Deadlines[Publication]()
        self._count = 0
        self.due = NEVER
        self._allow_events = b"Allow-Events: " + b", ".join(sorted(self._packages))
        self.table: TransactionTable

    def attach(self, table: TransactionTable) -> None:
        """Take the table whose timers are used."""
        self.table = table

    def __len__(self) -> int:
        return self._count

    def of(self, package: bytes, aor: str) -> list[Publication]:
        """Return what is published for an AoR, the newest last."""
        return list(self._held(package, aor).values())

    def aors(self) -> list[str]:
        """Return whose state is published."""
        return [aor for _, aor in self._by_key]

    def handle(
        self, request: Message, source: Flow, account_id: int | None, now: float
    ) -> Reply | Commit:
        """Answer a PUBLISH.

        Raises:
            Refusal: 404, 489, 403, 412, 415, 423.
            PeerError: 400, a header or the body is malformed.
        """
        resource = self._find(request.uri)  # Step 1.
        package = self._package(request)  # Step 2.
        if account_id is not None and account_id != resource.account_id:  # Step 3.
            raise Refusal(403, f"Not Your AoR: {resource.aor}")
        known = self._known(request, package, str(resource.aor))  # Step 4.
        granted_s = header.granted(  # Step 5.
            header.expires_of(request, self._settings.publish_expires_s),
            least_s=self._settings.expires_min_s,
            most_s=self._settings.expires_max_s,
        )
        body, content_type = request.body, request.value(b"content-type") or b""
        if body:  # Step 6.
            self._check(package, body, content_type)
        elif known is None and granted_s:
            raise ParseError("PUBLISH without SIP-If-Match has no body")
        if not granted_s:
            return self._remove(known, now)
        publication = self._put(request, resource, package, known, source, now)
        return self._commit(publication, known, granted_s, now)

    def _package(self, request: Message) -> EventPackage:
        wanted = Event.of(request)
        package = self._packages.get(wanted.package)
        if package is None:
            raise Refusal(489, f"Bad Event: {shown(wanted.package)}", (self._allow_events,))
        return package

    def _known(self, request: Message, package: EventPackage, aor: str) -> Publication | None:
        """Find the publication that SIP-If-Match names.

        Raises:
            Refusal: 412, it does not exist.
        """
        etag = etag_of(request)
        publications = self._held(package.name, aor)
        if etag:
            if len(etag) <= ETAG_BYTES_MAX:
                for publication in publications.values():
                    if publication.is_meant_by(etag, request):
                        return publication
            raise Refusal(412, f"Conditional Request Failed: {shown(etag)}")
        # A publisher that never got its first 200 says the same again, under another CSeq.
        return next((p for p in publications.values() if p.call_id == request.call_id), None)

    def _check(self, package: EventPackage, body: bytes, content_type: bytes) -> None:
        kind = content_type.partition(b";")[0].strip(b" \t").lower()
        if kind not in package.published_types:
            line = b"Accept: " + b", ".join(package.published_types)
            raise Refusal(415, f"Unsupported Media Type: {shown(content_type)}", (line,))
        if len(body) > self._settings.publication_bytes_max:
            most = self._settings.publication_bytes_max
            raise Refusal(413, f"Body Is Over {most} Bytes: {len(body)}")
        package.check(body, content_type)

    def _put(
        self,
        request: Message,
        resource: Resource,
        package: EventPackage,
        known: Publication | None,
        source: Flow,
        now: float,
    ) -> Publication:
        """Return the new state of a publication, which is not in force yet."""
        aor = str(resource.aor)
        if known is None and self._count >= self._settings.publications_max:
            raise Refusal(480, "Too Many Publications Here", (b"Retry-After: 300",))
        is_refresh = known is not None and not request.body
        return Publication(
            self._new_id() if known is None else known.id,
            package=package.name,
            aor=aor,
            account_id=resource.account_id,
            version=1 if known is None else known.version + 1,
            call_id=request.call_id,
            content_type=known.content_type
            if known and is_refresh
            else request.value(b"content-type") or b"",
            body=known.body if known and is_refresh else request.body,
            contact=self._contact_at(aor, source) or (known.contact if known else b""),
            published_utc=known.published_utc if known and is_refresh else self._wall(),
            expires=now,
        )

    def _commit(
        self, publication: Publication, known: Publication | None, granted_s: int, now: float
    ) -> Commit:
        publication.expires = now + granted_s
        self._set(publication)

        def start(done: Done) -> None:
            try:
                self._store.put_publication(publication, now, done)
            except BaseException:
                self._undo(publication, known)
                raise

        def reply(error: Exception | None) -> Reply:
            if error is not None:
                self._undo(publication, known)
                raise error
            if known is None or publication.body is not known.body:  # No mere refresh.
                self._tell(publication.package, publication.aor)
            return _ok(publication, granted_s)

        return Commit(start, reply)

    def _remove(self, known: Publication | None, now: float) -> Reply | Commit:
        if known is None:
            return Reply(200, headers=(b"Expires: 0",))

        def start(done: Done) -> None:
            self._store.drop_publication(known, done)

        def reply(error: Exception | None) -> Reply:
            if error is not None:
                raise error
            self._drop(known)
            self._tell(known.package, known.aor)
            return _ok(known, 0)

        return Commit(start, reply)

    # ---- the table -------------------------------------------------------------------------

    def restore(self, publication: Publication) -> None:
        """Take back one that was kept over a restart; ``tell_all`` follows."""
        if publication.package in self._packages:
            self._set(publication)

    def tell_all(self) -> None:
        """Give every package what was restored."""
        for package, aor in list(self._by_key):
            self._tell(package, aor)

    def forget(self, aor: str) -> None:
        """An account is gone, and all that it published."""
        for package in self._packages:
            for publication in self.of(package, aor):
                self._drop(publication)
                self._store.drop_publication(publication, lambda error: None)
            self._tell(package, aor)

    def fire(self, now: float) -> None:
        """End what has expired (§6: soft state)."""
        changed = set()
        for publication in self._deadlines.take(now, at_most=STEP):
            held = self._held(publication.package, publication.aor)
            if held.get(publication.id) is publication:
                self._drop(publication)
                self._store.drop_publication(publication, lambda error: None)
                changed.add((publication.package, publication.aor))
        for package, aor in changed:
            self._tell(package, aor)
        self._plan(now)

    def _held(self, package: bytes, aor: str) -> OrderedDict[int, Publication]:
        return self._by_key.get((package, aor)) or OrderedDict()

    def _set(self, publication: Publication) -> None:
        held = self._by_key.setdefault(
            (publication.package, publication.aor), OrderedDict[int, Publication]()
        )
        if publication.id not in held:
            self._count += 1
        held[publication.id] = publication
        held.move_to_end(publication.id)
        if len(held) > self._settings.publications_per_aor_max:
            oldest = next(iter(held.values()))
            self._drop(oldest)
            self._store.drop_publication(oldest, lambda error: None)
        self._deadlines.add(publication, publication.expires)
        self._plan(self._clock())

    def _drop(self, publication: Publication) -> None:
        key = publication.package, publication.aor
        held = self._by_key.get(key)
        if held is None or held.pop(publication.id, None) is None:
            return
        self._count -= 1
        if not held:
            del self._by_key[key]

    def _undo(self, publication: Publication, known: Publication | None) -> None:
        held = self._held(publication.package, publication.aor)
        if held.get(publication.id) is publication:
            self._drop(publication)
            if known is not None:
                self._set(known)

    def _tell(self, package: bytes, aor: str) -> None:
        self._packages[package].published(aor, self.of(package, aor), self._clock())

    def _plan(self, now: float) -> None:
        if self.due == NEVER and self._deadlines.next_due != NEVER:
            self.table.wake(self, LOOK_S, now)


def _ok(publication: Publication, granted_s: int) -> Reply:
    lines = (b"SIP-ETag: " + publication.etag, b"Expires: %d" % granted_s)
    return Reply(200, headers=lines)
