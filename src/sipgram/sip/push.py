"""What a phone says of its push service in a Contact URI, and what it hears back (RFC 8599 §4, §8)."""

from typing import Final, NamedTuple

from sipgram.errors import ParseError
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import shown, unescape
from sipgram.sip.message.uri import SipUri

NAMES: Final = (b"pn-provider", b"pn-prid", b"pn-param", b"pn-purr")
PUSH_BYTES_MAX: Final = 2_048
"""Longer ones are refused: they are kept with each binding."""


class Push(NamedTuple):
    """The push service of a device; values are unescaped, empty for what it did not say."""

    provider: bytes
    prid: bytes
    param: bytes = b""
    purr: bytes = b""

    @classmethod
    def of(cls, uri: SipUri) -> "Push | None":
        """Read a Contact URI; None when nothing of push is in it.

        Raises:
            ParseError: it is too long.
        """
        values = [uri.param(name) for name in NAMES]
        if values == [None] * len(NAMES):
            return None
        plain = [unescape(value or b"") for value in values]
        if sum(map(len, plain)) > PUSH_BYTES_MAX:
            raise ParseError(f"pn- parameters of Contact are over {PUSH_BYTES_MAX} octets")
        return cls(*plain)

    @classmethod
    def of_contact(cls, value: bytes) -> "Push | None":
        """Read a whole Contact value, as it was kept; None also for what cannot be read."""
        if b"pn-" not in value.lower():
            return None
        try:
            push = cls.of(SipUri.parse(Address.parse(value, of="Contact").uri))
        except ParseError:
            return None
        return push if push is not None and push.is_wanted else None

    @property
    def is_wanted(self) -> bool:
        """Whether the phone can be woken: §4.1.2, without ``pn-prid`` it wants no push any more."""
        return bool(self.provider and self.prid)

    def packed(self) -> bytes:
        """Return it as one value, to be kept."""
        return b"\0".join(self)

    @classmethod
    def unpacked(cls, value: bytes) -> "Push":
        """Read what ``packed`` returned."""
        parts = value.split(b"\0")
        if len(parts) != len(NAMES):
            raise ParseError(f"kept push parameters are malformed: {shown(value)}")
        return cls(*parts)


def without_push(uri: SipUri) -> bytes:
    """Return the URI for everybody else: §5.3.2, what wakes a phone is not for its callers."""
    kept = tuple(pair for pair in uri.params if unescape(pair[0]).lower() not in NAMES)
    return bytes(uri._replace(params=kept))
