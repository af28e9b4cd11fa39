"""The registrar's steps (RFC 3261 §10.3)."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from sipgram.errors import ParseError, Refusal, Unavailable
from sipgram.identity import Entropy
from sipgram.services.answers import Commitment, Done, Reply
from sipgram.services.registrar import gruu, outbound, rules
from sipgram.services.registrar.location import AorEntry, Binding, Locations
from sipgram.services.registrar.push import PushTerms, own_uri
from sipgram.services.registrar.rules import Wish
from sipgram.services.registrar.store import BindingStore, KeptBinding
from sipgram.services.registrar.streams import Connections, Streams
from sipgram.settings import RegistrarSettings
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri
from sipgram.sip.push import Push
from sipgram.sip.sink import Flow


class Changes(Commitment):
    """What one REGISTER does to the bindings of an AoR; the answer once it is on disk (D37)."""

    __slots__ = ("_registrar", "contacts", "ended", "entry", "now", "put", "request")

    def __init__(
        self,
        registrar: "Registrar",
        entry: AorEntry,
        contacts: Sequence[bytes],
        request: Message,
        now: float,
    ) -> None:
        """``contacts`` are the values of its Contact lines."""
        self._registrar = registrar
        self.entry = entry
        self.contacts = contacts
        self.request = request
        self.now = now
        self.put: list[Binding] = []
        self.ended: list[Binding] = []  # Removed or replaced, of those that were there before.

    def start(self, done: Done) -> None:
        self._registrar.write(self, done)

    def reply(self, error: Exception | None) -> Reply:
        return self._registrar.written(self, error)


class Routes(Connections, Protocol):
    """Who knows the flow that reaches a contact."""

    def flow_to(self, contact: SipUri, source: Flow) -> Flow:
        """Return the contact's own address when that is where the REGISTER came from (D27)."""


