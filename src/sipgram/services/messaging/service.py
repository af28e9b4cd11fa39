"""The way of a MESSAGE from its sender to the devices of its recipient (RFC 3428, DELIVERY.md)."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sipgram.errors import Refusal
from sipgram.services.answers import Forward
from sipgram.settings import MessagingSettings
from sipgram.sip.message.message import Message
from sipgram.sip.proxy import Target
from sipgram.sip.sink import Flow

DATAGRAM_BYTES_MAX: Final = 64_500
"""A larger request cannot go over UDP: with what a proxy adds it passes 65,507 octets."""


class Device(Target, Protocol):
    """A contact that may take a MESSAGE."""

    expires: float
    "Monotonic seconds."
    source: Flow
    "Where its own requests come from."

    def takes(self, method: bytes) -> bool:
        """Say whether the contact knows the method."""


class Recipient(Protocol):
    """An AoR that lives here."""

    @property
    def bindings(self) -> Sequence[Device]:
        """Its contacts."""


class Messaging:
    """Relays; ``find`` raises Refusal for whom we do not have."""

    def __init__(self, find: Callable[[bytes], Recipient], *, settings: MessagingSettings) -> None:
        self._find = find
        self._settings = settings

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Forward:
        """Choose the devices for a request to an AoR.

        Raises:
            Refusal: 404 and 403 for whom we do not have, 480 when every device is away,
                513 for a body that is too large.
        """
        size = request.content_length
        if size < 0:  # As a datagram may leave it out.
            size = len(request.body)
        if size > self._settings.body_bytes_max:
            limit = self._settings.body_bytes_max
            raise Refusal(513, f"Body Is Over {limit} Bytes: {size}")
        if len(request.raw) > DATAGRAM_BYTES_MAX:
            return self._large(request, now)
        bindings = self._find(request.uri).bindings
        if len(bindings) == 1:
            device = bindings[0]
            if device.expires > now and device.takes(request.method):
                return Forward(bindings)
        targets = [b for b in bindings if b.expires > now and b.takes(request.method)]
        # D6: not back to where it came from, unless that is the only device there is.
        others = [b for b in targets if b.source is not source]
        if not targets:
            raise Refusal(480, "Temporarily Unavailable", (b"Retry-After: 30",))
        return Forward(others or targets)

    def _large(self, request: Message, now: float) -> Forward:
        """Choose among the devices on streams: no datagram holds this one (D26)."""
        live = [b for b in self._find(request.uri).bindings if b.expires > now]
        targets = [b for b in live if b.flow.is_reliable and b.takes(request.method)]
        if live and not targets:
            raise Refusal(513, f"Message Is Over {DATAGRAM_BYTES_MAX} Bytes: {len(request.raw)}")
        if not targets:
            raise Refusal(480, "Temporarily Unavailable", (b"Retry-After: 30",))
        return Forward(targets)
