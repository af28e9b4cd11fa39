"""The headers that the server acts on: names, compact forms, how often (RFC 3261 §20, §7.3.3)."""

from typing import Final, NamedTuple


class HeaderKind(NamedTuple):
    """What the scanner must know of a header."""

    name: bytes
    "As it is written on the wire."
    compact: bytes
    "The one-letter form, empty when there is none."
    is_single: bool
    "Whether a second line of it is an error."
    source: str
    "The standard that defines it."


KINDS: Final = (
    HeaderKind(b"Via", b"v", False, "RFC 3261 §20.42"),
    HeaderKind(b"Max-Forwards", b"", True, "RFC 3261 §20.22"),
    HeaderKind(b"From", b"f", True, "RFC 3261 §20.20"),
    HeaderKind(b"To", b"t", True, "RFC 3261 §20.39"),
    HeaderKind(b"Call-ID", b"i", True, "RFC 3261 §20.8"),
    HeaderKind(b"CSeq", b"", True, "RFC 3261 §20.16"),
    HeaderKind(b"Contact", b"m", False, "RFC 3261 §20.10"),
    HeaderKind(b"Expires", b"", True, "RFC 3261 §20.19"),
    HeaderKind(b"Content-Length", b"l", True, "RFC 3261 §20.14"),
    HeaderKind(b"Content-Type", b"c", True, "RFC 3261 §20.15"),
    HeaderKind(b"Content-Encoding", b"e", False, "RFC 3261 §20.12"),
    HeaderKind(b"Route", b"", False, "RFC 3261 §20.34"),
    HeaderKind(b"Record-Route", b"", False, "RFC 3261 §20.30"),
    HeaderKind(b"Require", b"", False, "RFC 3261 §20.32"),
    HeaderKind(b"Proxy-Require", b"", False, "RFC 3261 §20.29"),
    HeaderKind(b"Supported", b"k", False, "RFC 3261 §20.37"),
    HeaderKind(b"Accept", b"", False, "RFC 3261 §20.1"),
    HeaderKind(b"Allow", b"", False, "RFC 3261 §20.5"),
    HeaderKind(b"Subject", b"s", True, "RFC 3261 §20.36"),
    HeaderKind(b"Date", b"", True, "RFC 3261 §20.17"),
    HeaderKind(b"User-Agent", b"", True, "RFC 3261 §20.41"),
    HeaderKind(b"Authorization", b"", False, "RFC 3261 §20.7"),
    HeaderKind(b"Proxy-Authorization", b"", False, "RFC 3261 §20.28"),
    HeaderKind(b"WWW-Authenticate", b"", False, "RFC 3261 §20.44"),
    HeaderKind(b"Proxy-Authenticate", b"", False, "RFC 3261 §20.27"),
    HeaderKind(b"Timestamp", b"", True, "RFC 3261 §20.38"),
    HeaderKind(b"Retry-After", b"", True, "RFC 3261 §20.33"),
    HeaderKind(b"Path", b"", False, "RFC 3327 §4"),
    HeaderKind(b"Service-Route", b"", False, "RFC 3608 §5"),
    HeaderKind(b"P-Asserted-Identity", b"", False, "RFC 3325 §9.1"),
    HeaderKind(b"P-Preferred-Identity", b"", False, "RFC 3325 §9.2"),
    HeaderKind(b"Event", b"o", True, "RFC 6665 §8.2.1"),
    HeaderKind(b"Allow-Events", b"u", False, "RFC 6665 §8.2.2"),
    HeaderKind(b"Refer-To", b"r", True, "RFC 3515 §2.1"),
    HeaderKind(b"Accept-Contact", b"a", False, "RFC 3841 §9.2"),
    HeaderKind(b"Reject-Contact", b"j", False, "RFC 3841 §9.2"),
    HeaderKind(b"Request-Disposition", b"d", False, "RFC 3841 §9.1"),
)

SINGLE: Final = frozenset(kind.name.lower() for kind in KINDS if kind.is_single)
"""Lower-cased names of the headers that may stand once."""

NAMES: Final = {kind.name.lower(): kind.name.decode() for kind in KINDS}
"""Lower-cased full form to the usual spelling, for error texts."""

MANDATORY: Final = (b"via", b"from", b"to", b"call-id", b"cseq")
"""What every message must have (RFC 3261 §8.1.1); Max-Forwards is added when it is absent."""


def _spellings() -> dict[bytes, bytes]:
    table = {}
    for kind in KINDS:
        lower = kind.name.lower()
        for spelling in (kind.name, lower, kind.name.upper()):
            table[spelling] = lower
        if kind.compact:
            table[kind.compact] = table[kind.compact.upper()] = lower
    return table


SPELLINGS: Final = _spellings()
"""The usual spellings of each known name, to its lower-cased full form."""


def canonical(name: bytes) -> bytes:
    """Return the lower-cased full form of a header name however it was spelled."""
    known = SPELLINGS.get(name)
    if known is not None:
        return known
    lower = name.strip(b" \t").lower()
    return SPELLINGS.get(lower, lower)
