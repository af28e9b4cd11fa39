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

    def is_watched(self, package: bytes, aor: str) -> bool:
        """Say whether anybody subscribes to a resource."""

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
        self._views: dict[str, _View] = {}
        self._rules: dict[str, RuleSet] = {}
        self._turns: dict[str, float] = {}
        "When, in UTC seconds, the rules of an AoR say something else by their validity."
        self._spheres: dict[str, str] = {}
        "Of those whose rules ask for it."
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
        view = self._views.get(aor)
        if view is None:
            view = _View(aor)
            if self._subscribers.is_watched(self.name, aor):
                self._views[aor] = view  # Else a fetch, and nobody would let it go.
        if subscription.phase is Phase.PENDING or subscription.reason == b"rejected":
            return view.closed.tail
        shown = view.of_watcher.get(subscription.watcher)
        if shown is None:
            shown = view.show(subscription.watcher, self._decide(aor, subscription.watcher))
        return shown.tail or self._write(view, shown)

    def is_news(self, subscription: Subscription, now: float) -> bool:
        """Say whether the watcher's document is another than the one it knows."""
        return self.tail(subscription, now) != subscription.known

    def check(self, body: bytes, content_type: bytes) -> Document:
        """Read a published document.

        Raises:
            ParseError: it is no PIDF.
        """
        return Document.parse(body)

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """Take what is published for an AoR now."""
        if publications:
            self._published[aor] = publications
        else:
            self._published.pop(aor, None)
        if not self._subscribers.is_watched(self.name, aor):
            for publication in publications:
                publication.parsed = None  # It is read again when somebody wants to know.
        self.changed(aor, now)

    def watched(self, subscription: Subscription, now: float) -> None:
        """A watcher has come, gone, or been confirmed."""
        aor = subscription.resource
        if subscription.is_over and not self._subscribers.is_watched(self.name, aor):
            self._views.pop(aor, None)
        self._on_watched(subscription, now)

    # ---- news ------------------------------------------------------------------------------

    def changed(self, aor: str, now: float) -> None:
        """The bindings or publications of an AoR are others."""
        if not self._subscribers.is_watched(self.name, aor):
            return
        if self._rules.get(aor, _NOBODY).has_spheres:
            self._apply(aor, now)
            return
        view = self._views.get(aor)
        if view is not None:
            view.renew()
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
            self._plan_turn(aor)
        elif document.kind == HARD_STATE:
            self._hard.pop(aor, None)
            if document.body:
                try:
                    self._hard[aor] = Document.parse(document.body)
                except ParseError:
                    return
        if tells:
            self._apply(aor, now)

    def tick(self, now: float) -> None:
        """Apply rules whose validity has begun or ended (RFC 4745 §7.3)."""
        if not self._turns:
            return
        wall = self._wall()
        for aor in [aor for aor, due in self._turns.items() if due <= wall]:
            self._plan_turn(aor)
            self._apply(aor, now)

    def forget(self, aor: str) -> None:
        """The account is gone."""
        for table in (self._published, self._views, self._rules, self._hard):
            table.pop(aor, None)
        self._turns.pop(aor, None)
        self._spheres.pop(aor, None)

    def summary_of(self, aor: str) -> bytes:
        """Return the whole document of an AoR, as its owner sees it."""
        return self._compose(aor).written(Provided.ALL)

    def _plan_turn(self, aor: str) -> None:
        self._turns.pop(aor, None)
        due = self._rules.get(aor, _NOBODY).next_turn(self._wall())
        if due is not None:
            self._turns[aor] = due

    def _apply(self, aor: str, now: float) -> None:
        self._views.pop(aor, None)
        self._spheres.pop(aor, None)
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
        sphere = self._sphere_of(aor) if rules.has_spheres else ""
        return rules.decide(watcher, now_utc=self._wall(), sphere=sphere, default=default)

    def _sphere_of(self, aor: str) -> str:
        found = self._spheres.get(aor)
        if found is None:
            found = self._spheres[aor] = self._compose(aor).sphere
        return found

    def _write(self, view: "_View", shown: "_Shown") -> bytes:
        if view.composed is None:
            view.composed = self._compose(view.aor)
        shown.tail = Content(pidf.TYPE, view.composed.written(shown.provided)).tail
        return shown.tail

    def _compose(self, aor: str) -> composition.Composed:
        publications = self._published.get(aor, ())
        documents = [
            (len(publications) - number, _document(publication))
            for number, publication in enumerate(reversed(publications))
        ]
        reachable: list[str] = []
        publishers = {publication.contact for publication in publications}
        if b"" not in publishers:  # Else one of the contacts is somebody's, it is not known which.
            is_anyone = any(uri not in publishers for uri in self._contacts_of(aor))
            reachable = [aor] if is_anyone else []
        hard = self._hard.get(aor) if not reachable else None
        return composition.compose(aor, documents, reachable=reachable, hard=hard)


class _Shown:
    """What all watchers with the same rights see of one presentity."""

    __slots__ = ("provided", "tail")

    def __init__(self, provided: Provided, tail: bytes = b"") -> None:
        self.provided = provided
        self.tail = tail
        "Empty when it has to be written anew."


class _View:
    """One watched presentity: who sees what, which lives as long as its rules, and its state."""

    __slots__ = ("_all", "aor", "closed", "composed", "of_watcher")

    def __init__(self, aor: str) -> None:
        self.aor = aor
        self.closed = _Shown(Provided(), Content(pidf.TYPE, pidf.closed(aor)).tail)
        self.composed: composition.Composed | None = None
        self.of_watcher: dict[str, _Shown] = {}
        self._all: dict[Provided, _Shown] = {}

    def renew(self) -> None:
        """The state is another; the rules are the same."""
        self.composed = None
        for shown in self._all.values():
            shown.tail = b""

    def show(self, watcher: str, decision: Decision) -> _Shown:
        """Remember what a watcher may see."""
        if decision.handling < Handling.ALLOW:
            shown = self.closed
        else:
            shown = self._all.setdefault(decision.provided, _Shown(decision.provided))
        if len(self.of_watcher) < DECISIONS_MAX:
            self.of_watcher[watcher] = shown
        return shown


def _document(publication: Published) -> Document:
    """Return the document of a publication, which was read when it came or is read now."""
    if not isinstance(publication.parsed, Document):
        publication.parsed = Document.parse(publication.body)
    return publication.parsed


def _domain(aor: str) -> str:
    return aor.rpartition("@")[2]
