"""Record-Route that we sign, and the Route values that come back (RFC 3261 §16.4-16.6, RFC 5658; D2).

A value of ours is ``<sip:TOKEN@host:port;lr>``. The token proves that the dialog began through
us, says which host comes next on its side, and may name the flow that reaches it (RFC 5626 §5.3).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from hmac import compare_digest
from typing import Final

from sipgram.errors import ParseError, UsageError
from sipgram.sip.message.address import Address, parse_list
from sipgram.sip.message.grammar import shown, split_list
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.uri import SipUri

MAC_LENGTH: Final = 20
NEXT_LENGTH: Final = 8
NOBODY: Final = b"0" * NEXT_LENGTH
"""Who comes next in the direction of the request is known only from its response."""
ROUTES_MAX: Final = 32
"""More Route values than this are refused."""
_FLOW_RE: Final = re.compile(rb"[A-Za-z0-9\-_.]*")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of us, as peers there reach it."""

    address: bytes
    "Host, port and parameters of the URI: ``192.0.2.1:5060;transport=tcp``."
    flow: bytes = b""
    """Names the flow to the phone on this side, of letters, digits and ``-_.``; empty when its
    Contact can be reached."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a request goes by its Request-URI and Route, our own values taken out (§16.4)."""

    uri: bytes
    "The Request-URI to send."
    next_hop: bytes
    "The URI that the request is sent to, unless ``flow`` names the way."
    cuts: tuple[Cut, ...]
    flow: bytes
    "As the last of our own values named it; empty when none did."
    is_ours: bool
    "Whether a value of ours was there."
    is_signed: bool
    "Whether each value of ours held our token for this dialog (D2)."
    leads_on: bool
    "Whether a Route value of somebody else is left."
    is_expected: bool
    """Whether the next hop is the one that the last of our values was made for: the Contact of
    the other side when the dialog began, or the proxy before it."""