class Registrar:
    """Keeps the bindings of this domain's AoRs."""

    def __init__(
        self,
        locations: Locations,
        *,
        routes: Routes,
        settings: RegistrarSettings,
        entropy: Entropy,
        store: BindingStore,
        on_bound: tuple[Callable[[AorEntry, Binding], None], ...] = (),
        on_moved: tuple[Callable[[Binding, Binding], None], ...] = (),
        keep_alive: Callable[[Binding], None] = lambda binding: None,
        push: PushTerms | None = None,
        on_push: Callable[[Binding], None] = lambda binding: None,
    ) -> None:
        """``keep_alive`` gets each UDP binding behind NAT, once (D27), ``on_push`` each that can be woken.

        ``on_moved`` hears of a device that has registered by another flow: the binding that has
        ended, and the one in its place (D28).
        """
        self._locations = locations
        self._routes = routes
        self._settings = settings
        self._entropy = entropy
        self._store = store
        self._on_bound = on_bound
        self._on_moved = on_moved
        self._keep_alive = keep_alive
        self._push = push or PushTerms()
        self._on_push = on_push
        self._streams = Streams(locations, routes, forget=store.forget)
        self._service_routes = outbound.service_routes(settings.service_routes)

    def handle(
        self, request: Message, source: Flow, account_id: int | None, now: float
    ) -> Reply | Changes:
        """Answer a REGISTER; ``account_id`` is who proved to have sent it, None without digest."""
        entry = self._locations.find(request.to_uri)  # Steps 1 and 5.
        if entry.only or entry.members:
            raise Refusal(403, f"Nobody Registers As: {shown(request.to_uri)}")
        if account_id is not None and account_id != entry.account_id:  # Step 4.
            raise Refusal(403, f"Not Your AoR: {entry.aor}")
        contacts = request.values(b"contact")
        if entry.bindings:
            binding = self._unchanged(entry, contacts, request, source)
            if binding is not None:
                self._refresh(entry, binding, request, now)
                return Reply(200, "", self._answer(entry, contacts, request, now))
        changes = Changes(self, entry, contacts, request, now)
        if rules.asks_to_clear(contacts, request):
            self._clear(changes, source)  # Step 6.
        else:
            self._update(changes, source)  # Step 7.
        for binding in changes.ended:  # Now: what comes while this is being written must wait.
            binding.push = None  # Who left is not woken, nor who has registered anew (§4.1.2).
            self._locations.tell_gone(entry, binding)
        if changes.put or changes.ended:
            return changes
        return Reply(200, "", self._answer(entry, contacts, request, now))  # Step 8.

    def write(self, changes: Changes, done: Done) -> None:
        """Begin to write what a REGISTER changed."""
        put, drop = changes.put, changes.ended
        if drop:
            keys = {binding.key for binding in put}
            drop = [binding for binding in drop if binding.key not in keys]
        self._store.commit(put=put, drop=drop, now=changes.now, done=done)

    def written(self, changes: Changes, error: Exception | None) -> Reply:
        """Tell those who wait for a binding, or take the change back.

        §10.3 step 7: "If any one of them fails (for example, because the back-end database
        commit failed), the request MUST fail with a 500 (Server Error) response and all
        tentative binding updates MUST be removed."
        """
        entry = changes.entry
        if error is not None:
            self._undo(changes)
            raise error
        if changes.ended:
            self._tell_moved(changes)
        for binding in changes.put:
            binding.kept_until = binding.expires
            if binding.entry is not entry or not entry.has_inbox:
                continue  # Replaced, or its account is gone, in the meantime.
            for told in self._on_bound:
                told(entry, binding)
        return Reply(200, "", self._answer(entry, changes.contacts, changes.request, changes.now))

    def _tell_moved(self, changes: "Changes") -> None:
        for old in changes.ended:
            for new in changes.put:
                if new.key == old.key and new.flow is not old.flow and new.is_bound:
                    for told in self._on_moved:
                        told(old, new)

    def _unchanged(
        self, entry: AorEntry, contacts: Sequence[bytes], request: Message, source: Flow
    ) -> Binding | None:
        """Find the binding that this REGISTER merely refreshes: the usual case, made cheap."""
        if len(contacts) != 1:
            return None
        for binding in entry.bindings:
            if binding.value == contacts[0]:
                break
        else:
            return None
        path = b", ".join(request.values(b"path")) if request.has(b"path") else b""
        is_same = (
            request.call_id == binding.call_id
            and request.cseq > binding.cseq
            and source is binding.source
            and binding.kept_until > 0  # Not while its first commit runs.
            and path == binding.path
            and b"expires" not in binding.value.lower()
        )
        if not is_same:
            return None
        asked = request.value(b"expires")
        is_long = asked is None or (
            asked.isdigit() and len(asked) < 10 and int(asked) >= self._settings.expires_min_s
        )
        return binding if is_long else None

    def _refresh(self, entry: AorEntry, binding: Binding, request: Message, now: float) -> None:
        wished = rules.expires_of(request)
        binding.cseq = request.cseq
        if entry.has_inbox:
            for told in self._on_bound:
                told(entry, binding)
        self._prolong(binding, self._settings.expires_s if wished is None else wished, now)
        self._store.write_behind(binding, now)

    def _prolong(self, binding: Binding, wished_s: int, now: float) -> None:
        fraction = self._entropy.fraction()
        binding.expires = now + rules.grant(wished_s, self._settings, fraction=fraction)
        binding.updated = now
        binding.is_silent = False

    def _clear(self, changes: Changes, source: Flow) -> None:
        """Remove all bindings (§10.3 step 6)."""
        entry = changes.entry
        _check_order(entry.bindings, changes.request, source, changes.now)
        for old in list(entry.bindings):
            self._end(old, changes)

    def _update(self, changes: Changes, source: Flow) -> None:
        """Add, change and remove bindings: all of them or, on a fault, none (§10.3 step 7)."""
        entry, request, now = changes.entry, changes.request, changes.now
        path = outbound.path_of(request)
        wishes = rules.wishes(changes.contacts, request, self._settings)
        wishes = outbound.with_flows(request, wishes, path)
        self._push.check(wishes)
        via = outbound.hops_of(path)[0] if path else None
        if not entry.bindings and len(wishes) == 1 and wishes[0].expires_s:
            # A phone that comes, and no other is there: nothing to compare with or to take back.
            self._check_target(wishes[0])
            flow = self._routes.flow_to(via or wishes[0].parsed, source)
            self._bind(changes, wishes[0], flow, source, path)
            return
        self._locations.drop_expired(entry, now)
        pairs = [(wish, self._routes.flow_to(via or wish.parsed, source)) for wish in wishes]
        for wish, flow in pairs:
            self._check_target(wish)
            _check_order(_matching(entry, wish, flow), request, source, now)
        try:
            for wish, flow in pairs:
                for old in _matching(entry, wish, flow):
                    self._end(old, changes)
                if wish.expires_s:
                    self._make_room(changes)
                    self._bind(changes, wish, flow, source, path)
        except Unavailable:
            self._undo(changes)
            raise

    def _bind(self, changes: Changes, wish: Wish, flow: Flow, source: Flow, path: bytes) -> None:
        entry, request, now = changes.entry, changes.request, changes.now
        binding = _binding(entry, wish, flow, request.call_id, request.cseq, path, now)
        binding.source = source
        self._prolong(binding, wish.expires_s, now)
        self._locations.attach(entry, binding)
        changes.put.append(binding)
        if _is_behind_nat(wish, flow):
            self._keep_alive(binding)
        if flow.is_reliable:
            self._streams.watch(entry, flow)
        if binding.push is not None:
            self._on_push(binding)

    def _end(self, old: Binding, changes: Changes) -> None:
        self._locations.detach(changes.entry, old)
        if old in changes.put:  # A contact that stands twice in one REGISTER.
            changes.put.remove(old)
        else:
            changes.ended.append(old)

    def _undo(self, changes: Changes) -> None:
        """Put things back, but for what a later REGISTER has changed in the meantime."""
        entry = changes.entry
        for binding in changes.put:
            self._locations.detach(entry, binding)
        if not self._locations.holds(entry):
            return
        for old in changes.ended:
            if any(b.key == old.key or b.uri == old.uri for b in entry.bindings):
                continue
            old.push = Push.of_contact(old.value)
            with suppress(Unavailable):  # Others have filled the table.
                self._locations.attach(entry, old)

    def _check_target(self, wish: Wish) -> None:
        host = wish.parsed.host.decode("ascii")
        if self._locations.is_own_address(host, wish.parsed.port or 5060):
            raise Refusal(403, f"Contact Is This Server: {wish.parsed}")

    def _make_room(self, changes: Changes) -> None:
        """Let the longest unheard contacts go when there are too many (D5)."""
        entry = changes.entry
        over = len(entry.bindings) + 1 - self._settings.bindings_per_aor_max
        for binding in sorted(entry.bindings, key=lambda b: b.updated)[: max(0, over)]:
            self._end(binding, changes)

    def restore(self, kept: KeptBinding, flow: Flow, *, left_s: float, now: float) -> None:
        """Take back a binding that was kept over a restart and has ``left_s`` seconds to go.

        Raises:
            Error: the AoR or the contact is not one of ours any more.
        """
        entry = self._locations.find(kept.aor.encode())
        wish = rules.wish(kept.contact, None, self._settings)._replace(reg_id=kept.reg_id)
        binding = _binding(entry, wish, flow, kept.call_id, kept.cseq, kept.path, now)
        binding.expires = binding.kept_until = now + left_s
        self._locations.attach(entry, binding)
        if _is_behind_nat(wish, flow):
            self._keep_alive(binding)
        if binding.push is not None:
            self._on_push(binding)

    def _answer(
        self, entry: AorEntry, contacts: Sequence[bytes], request: Message, now: float
    ) -> tuple[bytes, ...]:
        """Return the lines of a 200: all bindings (step 8), and what a phone behind proxies asks."""
        lines = tuple(
            [
                b"Contact: <%b>%b;expires=%d"
                % (
                    # D25: how a phone is woken is told to itself alone.
                    b.uri if b.push is None or b.call_id != request.call_id else own_uri(b.value),
                    b.params,
                    max(1, round(b.expires - now)),
                )
                for b in entry.bindings
                if b.expires > now
            ]
        )
        if contacts and b"+sip.instance" in contacts[0] and outbound.supports(request, gruu.TAG):
            lines = tuple(
                line + self._gruus_of(b)
                for line, b in zip(
                    lines, [b for b in entry.bindings if b.expires > now], strict=True
                )
            )
        if request.has(b"path"):
            lines += tuple(b"Path: " + value for value in request.values(b"path"))
        lines += self._service_routes
        if contacts and b"reg-id" in contacts[0] and outbound.supports(request, b"outbound"):
            lines += (b"Require: outbound", b"Flow-Timer: %d" % self._settings.flow_timer_s)
        if contacts and b"pn-" in contacts[0]:
            lines += self._push.capabilities(contacts)
        return lines

    def _gruus_of(self, binding: Binding) -> bytes:
        """Return the Contact parameters that name a device (RFC 5627 §5.2)."""
        gruus, instance = self._locations.gruus, binding.instance
        if gruus is None or not instance:
            return b""
        call_id, cseq = binding.call_id, binding.cseq
        return b';pub-gruu="%b";temp-gruu="%b"' % (
            gruus.public(binding.aor, instance),
            gruus.temporary(binding.aor, instance, call_id, cseq),
        )


