"""Who is registered where (RFC 3680, registration information)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from lxml import etree

from sipgram.payload.state import tree

TYPE: Final = b"application/reginfo+xml"
SPACE: Final = "urn:ietf:params:xml:ns:reginfo"


class Contact(NamedTuple):
    """One contact of an AoR (RFC 3680 §5.3)."""

    id: str
    uri: str
    event: str
    "registered, created, refreshed, shortened, expired, deactivated, unregistered, rejected."
    is_active: bool
    expires_s: int
    call_id: str
    cseq: int


def build(aor: str, id: str, contacts: Sequence[Contact], *, version: int) -> bytes:
    """Return a document with all contacts of one AoR."""
    root = etree.Element(f"{{{SPACE}}}reginfo", nsmap={None: SPACE})
    root.set("version", str(version))
    root.set("state", "full")
    registration = etree.SubElement(root, f"{{{SPACE}}}registration")
    registration.set("aor", aor)
    registration.set("id", id)
    is_active = any(contact.is_active for contact in contacts)
    registration.set("state", "active" if is_active else "terminated" if contacts else "init")
    for contact in contacts:
        element = etree.SubElement(registration, f"{{{SPACE}}}contact")
        element.set("id", contact.id)
        element.set("state", "active" if contact.is_active else "terminated")
        element.set("event", contact.event)
        if contact.is_active:
            element.set("expires", str(contact.expires_s))
        element.set("callid", contact.call_id)
        element.set("cseq", str(contact.cseq))
        etree.SubElement(element, f"{{{SPACE}}}uri").text = contact.uri
    return tree.written(root)
