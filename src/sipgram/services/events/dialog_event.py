"""The event package ``dialog``: what phones publish of their calls, passed through (RFC 4235)."""

from collections.abc import Callable, Sequence

from sipgram.payload.state import dialog_info
from sipgram.payload.state.tree import Element
from sipgram.services.event_package import Published, Watcher
from sipgram.sip.events.header import Content
from sipgram.sip.events.subscription import Phase, Subscription


class DialogEvent:
    """Shows the dialogs that an AoR's phones have published."""

    name = b"dialog"
    types: tuple[bytes, ...] = (dialog_info.TYPE,)
    published_types: tuple[bytes, ...] = (dialog_info.TYPE,)

    def __init__(
        self,
        admit: Callable[[str, Watcher], Phase],
        *,
        changed: Callable[[bytes, str, float], None],
    ) -> None:
        """``admit`` decides as presence does: who may see that I am busy may see why."""
        self._admit = admit
        self._changed = changed
        self._dialogs: dict[str, list[list[Element]]] = {}

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        return self._admit(aor, watcher)

    def tail(self, subscription: Subscription, now: float) -> bytes:
        is_shown = subscription.phase is Phase.ACTIVE
        documents = self._dialogs.get(subscription.resource, []) if is_shown else []
        body = dialog_info.compose(subscription.resource, documents, version=subscription.version)
        return Content(dialog_info.TYPE, body).tail

    def is_news(self, subscription: Subscription, now: float) -> bool:
        return True

    def check(self, body: bytes, content_type: bytes) -> None:
        dialog_info.parse(body)

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        if publications:
            newest_first = reversed(publications)
            self._dialogs[aor] = [dialog_info.parse(p.body) for p in newest_first]
        else:
            self._dialogs.pop(aor, None)
        self._changed(self.name, aor, now)

    def watched(self, subscription: Subscription, now: float) -> None:
        """Nothing is remembered of a watcher."""
