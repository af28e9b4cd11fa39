"""Next hops of dialogs, as forks take them (RFC 3261 §16.6)."""

from dataclasses import dataclass

from sipgram.errors import PeerError
from sipgram.net.resolver import TRANSPORTS
from sipgram.server.routing.next_hops import Destination
from sipgram.sip.message.address import Address
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri, is_sips
from sipgram.sip.record_route import Course
from sipgram.sip.sink import Flow


@dataclass(slots=True)
class Hop:
    """The next hop in a dialog."""

    uri: bytes
    flow: Flow
    name: bytes
    is_silent: bool = False
    instance: bytes = b""
    routes: bytes = b""
    cannot_read: frozenset[bytes] = frozenset()


def uri_of(contact: bytes) -> bytes:
    """Return the URI of a Contact, empty when it is malformed."""
    try:
        return Address.parse(contact, of="Contact").uri
    except PeerError:
        return b""  # The phones will say what they think of it.


def hop_or_none(course: Course, flow: Flow | None) -> Hop | None:
    """Return the hop that a flow makes; None without one."""
    return None if flow is None else hop(course, flow)


def host_of(uri: bytes) -> bytes:
    """Return where a URI leads, empty when it is malformed."""
    try:
        parsed = SipUri.parse(uri)
    except PeerError:
        return b""
    return parsed.param(b"maddr") or parsed.host


def destination(request: Message, course: Course) -> Destination:
    """Return what a course is to be looked up as."""
    transports = ("tls",) if is_sips(request.uri) else TRANSPORTS
    return Destination(SipUri.parse(course.next_hop), course.uri, transports)


def hop(course: Course, flow: Flow) -> Hop:
    """Return the hop of a course over a flow."""
    return Hop(course.uri, flow, course.next_hop + b" " + course.flow)
