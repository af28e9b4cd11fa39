"""PIDF as one publisher writes it and one watcher reads it (RFC 3863, RFC 4479, RFC 4480)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sipgram.errors import ParseError, UsageError
from sipgram.payload import xml
from sipgram.payload.xml import Element, escape

TYPE: Final = b"application/pidf+xml"
PIDF: Final = "urn:ietf:params:xml:ns:pidf"
MODEL: Final = "urn:ietf:params:xml:ns:pidf:data-model"
RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"
CIPID: Final = "urn:ietf:params:xml:ns:pidf:cipid"
_ACTIVITY_RE: Final = re.compile("[a-z]+(-[a-z]+)*")


def build(
    entity: str,
    *,
    is_open: bool,
    note: str = "",
    activity: str = "",
    contact: str = "",
    tuple_id: str = "t1",
    timestamp: str = "",
) -> bytes:
    """Return a document of one publisher; ``activity`` is an element of RPID, such as ``away``.

    Raises:
        UsageError: ``activity`` is no name.
    """
    if activity and not _ACTIVITY_RE.fullmatch(activity):
        raise UsageError(f"activity is no name of RPID: {activity!r}")
    shown = f"<note>{escape(note)}</note>" if note else ""
    person = f"<rpid:activities><rpid:{activity}/></rpid:activities>" if activity else ""
    person += f"<dm:note>{escape(note)}</dm:note>" if note else ""
    return "".join(
        (
            xml.DECLARATION,
            f'<presence xmlns="{PIDF}" xmlns:dm="{MODEL}" xmlns:rpid="{RPID}"',
            f' entity="{escape(entity)}">',
            f'<tuple id="{escape(tuple_id)}">',
            f"<status><basic>{'open' if is_open else 'closed'}</basic></status>",
            f"<contact>{escape(contact)}</contact>" if contact else "",
            shown,
            f"<timestamp>{escape(timestamp)}</timestamp>" if timestamp else "",
            "</tuple>",
            f'<dm:person id="p1">{person}</dm:person>' if person else "",
            "</presence>\n",
        )
    ).encode()


def closed(entity: str) -> bytes:
    """Return a document that says offline and nothing else: for watchers who may not know more."""
    return build(entity, is_open=False, tuple_id="none")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person wants to know of a document."""

    is_open: bool
    note: str
    activity: str
    "Local name of the first RPID activity, empty for none."


def summary(body: bytes) -> Summary:
    """Read what matters to people.

    Raises:
        ParseError, TooLarge: it is no PIDF.
    """
    root = xml.parse(body)
    if root.name != f"{{{PIDF}}}presence":
        raise ParseError(f"PIDF document has another root: {root.name[:80]}")
    tuples = list(root.every(f"{{{PIDF}}}tuple"))
    statuses = [t.first(f"{{{PIDF}}}status") for t in tuples]
    is_open = any(
        status is not None and status.text_of(f"{{{PIDF}}}basic").lower() == "open"
        for status in statuses
    )
    persons = [e for e in root.children if e.name == f"{{{MODEL}}}person"]
    elements = [e for part in (*persons, *tuples) for e in _all(part)]
    activities = [e.children[0].local for e in elements if e.local == "activities" and e.children]
    notes = [e.text for e in (*elements, *root.every(f"{{{PIDF}}}note")) if e.local == "note"]
    return Summary(is_open, next((n for n in notes if n), ""), next(iter(activities), ""))


def _all(element: Element) -> Iterator[Element]:
    yield element
    for child in element.children:
        yield from _all(child)
