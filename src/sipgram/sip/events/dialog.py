"""The dialog that a request from a peer creates, seen from our side (RFC 3261 §12.1.1, §12.2)."""

from typing import Final

from sipgram.errors import ParseError
from sipgram.sip.message.address import Address, parse_list
from sipgram.sip.message.message import Message

ROUTES_MAX: Final = 16
"""More Record-Route values than this are refused."""
HEADER_BYTES_MAX: Final = 2_048
"""A longer From, To, Contact or set of routes is refused: it would be kept for hours."""


class Dialog:
    """Who the peer is and how it is reached; ours is the UAS's side.

    ``local`` and ``remote`` are whole values for From and To of our own requests.
    """

    __slots__ = (
        "call_id",
        "local",
        "local_cseq",
        "remote",
        "remote_cseq",
        "remote_tag",
        "routes",
        "tag",
        "target",
    )

    def __init__(
        self,
        *,
        call_id: bytes,
        tag: bytes,
        remote_tag: bytes,
        local: bytes,
        remote: bytes,
        target: bytes,
        routes: bytes = b"",
        local_cseq: int = 0,
        remote_cseq: int = 0,
    ) -> None:
        self.call_id = call_id
        self.tag = tag
        "Ours; it names the dialog here."
        self.remote_tag = remote_tag
        self.local = local
        self.remote = remote
        self.target = target
        "URI of the peer's Contact."
        self.routes = routes
        "Values of Route joined by commas, empty without one."
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq

    @classmethod
    def of(cls, request: Message, tag: bytes) -> "Dialog":
        """Return the dialog that ``request`` creates once it is answered with To tag ``tag``.

        Raises:
            ParseError: it has no Contact, or one that is malformed; too many routes.
        """
        # §12.1.1: "The route set MUST be set to the list of URIs in the Record-Route header field
        # from the request, taken in order and preserving all URI parameters."
        values = request.values(b"record-route")
        routes = parse_list(values, of="Record-Route")
        if len(routes) > ROUTES_MAX:
            raise ParseError(f"more than {ROUTES_MAX} Record-Route values")
        to = request.value(b"to") or b""
        return cls(
            call_id=request.call_id,
            tag=tag,
            remote_tag=request.from_tag,
            local=_bounded(to, "To") + (b"" if request.to_tag else b";tag=" + tag),
            remote=_bounded(request.value(b"from") or b"", "From"),
            target=contact_of(request),
            routes=_bounded(b", ".join(values), "Record-Route"),
            remote_cseq=request.cseq,
        )

    def is_of(self, request: Message) -> bool:
        """Say whether a request of the peer belongs to this dialog (§12.2.2)."""
        return request.call_id == self.call_id and request.from_tag == self.remote_tag

    @property
    def next_hop(self) -> bytes:
        """The URI that our requests are sent to: the first route, else the remote target."""
        if not self.routes:
            return self.target
        return parse_list([self.routes], of="Route")[0].uri


def contact_of(request: Message) -> bytes:
    """Return the URI of the one Contact that a dialog needs (§12.1.1).

    Raises:
        ParseError: it is missing or malformed.
    """
    values = request.values(b"contact")
    if len(values) != 1:
        raise ParseError(f"Contact must stand once, not {len(values)} times")
    return _bounded(Address.parse(values[0], of="Contact").uri, "Contact")


def _bounded(value: bytes, name: str) -> bytes:
    if len(value) > HEADER_BYTES_MAX:
        raise ParseError(f"{name} is over {HEADER_BYTES_MAX} bytes: {len(value)}")
    return value
