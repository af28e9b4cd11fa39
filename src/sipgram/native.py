"""Which of the two native twins run: the scanner, the batching UDP socket (DESIGN.md §2).

The only place that reads SIPGRAM_PURE: with 1 the plain twins run even where the native ones
were built.
"""

import os
from importlib.util import find_spec

_SCAN = "sipgram.sip.message._scan"
_UDP = "sipgram.net._udp"


def scan_enabled() -> bool:
    """Say whether messages are read by the native scanner."""
    return _is_enabled(_SCAN)


def udp_enabled() -> bool:
    """Say whether datagrams are read and sent in batches."""
    return _is_enabled(_UDP)


def describe() -> str:
    """Return what ``sipgram --version`` prints: "native: scan udp", or "native: none"."""
    parts = [
        name for name, enabled in (("scan", scan_enabled()), ("udp", udp_enabled())) if enabled
    ]
    return "native: " + (" ".join(parts) or "none")


def _is_enabled(module: str) -> bool:
    return os.environ.get("SIPGRAM_PURE", "") != "1" and find_spec(module) is not None