class RecordRoutes:
    """Makes the values and reads them again; any node with the secret reads them."""

    def __init__(self, secret: bytes, *, is_ours: Callable[[SipUri], bool]) -> None:
        """``is_ours`` says whether a URI names one of our listeners or domains."""
        self._keyed = blake2s(key=secret[:32], digest_size=MAC_LENGTH // 2, person=b"route")
        self._is_ours = is_ours

    def lines(self, request: Message, *, source: Side, target: Side) -> bytes:
        """Return the Record-Route lines for a request that comes in at one side and leaves at one.

        Two values when the sides differ, so that each peer finds the one that it can reach
        (RFC 5658 §5), else one. They go above all Record-Route values that are there.

        Raises:
            UsageError: a flow's name holds what a URI's user part cannot.
        """
        upstream = self._next_name(request, request.values(b"record-route"))
        scheme = b"sips" if request.uri[:5].lower() == b"sips:" else b"sip"  # §16.6 step 4.
        sides = (
            ((source, upstream),) if source == target else ((target, NOBODY), (source, upstream))
        )
        return b"".join(
            b"Record-Route: <%b:%b@%b;lr>\r\n"
            % (scheme, self._token(request, side.flow, following), side.address)
            for side, following in sides
        )

    def returned(self, response: Message, data: bytes) -> bytes:
        """Return a response to a request that we recorded, bound to who comes next (§16.7 step 8).

        "The proxy MAY choose to rewrite the value before forwarding the response": the token that
        the caller gets leads to the callee, and that which the callee got to the caller.
        """
        values = [p for value in response.values(b"record-route") for p in split_list(value)]
        for n, value in enumerate(values[:ROUTES_MAX]):
            try:
                user = SipUri.parse(Address.parse(value, of="Record-Route").uri).user or b""
            except ParseError:
                return data
            flow = user[MAC_LENGTH + NEXT_LENGTH :]
            following = user[MAC_LENGTH : MAC_LENGTH + NEXT_LENGTH]
            if not compare_digest(user, self._token(response, flow, following, is_read=True)):
                continue
            following = self._next_name(response, values[n - 1 : n])
            if following == NOBODY:
                return data
            token = self._token(response, flow, following)
            return data.replace(user + b"@", token + b"@", 1)
        return data

    def course(self, request: Message) -> Course:
        """Read the Request-URI and the Route header of a request (§16.4, §16.6 step 6).

        Raises:
            ParseError: status 400, a Route value is malformed or there are too many.
        """
        texts = [part for value in request.values(b"route") for part in split_list(value)]
        if len(texts) > ROUTES_MAX:
            raise ParseError(f"more than {ROUTES_MAX} Route values")
        routes = parse_list(texts, of="Route")
        own: list[_Value] = []
        uri = request.uri
        repaired = self._read(uri, request)
        if routes and repaired.is_ours and repaired.is_signed:
            # §16.4: a strict router has put our Record-Route value into the Request-URI; the
            # last Route value is what it was before.
            own.append(repaired)
            uri = routes.pop().uri
            texts.pop()
        while routes and (read := self._read(routes[0].uri, request)).is_ours:
            own.append(read)
            del routes[0], texts[0]
        next_hop = routes[0].uri if routes else uri
        if routes and not _is_loose(routes[0]):
            # §16.6 step 6: for a strict router the Request-URI goes to the end of Route.
            texts = [*texts[1:], b"<" + uri + b">"]
            uri = next_hop
        return Course(
            uri=uri,
            next_hop=next_hop,
            cuts=_rewritten(request, texts) if own or uri != request.uri else (),
            flow=own[-1].flow if own else b"",
            is_ours=bool(own),
            is_signed=bool(own) and all(value.is_signed for value in own),
            leads_on=bool(routes),
            is_expected=bool(own) and own[-1].following == self._name_of(next_hop),
        )

    def _read(self, text: bytes, request: Message) -> "_Value":
        try:
            uri = SipUri.parse(text)
        except ParseError:
            return _FOREIGN  # tel: in a Request-URI, or another's odd Route.
        user = uri.user or b""
        following = user[MAC_LENGTH : MAC_LENGTH + NEXT_LENGTH]
        flow = user[MAC_LENGTH + NEXT_LENGTH :]
        for tag in (request.from_tag, request.to_tag):
            # Either end may ask: the token holds the tag of the one who began.
            mac = self._mac(request.call_id, tag, following + flow)
            if tag and compare_digest(user, mac + following + flow):
                return _Value(flow, following, is_ours=True, is_signed=True)
        return _Value(b"", b"", is_ours=self._is_ours(uri), is_signed=False)

    def _token(
        self, message: Message, flow: bytes, following: bytes, *, is_read: bool = False
    ) -> bytes:
        if not is_read and not _FLOW_RE.fullmatch(flow):
            raise UsageError(f"flow's name needs escapes in a URI: {shown(flow)}")
        return self._mac(message.call_id, message.from_tag, following + flow) + following + flow

    def _next_name(self, message: Message, before: Sequence[bytes]) -> bytes:
        """Return the short name of who comes next: the topmost of these values, else Contact."""
        texts = [part for value in before for part in split_list(value)]
        text = texts[0] if texts else message.value(b"contact")
        if not text or text == b"*":
            return NOBODY
        try:
            return self._name_of(Address.parse(text, of="Contact").uri)
        except ParseError:
            return NOBODY

    def _name_of(self, uri: bytes) -> bytes:
        """Name the host that a URI leads to, in few letters."""
        try:
            parsed = SipUri.parse(uri)
        except ParseError:
            return b"-"
        host = parsed.param(b"maddr") or parsed.host
        keyed = self._keyed.copy()
        keyed.update(b"next\n" + host.lower())
        return keyed.hexdigest()[:NEXT_LENGTH].encode()

    def _mac(self, call_id: bytes, tag: bytes, flow: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(b"%b\n%b\n%b" % (call_id, tag, flow))
        return keyed.hexdigest().encode()


@dataclass(frozen=True, slots=True)
class _Value:
    flow: bytes
    following: bytes
    is_ours: bool
    is_signed: bool


_FOREIGN: Final = _Value(b"", b"", is_ours=False, is_signed=False)


def _is_loose(route: Address) -> bool:
    try:
        return SipUri.parse(route.uri).param(b"lr") is not None
    except ParseError:
        return True  # Left to whoever sends it.


def _rewritten(request: Message, routes: list[bytes]) -> tuple[Cut, ...]:
    """Return the cuts that leave these Route values, on one line in the place of the first."""
    spans = request.spans(b"route")
    line = b"Route: " + b", ".join(routes) + b"\r\n" if routes else b""
    return tuple((*span, b"" if n else line) for n, span in enumerate(spans))
