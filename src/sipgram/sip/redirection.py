"""A MESSAGE that a device sends elsewhere, followed inside served domains only (RFC 3261 §8.1.3.4)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sipgram.errors import ParseError
from sipgram.sip.message.address import parse_list
from sipgram.sip.message.message import Message
from sipgram.sip.sink import Flow

if TYPE_CHECKING:
    from sipgram.sip.proxy import Target

FOLLOWED: Final = (300, 301, 302)
CONTACTS_MAX: Final = 8
"""Of one answer; more are not followed."""

Follow = Callable[[Sequence[bytes], Flow, float], Sequence["Target"]]
"""Returns the contacts of those URIs that live here; told where the request came from."""


def nowhere(uris: Sequence[bytes], source: Flow, now: float) -> Sequence["Target"]:
    """Follow nothing."""
    return ()


def contacts_of(response: Message) -> list[bytes]:
    """Return the URIs of a 3xx, none when they cannot be read."""
    try:
        addresses = parse_list(response.values(b"contact"), of="Contact")
    except ParseError:
        return []
    return [address.uri for address in addresses[:CONTACTS_MAX]]


class Redirected:
    """Another's contact that stands in for the device which named it: what it takes, that has."""

    __slots__ = ("cannot_read", "flow", "instance", "is_silent", "name", "routes", "uri")

    def __init__(self, to: "Target", device: "Target") -> None:
        self.uri = to.uri
        self.name = to.name
        self.flow = to.flow
        self.routes = to.routes
        self.instance = device.instance
        self.is_silent = False
        self.cannot_read = to.cannot_read
