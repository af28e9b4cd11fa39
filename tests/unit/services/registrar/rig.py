"""A registrar with a store that does as it is told, and phones that write to it."""

from collections.abc import Callable, Sequence

from sipgram.errors import Error
from sipgram.identity import Entropy
from sipgram.services.answers import Commitment, Done, Reply
from sipgram.services.registrar.gruu import Gruus
from sipgram.services.registrar.location import AorEntry, Binding, Locations
from sipgram.services.registrar.push import PushTerms
from sipgram.services.registrar.residents import OpenAccounts
from sipgram.services.registrar.service import Registrar
from sipgram.services.registrar.streams import Opened
from sipgram.settings import RegistrarSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import SipUri
from sipgram.sip.sink import Flow
from sipgram.testing.entropy import CountingEntropy
from sipgram.testing.messages import request
from sipgram.testing.recording import RecordingFlow

BOB = b"<sip:bob@example.com>"
HOME = b"<sip:bob@192.0.2.1:5060>"
INSTANCE = b';+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


class ToldStore:
    """Remembers what it was asked to write; the next commits end with ``error``.

    ``is_full`` says that they are not even begun.
    """

    def __init__(self) -> None:
        self.put: list[Binding] = []
        self.drop: list[Binding] = []
        self.behind: list[Binding] = []
        self.forgotten: list[Binding] = []
        self.error: Error | None = None
        self.is_full = False

    def commit(
        self, *, put: Sequence[Binding], drop: Sequence[Binding], now: float, done: Done
    ) -> None:
        if self.error is not None and self.is_full:
            raise self.error
        if self.error is None:
            self.put += put
            self.drop += drop
        done(self.error)

    def write_behind(self, binding: Binding, now: float) -> None:
        self.behind.append(binding)

    def forget(self, binding: Binding) -> None:
        self.forgotten.append(binding)

    @property
    def kept(self) -> set[bytes]:
        """The URIs that a restart would find, when nothing was dropped and put again."""
        return {b.uri for b in self.put} - {b.uri for b in self.drop}


class StraightRoutes:
    """Every contact is reached where its REGISTER came from, but for ``others``."""

    def __init__(self) -> None:
        self.others: dict[bytes, Flow] = {}
        self.closed: dict[Flow, Callable[[], None]] = {}
        self.recalled: dict[bytes, Flow] = {}
        "The flows that stand for connections to be opened, by contact."
        self.opened: Opened = lambda stream: None

    def flow_to(self, contact: SipUri, source: Flow) -> Flow:
        return self.others.get(bytes(contact), source)

    def watch(self, flow: Flow, closed: Callable[[], None]) -> None:
        assert flow not in self.closed  # Once for each connection.
        self.closed[flow] = closed

    def reopen(self, hop: SipUri, flow: Flow, opened: Opened) -> Flow | None:
        self.opened = opened
        return self.recalled.get(bytes(hop))


class Rig:
    """One registrar of example.com; ``flow`` is where the phone usually writes from."""

    def __init__(
        self,
        settings: RegistrarSettings | None = None,
        *,
        entropy: Entropy | None = None,
        bindings_max: int = 1_000,
        push: PushTerms | None = None,
    ) -> None:
        self.flow = RecordingFlow()
        self.store = ToldStore()
        self.routes = StraightRoutes()
        self.bound: list[bytes] = []
        self.watched: list[Binding] = []
        self.locations = Locations(
            ("example.com",),
            accounts=OpenAccounts(),
            bindings_max=bindings_max,
            own_addresses={("192.0.2.100", 5060)},
            gruus=Gruus(b"secret"),
        )
        self.registrar = Registrar(
            self.locations,
            routes=self.routes,
            settings=settings or RegistrarSettings(spread=False),
            entropy=entropy or CountingEntropy(),
            store=self.store,
            on_bound=(self._note,),
            push=push,
            on_push=self.watched.append,
        )

    def _note(self, entry: AorEntry, binding: Binding) -> None:
        self.bound.append(binding.uri)

    async def register(
        self,
        *contacts: bytes,
        expires: bytes | None = None,
        aor: bytes = BOB,
        call_id: bytes = b"call-1",
        cseq: int = 1,
        source: Flow | None = None,
        now: float = 0.0,
        account_id: int | None = None,
        headers: Sequence[bytes] = (),
    ) -> Reply:
        """Send a REGISTER; return what the phone hears, or raise what dispatch maps."""
        message = registering(
            *contacts, expires=expires, aor=aor, call_id=call_id, cseq=cseq, headers=headers
        )
        answer = self.registrar.handle(message, source or self.flow, account_id, now)
        return finish(answer) if isinstance(answer, Commitment) else answer

    def uris(self, aor: bytes = b"sip:bob@example.com") -> list[bytes]:
        """The contacts of an AoR, in the order of their coming."""
        return [binding.uri for binding in self.locations.find(aor).bindings]

    def binding(self, aor: bytes = b"sip:bob@example.com") -> Binding:
        """The only binding of an AoR."""
        (binding,) = self.locations.find(aor).bindings
        return binding


def finish(commit: Commitment) -> Reply:
    """Do what dispatch does with a commit; raise what it would turn into an answer."""
    heard: list[Exception | None] = []
    try:
        commit.start(heard.append)
    except Error as error:
        heard.append(error)
    (outcome,) = heard
    return commit.reply(outcome)


def registering(
    *contacts: bytes,
    expires: bytes | None = None,
    aor: bytes = BOB,
    call_id: bytes = b"call-1",
    cseq: int = 1,
    headers: Sequence[bytes] = (),
) -> Message:
    """Return a REGISTER, a Contact line for each of ``contacts``."""
    lines = [*headers, *(b"Contact: " + contact for contact in contacts)]
    if expires is not None:
        lines.append(b"Expires: " + expires)
    raw = request(
        b"REGISTER",
        b"sip:example.com",
        sender=aor + b";tag=1",
        to=aor,
        call_id=call_id,
        cseq=cseq,
        headers=lines,
    )
    message = parse(raw)
    assert not message.faults, message.faults
    return message


def contacts_of(reply: Reply) -> list[bytes]:
    """The Contact values of a 200."""
    assert reply.status == 200
    lines = [line for line in reply.headers if line.startswith(b"Contact: ")]
    return [line.removeprefix(b"Contact: ") for line in lines]
