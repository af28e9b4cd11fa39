"""The location table: AoRs, their bindings, and the fast way from a Request-URI to both (RFC 3261 §10)."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

from sipgram.errors import PeerError, Refusal, Unavailable
from sipgram.services.registrar.gruu import PARAMETER, Gruus, gr_in, instance_of
from sipgram.services.registrar.residents import Accounts, NobodyWaits, Waiting
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.uri import Aor
from sipgram.sip.preferences import Features, features_of
from sipgram.sip.proxy import Target
from sipgram.sip.push import Push
from sipgram.sip.sink import Flow, is_websocket
from sipgram.sip.targets import one_flow_each

IDLE_AORS_MAX: Final = 65_536
"""AoRs without a binding that are remembered; beyond that the longest unused goes."""
URIS_PER_AOR_MAX: Final = 8
"""Spellings of one AoR that are remembered; others are parsed each time."""
NO_METHODS: Final[frozenset[bytes]] = frozenset()
NO_TYPES: Final = frozenset[bytes]()
URI_BYTES_MAX: Final = 256
"""A longer spelling is not remembered, nor is an AoR without a binding that came by one."""


class Binding:
    """One contact of an AoR, and the flow that reaches it; a ``Target`` of the proxy."""

    __slots__ = (
        "account_id",
        "aor",
        "call_id",
        "cannot_read",
        "cseq",
        "entry",
        "expires",
        "flow",
        "instance",
        "is_silent",
        "kept_until",
        "methods",
        "name",
        "params",
        "path",
        "push",
        "q",
        "refuses",
        "reg_id",
        "routes",
        "source",
        "updated",
        "uri",
        "value",
    )

    def __init__(
        self,
        aor: str,
        value: bytes,
        uri: bytes,
        flow: Flow,
        expires: float,
        call_id: bytes,
        cseq: int,
        updated: float,
        instance: bytes = b"",
        methods: frozenset[bytes] = NO_METHODS,
        params: bytes = b"",
        q: float = 1.0,
        reg_id: int = 0,
        path: bytes = b"",
        push: Push | None = None,
    ) -> None:
        """Keywords are for tests: with so many of them it takes twice as long."""
        self.account_id = 0  # Whose it is, told when it is attached.
        self.aor = aor
        self.value = value  # The Contact value as it came: an equal one is a plain refresh.
        self.uri = uri
        self.flow = flow
        self.source = flow  # Where its REGISTER came from; differs when D27 chose another way.
        self.name = b"%b %b %d" % (uri, flow.host, flow.port)
        self.path = path  # Values joined by commas (RFC 3327).
        self.routes = b""
        if path:
            self.name += b" " + path
            self.routes = b"Route: " + path + b"\r\n"
        self.expires = expires
        self.call_id = call_id
        self.cseq = cseq
        self.updated = updated
        self.instance = instance
        self.methods = methods  # Empty when the contact names none, which means any.
        self.params = params  # Header parameters to give back in the 200, without expires.
        self.q = q
        self.reg_id = reg_id  # 0 for a binding that is no Outbound flow (RFC 5626).
        self.push = push  # How to wake it, when it wants to be woken (RFC 8599).
        self.is_silent = False
        self.refuses = NO_METHODS  # Methods that it answered 405 or 501.
        self.cannot_read = NO_TYPES  # Media types that it answered 415 or 488 (D20, D21).
        self.entry: AorEntry | None = None  # None once it has ended.
        self.kept_until = 0.0  # What the database has for expires.

    @property
    def key(self) -> bytes:
        """What makes it one and the same: its device and flow, else its URI (D5)."""
        if self.reg_id:
            return b"%b;reg-id=%d" % (self.instance, self.reg_id)
        return self.instance or self.uri

    @property
    def is_bound(self) -> bool:
        """Whether it has not ended."""
        return self.entry is not None

    @property
    def is_page(self) -> bool:
        """Whether it is a browser page, or another that comes by WebSocket (D7)."""
        return is_websocket(self.source)

    @property
    def features(self) -> Features:
        """What the contact told of its abilities (RFC 3840); read only when a caller chooses by it."""
        return features_of(Address.parse(self.value, of="Contact").params)

    def takes(self, method: bytes) -> bool:
        """Say whether the contact knows the method, as far as it told (RFC 3840; D6)."""
        return method not in self.refuses and (not self.methods or method in self.methods)


class Listener(Target, Protocol):
    """Takes the messages of an account by commit: no contact that a REGISTER told of (D8)."""

    expires: float
    source: Flow
    reg_id: int
    updated: float
    q: float
    push: Push | None

    @property
    def features(self) -> Features:
        """What it tells of its abilities."""

    def takes(self, method: bytes) -> bool:
        """Say whether it knows the method."""


class AorEntry:
    """One AoR that lives here, with its bindings in the order of their coming."""

    __slots__ = ("account_id", "aor", "bindings", "has_inbox", "listener", "text", "uris")

    members: tuple[bytes, ...] = ()
    "AoRs of a group's members, none of an account's own AoR."
    only: bytes = b""
    "The +sip.instance of the one device that was asked for, empty for all of them."

    def __init__(self, aor: Aor, account_id: int) -> None:
        self.aor = aor
        self.text = str(aor)
        self.account_id = account_id
        self.bindings: list[Binding] = []
        self.uris: tuple[bytes, ...] = ()  # As they came, all of them in Locations._by_uri.
        self.has_inbox = False  # A device is away, or something waits for one.
        self.listener: Listener | None = None  # Takes messages besides its contacts (D8).


class OneDevice(AorEntry):
    """One device of an AoR, as a GRUU names it; made for one request."""

    __slots__ = ("_whole", "only")

    def __init__(self, whole: AorEntry, instance: bytes) -> None:
        self._whole = whole
        self.only = instance
        self.aor, self.text, self.account_id = whole.aor, whole.text, whole.account_id
        self.bindings = [b for b in whole.bindings if b.instance == instance]
        self.uris = ()
        self.listener = None  # Another device was asked for.

    @property
    def has_inbox(self) -> bool:
        return self._whole.has_inbox

    @has_inbox.setter
    def has_inbox(self, value: bool) -> None:
        self._whole.has_inbox = value


class Group(AorEntry):
    """One AoR of many accounts; made for one request (D4)."""

    __slots__ = ("members",)

    def __init__(self, aor: Aor, members: Sequence[AorEntry]) -> None:
        super().__init__(aor, 0)
        self.members = tuple(member.text.encode() for member in members)
        self.bindings = [binding for member in members for binding in member.bindings]
        self.has_inbox = True  # Nothing may take it for an AoR with one device that is there.


class Locations:
    """Finds AoRs by Request-URI; a plain dict hit for a URI that was seen before."""

    def __init__(
        self,
        domains: Iterable[str],
        *,
        accounts: Accounts,
        bindings_max: int,
        own_addresses: Collection[tuple[str, int]] = (),
        waiting: Waiting | None = None,
        gruus: Gruus | None = None,
    ) -> None:
        """``own_addresses`` are the listeners'; they may be filled in later.

        Without ``gruus`` a GRUU leads to all devices of its AoR.
        """
        self.gruus = gruus
        self.domains = tuple(domain.lower() for domain in domains)
        self._accounts = accounts
        self._bindings_max = bindings_max
        self._waiting: Waiting = waiting or NobodyWaits()
        self.listener_of: Callable[[str], Listener | None] = lambda aor: None
        "Who else takes the messages of an account; set before anybody is asked for."
        self._by_uri: dict[bytes, AorEntry] = {}
        self._by_aor: dict[Aor, AorEntry] = {}
        # Those of _by_aor without a binding, oldest first. Not a dict, where to look for the
        # first key takes the longer the more keys before it have gone.
        self._idle: OrderedDict[Aor, None] = OrderedDict()
        self._own_addresses = own_addresses
        self._on_stream: dict[Flow, list[Binding]] = {}
        self.on_change: Callable[[Binding], None] = _nobody_asks
        "Hears of each binding that comes or goes; set once, before the first."
        self.bindings_count = 0

    def find(self, uri: bytes) -> AorEntry:
        """Return the entry of the AoR that ``uri`` names.

        Raises:
            Refusal: 403 for a domain that is not ours, 404 for a user that we do not have.
            ParseError: 400 for a malformed URI, 416 for its scheme.
        """
        entry = self._by_uri.get(uri)
        return entry if entry is not None else self._look_up(uri)

    def is_ours(self, domain: str) -> bool:
        """Say whether a domain is served here; a listener's own address is (D4)."""
        return domain in self.domains or any(
            domain.strip("[]") == host for host, _ in self._own_addresses
        )

    def is_own_address(self, host: str, port: int) -> bool:
        """Say whether something sent there would come back to us."""
        return (host.strip("[]"), port) in self._own_addresses

    def canonical(self, aor: Aor) -> Aor:
        """Return the AoR under the domain's own name."""
        if aor.domain in self.domains or not aor.domain:
            return aor
        return Aor(aor.user, self.domains[0])

    def holds(self, entry: AorEntry) -> bool:
        """Say whether the entry is, or may become again, the one of its AoR."""
        return self._by_aor.get(entry.aor, entry) is entry

    def attach(self, entry: AorEntry, binding: Binding) -> None:
        """Add a binding.

        Raises:
            Unavailable: the table is full.
        """
        if self.bindings_count >= self._bindings_max:
            raise Unavailable(f"the location table is full: {self._bindings_max} bindings")
        if not entry.bindings:
            self._idle.pop(entry.aor, None)
            self._by_aor[entry.aor] = entry
        entry.bindings.append(binding)
        binding.entry = entry
        binding.account_id = entry.account_id
        self.bindings_count += 1
        self.on_change(binding)
        if binding.flow.is_reliable:
            self._on_stream.setdefault(binding.flow, []).append(binding)

    def detach(self, entry: AorEntry, binding: Binding) -> None:
        """Remove a binding; one that is gone already is no error."""
        if binding in entry.bindings:
            entry.bindings.remove(binding)
            binding.entry = None
            self.bindings_count -= 1
            self._leave_stream(binding)
            if not entry.bindings:
                self._keep_idle(entry)
            self.on_change(binding)

    def is_held(self, stream: Flow) -> bool:
        """Say whether a connection is the flow of a binding: it stays open then (D27)."""
        return stream in self._on_stream

    def lose(self, entry: AorEntry, binding: Binding) -> None:
        """Remove a binding whose device is away from now on."""
        self.detach(entry, binding)
        self.tell_gone(entry, binding)

    def tell_gone(self, entry: AorEntry, binding: Binding) -> None:
        """Say that a device is away, unless another binding of it is there."""
        instance = binding.instance
        if not any(other.instance == instance for other in entry.bindings):
            self._waiting.on_gone(entry, binding)

    def on_outcome(self, target: Target, method: bytes, status: int) -> None:
        """Learn from how a contact answered a relayed request (DELIVERY.md, the table)."""
        if not isinstance(target, Binding) or target.entry is None:
            return
        if status in (404, 410, 430):
            self.lose(target.entry, target)
        elif status in (405, 501):
            target.refuses |= {method}

    def fail_over(self, target: Target) -> Target | None:
        """Return another flow to the device of a target whose own is dead (RFC 5626 §5.3, D5).

        That target has ended then, so that none is tried twice.
        """
        if not isinstance(target, Binding) or not target.reg_id:
            return None
        try:
            entry = self.find(target.aor.encode())
        except Refusal:
            return None  # The account has gone.
        if target.entry is entry:
            self.lose(entry, target)
        others = [b for b in entry.bindings if b.reg_id and b.instance == target.instance]
        return max(others, key=lambda b: b.updated, default=None)

    def follow(self, uris: Sequence[bytes], source: Flow, now: float) -> list[Binding]:
        """Return who takes a MESSAGE at the AoRs of a 3xx that live here (DELIVERY.md, the table)."""
        found: list[Binding] = []
        for uri in uris:
            try:
                entry = self.find(uri)
            except (PeerError, Refusal):
                continue
            found += [b for b in entry.bindings if b.expires > now and b.takes(b"MESSAGE")]
        return one_flow_each([b for b in found if b.source is not source])

    def on_stream(self, target: Target) -> "Binding | None":
        """Return a binding of the same device that is on a connection (D26)."""
        if not isinstance(target, Binding) or target.entry is None or not target.instance:
            return None
        others = [b for b in target.entry.bindings if b.flow.is_reliable]
        others = [b for b in others if b.instance == target.instance]
        return max(others, key=lambda b: b.updated, default=None)

    def change_flow(self, binding: Binding, flow: Flow) -> None:
        """Reach a contact in another way than before (D28)."""
        self._leave_stream(binding)
        if binding.source is binding.flow:
            binding.source = flow
        binding.flow = flow
        if flow.is_reliable:
            self._on_stream.setdefault(flow, []).append(binding)

    def drop_expired(self, entry: AorEntry, now: float) -> None:
        """Remove the bindings whose time is over."""
        for binding in [b for b in entry.bindings if b.expires <= now]:
            self.lose(entry, binding)

    def sweep(self, now: float, *, at_most: int) -> None:
        """Look through some AoRs, those first that were not looked at for longest."""
        for aor in [aor for aor, _ in zip(self._by_aor, range(at_most), strict=False)]:
            entry = self._by_aor.pop(aor)
            self._by_aor[aor] = entry  # To the end of the line.
            self.drop_expired(entry, now)

    def forget_accounts(self) -> None:
        """Accounts have changed: drop what belongs to nobody, or to somebody else, now."""
        for aor, entry in list(self._by_aor.items()):
            if self._accounts.account_id_of(aor) != entry.account_id:
                for binding in list(entry.bindings):
                    self.detach(entry, binding)
                self._forget(entry)
        # A name may have gone from one account to another, whose entries both stay.
        self._by_uri.clear()
        for entry in self._by_aor.values():
            entry.uris = ()

    def _leave_stream(self, binding: Binding) -> None:
        others = self._on_stream.get(binding.flow)
        if others is not None and binding in others:
            others.remove(binding)
            if not others:
                del self._on_stream[binding.flow]

    def _device(self, gruus: Gruus, uri: bytes) -> AorEntry | None:
        """Return the device that a GRUU of ours names; None for another URI (RFC 5627 §5.5)."""
        found = gr_in(uri)
        if found is None or not self.is_ours(found[0].host.decode("ascii")):
            return None
        parsed, gr = found
        if gr:
            plain = parsed._replace(params=(), port=None, headers=None)
            return OneDevice(self.find(bytes(plain)), instance_of(gr))
        told = gruus.opened(parsed.user or b"")
        if told is not None:
            entry = self.find(told.aor)
            for binding in entry.bindings:
                if gruus.mark(binding.instance, binding.call_id) == told.mark:
                    return OneDevice(entry, binding.instance)
        raise Refusal(404, f"No Such Device: {shown(uri)}")

    def _look_up(self, uri: bytes) -> AorEntry:
        if self.gruus is not None and PARAMETER in uri.lower():
            device = self._device(self.gruus, uri)
            if device is not None:
                return device
        aor = Aor.parse(uri)
        if aor.domain not in self.domains and aor.domain:
            if not self.is_ours(aor.domain):
                raise Refusal(403, f"Domain Is Not Served Here: {shown(aor.domain.encode())}")
            aor = self.canonical(aor)
        entry = self._by_aor.get(aor)
        if entry is None:
            entry = self._entry_of_account(aor)
            if entry.members:
                return entry  # As it is at this moment.
            if not entry.bindings and entry.aor not in self._by_aor:
                if len(uri) > URI_BYTES_MAX:
                    return entry
                self._keep_idle(entry)
        if len(entry.uris) < URIS_PER_AOR_MAX and len(uri) <= URI_BYTES_MAX:
            entry.uris += (uri,)
            self._by_uri[uri] = entry
        return entry

    def _entry_of_account(self, aor: Aor) -> AorEntry:
        """Find the account by any of its names: all of them lead to its devices (D4)."""
        owner = self._accounts.owner(aor)
        if owner is None and aor.user.startswith("+"):
            aor = Aor(aor.user, "")  # ``user=phone``: the number belongs to no domain.
            owner = self._accounts.owner(aor)
        if owner is None:
            members = self._accounts.members_of(aor)
            if members:
                return Group(aor, [self.find(str(member).encode()) for member in members])
            raise Refusal(404, f"Not Found: {shown(str(aor).encode())}")
        account_id, leading = owner
        if leading is not aor:
            known = self._by_aor.get(leading)
            if known is not None:
                return known
        entry = AorEntry(leading, account_id)
        entry.has_inbox = self._waiting.has_inbox(entry.text)
        entry.listener = self.listener_of(entry.text)
        return entry

    def _keep_idle(self, entry: AorEntry) -> None:
        if len(self._idle) >= IDLE_AORS_MAX:
            self._forget(self._by_aor[next(iter(self._idle))])
        self._by_aor[entry.aor] = entry
        self._idle[entry.aor] = None

    def _forget(self, entry: AorEntry) -> None:
        for uri in entry.uris:
            self._by_uri.pop(uri, None)
        entry.uris = ()
        self._by_aor.pop(entry.aor, None)
        self._idle.pop(entry.aor, None)


def _nobody_asks(binding: Binding) -> None:
    return None
