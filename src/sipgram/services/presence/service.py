"""The event package ``presence`` (RFC 3856): composition, and what each watcher may see."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipgram.errors import ParseError
from sipgram.payload.state import composition, pidf
from sipgram.payload.state.composition import Document
from sipgram.payload.state.presence_rules import BLOCKING, Decision, Handling, Provided, RuleSet
from sipgram.services.event_package import Published, Watcher
from sipgram.services.presence.store import HARD_STATE, RULES, KeptDocument
from sipgram.settings import PresenceSettings
from sipgram.sip.events.header import Content
from sipgram.sip.events.subscription import Phase, Subscription

_HANDLINGS: Final = {
    "allow": Handling.ALLOW,
    "confirm": Handling.CONFIRM,
    "block": Handling.BLOCK,
}
_PHASES: Final = {
    Handling.BLOCK: Phase.TERMINATED,
    Handling.CONFIRM: Phase.PENDING,
    Handling.POLITE_BLOCK: Phase.ACTIVE,
    Handling.ALLOW: Phase.ACTIVE,
}
_NOBODY: Final = RuleSet()
DECISIONS_MAX: Final = 50_000
"""Watchers of one presentity whose decision is remembered."""


class Subscribers(Protocol):
    """What is asked of those who keep the subscriptions."""

    def of(self, package: bytes, aor: str) -> list[Subscription]:
        """Return the subscriptions to one resource."""

    def changed(self, package: bytes, aor: str, now: float) -> None:
        """Tell its watchers."""

    def set_phase(self, subscription: Subscription, phase: Phase, now: float) -> None:
        """Apply a changed rule to a running subscription."""


class Presence:
    """Composes the state of presentities and decides about watchers."""

    name = b"presence"
    types: tuple[bytes, ...] = (pidf.TYPE,)
    published_types: tuple[bytes, ...] = (pidf.TYPE,)

    def __init__(
        self,
        *,
        settings: PresenceSettings,
        contacts_of: Callable[[str], Sequence[bytes]],
        wall: Callable[[], float],
        on_watched: Callable[[Subscription, float], None] = lambda subscription, now: None,
    ) -> None:
        """``contacts_of`` returns the live contacts of an AoR; ``on_watched`` hears of a
        subscription that has begun, has changed, or is over.
        """
        self._settings = settings
        self._contacts_of = contacts_of
        self._wall = wall
        self._on_watched = on_watched
        self._published: dict[str, Sequence[Published]] = {}
        self._states: dict[str, _State] = {}
        self._rules: dict[str, RuleSet] = {}
        self._hard: dict[str, Document] = {}
        self._subscribers: Subscribers

    def attach(self, subscribers: Subscribers) -> None:
        """Take those whose watchers are to be told."""
        self._subscribers = subscribers

    # ---- the package ------------------------------------------------------------------------

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        """Decide about a watcher as the presentity's rules say."""
        return _PHASES[self._decide(aor, watcher.aor).handling]

    def tail(self, subscription: Subscription, now: float) -> bytes:
        """Return the document that this watcher may see, the same object while nothing changes."""
        aor = subscription.resource
        state = self._states.get(aor)
        if state is None:
            state = _State(self._compose(aor))
            if self._subscribers.of(self.name, aor):
                self._states[aor] = state  # Else a fetch, and nobody would let it go.
        is_hidden = subscription.phase is Phase.PENDING or subscription.reason == b"rejected"
        if is_hidden:
            return state.closed
        decision = state.decisions.get(subscription.watcher)
        if decision is None:
            decision = self._decide(aor, subscription.watcher)
            if len(state.decisions) < DECISIONS_MAX:
                state.decisions[subscription.watcher] = decision
        return state.closed if decision.handling < Handling.ALLOW else state.tail(decision.provided)

    def is_news(self, subscription: Subscription, now: float) -> bool:
        """Say whether the watcher's document is another than the one it knows."""
        return self.tail(subscription, now) != subscription.known

    def check(self, body: bytes, content_type: bytes) -> None:
        """Look at a published document.

        Raises:
            ParseError: it is no PIDF.
        """
        Document.parse(body)

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """Take what is published for an AoR now."""
        if publications:
            self._published[aor] = publications
        else:
            self._published.pop(aor, None)
        self.changed(aor, now)

    def watched(self, subscription: Subscription, now: float) -> None:
        """A watcher has come, gone, or been confirmed."""
        aor = subscription.resource
        if subscription.is_over and not self._subscribers.of(self.name, aor):
            self._states.pop(aor, None)
        self._on_watched(subscription, now)

    # ---- news ------------------------------------------------------------------------------

    def changed(self, aor: str, now: float) -> None:
        """The bindings or publications of an AoR are others."""
        if self._states.pop(aor, None) is not None or self._subscribers.of(self.name, aor):
            self._subscribers.changed(self.name, aor, now)

    def take_document(self, document: KeptDocument, now: float, *, tells: bool = True) -> None:
        """Take new rules or a new hard state; an empty body takes them away.

        A document that cannot be read leaves nothing allowed: nobody is shown what the person
        may have meant to hide.
        """
        aor = document.aor
        if document.kind == RULES:
            self._rules.pop(aor, None)
            if document.body:
                try:
                    self._rules[aor] = RuleSet.parse(document.body)
                except ParseError:
                    self._rules[aor] = BLOCKING
        elif document.kind == HARD_STATE:
            self._hard.pop(aor, None)
            if document.body:
                try:
                    self._hard[aor] = Document.parse(document.body)
                except ParseError:
                    return
        if tells:
            self._apply(aor, now)

    def forget(self, aor: str) -> None:
        """The account is gone."""
        for table in (self._published, self._states, self._rules, self._hard):
            table.pop(aor, None)

    def summary_of(self, aor: str) -> bytes:
        """Return the whole document of an AoR, as its owner sees it."""
        return self._compose(aor).written(Provided.ALL)

    def _apply(self, aor: str, now: float) -> None:
        self._states.pop(aor, None)
        for subscription in self._subscribers.of(self.name, aor):
            phase = _PHASES[self._decide(aor, subscription.watcher).handling]
            self._subscribers.set_phase(subscription, phase, now)
        self._subscribers.changed(self.name, aor, now)

    # ---- deciding and composing ------------------------------------------------------------

    def _decide(self, aor: str, watcher: str) -> Decision:
        if watcher == aor:
            return Decision(Handling.ALLOW, Provided.ALL)
        is_same = _domain(watcher) == _domain(aor)
        usual = self._settings.same_domain if is_same else self._settings.others
        default = Decision(_HANDLINGS[usual], Provided.ALL)
        rules = self._rules.get(aor, _NOBODY)
        return rules.decide(watcher, now_utc=self._wall(), default=default)

    def _compose(self, aor: str) -> composition.Composed:
        publications = self._published.get(aor, ())
        documents = [
            (len(publications) - number, Document.parse(publication.body))
            for number, publication in enumerate(reversed(publications))
        ]
        reachable: list[str] = []
        publishers = {publication.contact for publication in publications}
        if b"" not in publishers:  # Else one of the contacts is somebody's, it is not known which.
            is_anyone = any(uri not in publishers for uri in self._contacts_of(aor))
            reachable = [aor] if is_anyone else []
        hard = self._hard.get(aor) if not reachable else None
        return composition.compose(aor, documents, reachable=reachable, hard=hard)


class _State:
    """One presentity's composed state, and the documents made of it."""

    __slots__ = ("_closed", "_tails", "composed", "decisions")

    def __init__(self, composed: composition.Composed) -> None:
        self.composed = composed
        self.decisions: dict[str, Decision] = {}
        self._tails: dict[Provided, bytes] = {}
        self._closed = b""

    @property
    def closed(self) -> bytes:
        if not self._closed:
            self._closed = Content(pidf.TYPE, pidf.closed(self.composed.entity)).tail
        return self._closed

    def tail(self, provided: Provided) -> bytes:
        found = self._tails.get(provided)
        if found is None:
            found = Content(pidf.TYPE, self.composed.written(provided)).tail
            self._tails[provided] = found
        return found


def _domain(aor: str) -> str:
    return aor.rpartition("@")[2]
