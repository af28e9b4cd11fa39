"""The event package ``reg``: the contacts of an AoR (RFC 3680)."""

from collections.abc import Callable, Sequence
from hashlib import blake2s

from sipgram.errors import Refusal
from sipgram.payload.state import reginfo
from sipgram.services.event_package import Published, Watcher
from sipgram.services.registrar.location import AorEntry
from sipgram.sip.events.header import Content
from sipgram.sip.events.subscription import Phase, Subscription


class RegistrationEvent:
    """Tells an AoR's owner, and trusted peers, of its contacts; always all of them."""

    name = b"reg"
    types: tuple[bytes, ...] = (reginfo.TYPE,)
    published_types: tuple[bytes, ...] = ()

    def __init__(self, find: Callable[[bytes], AorEntry]) -> None:
        self._find = find

    def admit(self, aor: str, watcher: Watcher) -> Phase:
        """Let the owner and trusted peers in.

        Raises:
            Refusal: 403 for others: contacts tell where a person is (RFC 3680 §6).
        """
        if watcher.aor != aor and watcher.account_id is not None:
            raise Refusal(403, f"Not Your Contacts: {aor}")
        return Phase.ACTIVE

    def tail(self, subscription: Subscription, now: float) -> bytes:
        """Return the contacts that are live."""
        try:
            bindings = self._find(subscription.resource.encode()).bindings
        except Refusal:
            bindings = []
        contacts = [
            reginfo.Contact(
                id=blake2s(binding.key, digest_size=6).hexdigest(),
                uri=binding.uri.decode("utf-8", "replace"),
                event="registered",
                is_active=True,
                expires_s=max(0, round(binding.expires - now)),
                call_id=binding.call_id.decode("utf-8", "replace"),
                cseq=binding.cseq,
            )
            for binding in bindings
            if binding.expires > now
        ]
        body = reginfo.build(subscription.resource, "a1", contacts, version=subscription.version)
        return Content(reginfo.TYPE, body).tail

    def is_news(self, subscription: Subscription, now: float) -> bool:
        """Every change of a binding is told."""
        return True

    def check(self, body: bytes, content_type: bytes) -> None:
        """Nothing is published here."""

    def published(self, aor: str, publications: Sequence[Published], now: float) -> None:
        """Nothing is published here."""

    def watched(self, subscription: Subscription, now: float) -> None:
        """Nothing is remembered of a watcher."""
