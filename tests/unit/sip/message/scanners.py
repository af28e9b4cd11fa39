"""Both scanners, and two messages to show them: one as most are, one as few are."""

import importlib
from typing import cast

from sipgram.sip.message import scan as plain_scan
from sipgram.sip.message.parser import Parse
from sipgram.sip.message.usual import scan_usual
from sipgram.testing.messages import wire


def implementations() -> dict[str, Parse]:
    """Return the plain scanner, and the native one when it was compiled."""
    found: dict[str, Parse] = {"plain": plain_scan.scan, "usual": scan_usual}
    try:
        native = importlib.import_module("sipgram.sip.message._scan")
    except ImportError:
        return found
    # A module that is imported by its name has no types that mypy could read.
    found["native"] = cast("Parse", native.scan)
    return found


MESSAGE = wire("""
    MESSAGE sip:bob@example.com SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK-1;rport
    Max-Forwards: 70
    From: "Alice" <sip:alice@example.com>;tag=a1
    To: <sip:bob@example.com>
    Call-ID: 1@192.0.2.9
    CSeq: 7 MESSAGE
    Content-Type: text/plain
    Content-Length: 5

    Hello""")

UNUSUAL = wire("""
    MESSAGE sip:bob@example.com SIP/2.0
    v :
      SIP / 2.0 / UDP  Host5.Example.com : 5070 ; branch = z9hG4bK-2 , SIP/2.0/TCP old;branch=z9hG4bK-0
    MAX-FORWARDS: 0068
    f: alice <sip:alice@example.com>
     ; tag = a1
    t: sip:bob@example.com;tag=b1
    i: 1@192.0.2.9
    cseq: 0007
      MESSAGE
    Contact: <sip:a@x>
    X-Else: first
    m: <sip:b@x>,
     <sip:c@x>
    x-else:
    l: 0

    """)