def _binding(
    entry: AorEntry, wish: Wish, flow: Flow, call_id: bytes, cseq: int, path: bytes, now: float
) -> Binding:
    return Binding(
        entry.text,
        wish.value,
        wish.uri,
        flow,
        now,
        call_id,
        cseq,
        now,
        wish.instance,
        wish.methods,
        wish.params,
        wish.q,
        wish.reg_id,
        path,
        wish.push if wish.push is not None and wish.push.is_wanted else None,
    )


def _is_behind_nat(wish: Wish, flow: Flow) -> bool:
    """Say whether a datagram finds the phone only as long as a NAT on the way remembers it."""
    return not flow.is_reliable and wish.parsed.host.strip(b"[]").lower() != flow.host


def _matching(entry: AorEntry, wish: Wish, flow: Flow) -> list[Binding]:
    """Return the bindings that a contact replaces: its device's (D5), or an equal URI's."""
    return [old for old in entry.bindings if _is_same(old, wish, flow)]


def _is_same(old: Binding, wish: Wish, flow: Flow) -> bool:
    if wish.instance and old.instance == wish.instance:
        # With reg-ids each is a flow of its own, whatever their URIs (RFC 5626 §6).
        return not (wish.reg_id and old.reg_id) or wish.reg_id == old.reg_id
    if wish.push is not None and wish.push == old.push and wish.push.is_wanted:
        return True  # One device: a push service gives no two of them the same name.
    if old.uri != wish.uri and not SipUri.parse(old.uri).is_equivalent(wish.parsed):
        return False
    if wish.instance and old.instance:
        # Two devices may have one URI behind two NATs; on one flow they are one device, which
        # made up another instance when it started.
        return (old.flow.host, old.flow.port) == (flow.host, flow.port)
    return True


def _check_order(olds: list[Binding], request: Message, source: Flow, now: float) -> None:
    """Refuse a REGISTER that came after a later one (§10.3 steps 6 and 7)."""
    for old in olds:
        if not _is_newer(old, request, source, now):
            raise ParseError(f"CSeq is not higher than before: {request.cseq}")


def _is_newer(old: Binding, request: Message, source: Flow, now: float) -> bool:
    """Say whether a REGISTER may change a binding (§10.3 step 7; D29 for rebooted phones)."""
    if request.call_id != old.call_id or request.cseq > old.cseq:
        return True
    return source is not old.source or now - old.updated > rules.REBOOT_AFTER_S
