"""The words of event notification that headers carry (RFC 6665 §8, RFC 6446, RFC 3903 §11)."""

from typing import Final, NamedTuple

from sipgram.errors import ParseError, Refusal
from sipgram.sip.message.grammar import is_token, parameters, shown, split_list
from sipgram.sip.message.message import Message

ACCEPT_MAX: Final = 32
"""More media types in Accept are not read."""
SECONDS_DIGITS_MAX: Final = 10
DELTA_SECONDS_MAX: Final = 2**32 - 1


class Event(NamedTuple):
    """The Event header: which package, and which of several subscriptions of one dialog."""

    package: bytes
    "Lower case, templates and all: ``presence.winfo``."
    id: bytes = b""
    min_interval_s: float = 0.0
    "The watcher wants no two notifications closer than this (RFC 6446 §4, max-rate)."

    @classmethod
    def of(cls, request: Message) -> "Event":
        """Read the header of a SUBSCRIBE, NOTIFY or PUBLISH.

        Raises:
            Refusal: 489 without one (§4.1.2.1: "Subscribers MUST include exactly one").
            ParseError: it is malformed.
        """
        value = request.value(b"event")
        if value is None:
            raise Refusal(489, "Bad Event: the Event header is missing")
        return cls.parse(value)

    @classmethod
    def parse(cls, value: bytes) -> "Event":
        """Read a value of the header.

        Raises:
            ParseError: it is malformed.
        """
        name, semicolon, rest = value.partition(b";")
        name = name.strip(b" \t").lower()
        if not is_token(name):
            raise ParseError(f"Event is malformed: {shown(value)}")
        if not semicolon:
            return cls(name)
        params = parameters(b";" + rest, of="Event")
        return cls(name, params.get(b"id") or b"", _interval(params.get(b"max-rate")))

    def __bytes__(self) -> bytes:
        return self.package + (b";id=" + self.id if self.id else b"")


class Content(NamedTuple):
    """The state of a resource as one watcher may see it."""

    type: bytes
    "Media type with its parameters; empty for a notification without a body."
    body: bytes

    @property
    def tail(self) -> bytes:
        """What a message ends with, from Content-Type on; to be made once for many watchers."""
        if not self.type:
            return b"Content-Length: 0\r\n\r\n"
        head = b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (self.type, len(self.body))
        return head + self.body


EMPTY: Final = Content(b"", b"")


def accepts(request: Message, default: bytes) -> tuple[bytes, ...]:
    """Return the media types that a watcher takes, in its order, without parameters.

    RFC 6665 §3.1.3: without Accept it is the package's default type.
    """
    values = request.values(b"accept")
    if not values:
        return (default,)
    types = [part for value in values for part in split_list(value)][:ACCEPT_MAX]
    return tuple(t.partition(b";")[0].strip(b" \t").lower() for t in types if t) or (default,)


def is_accepted(kind: bytes, accepted: tuple[bytes, ...]) -> bool:
    """Say whether a media type is among those that a watcher takes, ranges included."""
    main = kind.partition(b"/")[0]
    return any(one in (kind, b"*/*", main + b"/*") for one in accepted)


def expires_of(request: Message, default_s: int) -> int:
    """Return the seconds that a SUBSCRIBE or PUBLISH asks for.

    Raises:
        ParseError: Expires is no number.
    """
    value = request.value(b"expires")
    if value is None:
        return default_s
    if not value.isdigit() or len(value) > 2 * SECONDS_DIGITS_MAX:
        raise ParseError(f"Expires is not a number of seconds: {shown(value)}")
    return min(int(value), DELTA_SECONDS_MAX)


def granted(wished_s: int, *, least_s: int, most_s: int) -> int:
    """Return the seconds that are granted.

    Raises:
        Refusal: 423 when the wish, not being 0, is too short (RFC 6665 §4.2.1.1, RFC 3903 §6).
    """
    if 0 < wished_s < least_s:
        raise Refusal(423, f"Interval Too Brief: {wished_s}", (b"Min-Expires: %d" % least_s,))
    return min(wished_s, most_s)


def _interval(max_rate: bytes | None) -> float:
    """Return the least interval that ``max-rate``, notifications a second, asks for."""
    if max_rate is None:
        return 0.0
    try:
        rate = float(max_rate)
    except ValueError:
        rate = 0.0
    if not 0.0 < rate < 1e6:
        raise ParseError(f"max-rate of Event is not a rate: {shown(max_rate)}")
    return min(1.0 / rate, 3600.0)
