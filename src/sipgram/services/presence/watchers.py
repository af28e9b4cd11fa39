"""The event package ``presence.winfo``: who watches me (RFC 3857, RFC 3858)."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sipgram.errors import Refusal
from sipgram.payload.state import winfo
from sipgram.services.event_package import Published, Watcher
from sipgram.sip.events.header import Content
from sipgram.sip.events.subscription import Phase, Subscription

ENDED_MAX: Final = 10_000
"""Ended subscriptions whose reason is remembered until the owner has been told."""
_EVENTS: Final = {
    b"timeout": "timeout",
    b"rejected": "rejected",
    b"noresource": "noresource",
    b"deactivated": "deactivated",
}


class _Told(NamedTuple):
    """What one NOTIFY to one owner held."""

    tail: bytes
    revision: int
    watchers: dict[str, winfo.Watcher]
    before: dict[str, winfo.Watcher] | None
    "What the owner knew when it was made, None for nothing."


class WatcherInfo:
    """Tells owners of the subscriptions to their presence: all at first, then what changed."""

    name = b"presence.winfo"
    types: tuple[bytes, ...] = (winfo.TYPE,)
    published_types: tuple[bytes, ...] = ()

    def __init__(self, *, watchers_of: Callable[[str], Sequence[Subscription]]) -> None:
        self._watchers_of = watchers_of
        self._revisions: dict[str, int] = {}
        self._told: dict[bytes, _Told] = {}
        self._ended: OrderedDict[bytes, str] = OrderedDict()

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        """Let the owner in, and nobody else.

        Raises:
            Refusal: 403.
        """
        if watcher.aor != aor:
            raise Refusal(403, f"Not Your Watchers: {aor}")
        return Phase.ACTIVE

    def tail(self, subscription: Subscription, now: float) -> bytes:
        """Return all watchers, or those that changed since what the owner has confirmed."""
        tag = subscription.dialog.tag
        last = self._told.get(tag)
        watchers = self._watchers(subscription.resource)
        before = None
        if last is not None and self.is_news(subscription, now):
            is_confirmed = subscription.told is last.tail
            before = last.watchers if is_confirmed else None
        listed = list(watchers.values())
        if before is not None:
            gone = [w for id, w in before.items() if id not in watchers]
            listed = winfo.changes(before, watchers) + [self._gone(w) for w in gone]
        body = winfo.build(
            listed,
            version=subscription.version,
            is_full=before is None,
            resource=subscription.resource,
            package="presence",
        )
        tail = Content(winfo.TYPE, body).tail
        revision = self._revisions.get(subscription.resource, 0)
        if not subscription.is_over:
            self._told[tag] = _Told(tail, revision, watchers, before)
        return tail

    def is_news(self, subscription: Subscription, now: float) -> bool:
        """Say whether a watcher has come, gone or changed since the last NOTIFY."""
        last = self._told.get(subscription.dialog.tag)
        return last is None or last.revision != self._revisions.get(subscription.resource, 0)

    def check(self, body: bytes, content_type: bytes) -> None:
        """Nothing is published here."""

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """Nothing is published here."""

    def watched(self, subscription: Subscription, now: float) -> None:
        """An owner has come or gone."""
        if subscription.is_over:
            self._told.pop(subscription.dialog.tag, None)
            if not any(True for tag in self._told):
                self._revisions.clear()

    def note(self, subscription: Subscription) -> None:
        """A subscription to somebody's presence has come, gone or changed."""
        aor = subscription.resource
        if subscription.is_over:
            if subscription.dialog.tag in self._ended:
                return  # Known to have ended when it was told so.
            self._ended[subscription.dialog.tag] = _EVENTS.get(subscription.reason, "timeout")
            if len(self._ended) > ENDED_MAX:
                self._ended.popitem(last=False)
        if self._told:
            self._revisions[aor] = self._revisions.get(aor, 0) + 1

    def _watchers(self, aor: str) -> dict[str, winfo.Watcher]:
        found = {}
        for subscription in self._watchers_of(aor):
            if not subscription.is_over:
                id = subscription.dialog.tag.decode("ascii", "replace")
                is_active = subscription.phase is Phase.ACTIVE
                found[id] = winfo.Watcher(
                    id=id,
                    uri=subscription.watcher,
                    status="active" if is_active else "pending",
                    event="approved" if is_active else "subscribe",
                )
        return found

    def _gone(self, watcher: winfo.Watcher) -> winfo.Watcher:
        event = self._ended.get(watcher.id.encode(), "timeout")
        return watcher._replace(status="terminated", event=event)
