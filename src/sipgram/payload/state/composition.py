"""What several publishers say of one person made one document (RFC 4479, RFC 4480, RFC 5025)."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from sipgram.errors import ParseError
from sipgram.payload.state import tree
from sipgram.payload.state.pidf import CIPID, MODEL, PIDF, RPID
from sipgram.payload.state.presence_rules import Provided
from sipgram.payload.state.tree import Element

PREFIXES: Final = {None: PIDF, "dm": MODEL, "rpid": RPID, "c": CIPID}
"""On the root of what we write. Some phones look for the letters ``rpid:``."""

_PRESENCE: Final = f"{{{PIDF}}}presence"
_TUPLE: Final = f"{{{PIDF}}}tuple"
_STATUS: Final = f"{{{PIDF}}}status"
_BASIC: Final = f"{{{PIDF}}}basic"
_CONTACT: Final = f"{{{PIDF}}}contact"
_NOTE: Final = f"{{{PIDF}}}note"
_PERSON: Final = f"{{{MODEL}}}person"
_DEVICE: Final = f"{{{MODEL}}}device"
_DEVICE_ID: Final = f"{{{MODEL}}}deviceID"
_OWN: Final = frozenset((PIDF, MODEL))
TUPLES_MAX: Final = 64
"""Of one composed document; those of the oldest publications go."""


@dataclass(slots=True)
class Document:
    """One published PIDF document, read."""

    tuples: list[Element] = field(default_factory=list)
    persons: list[Element] = field(default_factory=list)
    devices: list[Element] = field(default_factory=list)
    notes: list[Element] = field(default_factory=list)
    others: list[Element] = field(default_factory=list)
    "What other namespaces have put beside them."

    @classmethod
    def parse(cls, body: bytes) -> "Document":
        """Read a document.

        A ``<basic>`` that is neither open nor closed, as baresip writes ``unknown`` at its start,
        is taken for closed: RFC 3863 knows no third, and watchers would stumble over it.

        Raises:
            ParseError: it is no PIDF.
        """
        root = tree.parse(body, _PRESENCE, of="PIDF document")
        found = cls()
        places = {
            _TUPLE: found.tuples,
            _PERSON: found.persons,
            _DEVICE: found.devices,
            _NOTE: found.notes,
        }
        for child in root:
            if isinstance(child.tag, str):
                places.get(child.tag, found.others).append(child)
        for element in found.tuples:
            basic = element.find(f"{_STATUS}/{_BASIC}")
            if basic is not None and _text(basic).lower() not in ("open", "closed"):
                basic.text = "closed"
            if not element.get("id"):
                raise ParseError("PIDF document has a tuple without id")
        return found


@dataclass(slots=True)
class Composed:
    """The state of one presentity, from which each watcher's document is written."""

    entity: str
    parts: Document

    @property
    def is_open(self) -> bool:
        """Whether anything says that it can be reached."""
        return any(is_open(element) for element in self.parts.tuples)

    def written(self, provided: Provided) -> bytes:
        """Return the document with what a watcher may see of it (RFC 5025 §3.3)."""
        parts = self.parts
        root = etree.Element(_PRESENCE, nsmap=PREFIXES)
        root.set("entity", self.entity)
        chosen: list[Element] = []
        if provided.services:
            chosen += parts.tuples
        if provided.persons:
            chosen += parts.persons
        if provided.devices:
            chosen += parts.devices
        if provided.notes:
            chosen += parts.notes
        if provided.is_everything:
            chosen += parts.others
        for element in chosen:
            copy = deepcopy(element)
            copy.tail = None
            if not provided.is_everything:
                _strip(copy, provided)
            root.append(copy)
        etree.cleanup_namespaces(root, top_nsmap=PREFIXES, keep_ns_prefixes=["dm", "rpid"])
        return tree.written(root)


def compose(
    entity: str,
    documents: Sequence[tuple[int, Document]],
    *,
    reachable: Iterable[str] = (),
    hard: Document | None = None,
) -> Composed:
    """Make one state of what each publisher says.

    ``documents`` come newest first, each with a number that names its publication; ``reachable``
    names the contacts of phones that are registered and publish nothing; ``hard`` is what holds
    when nobody says otherwise (RFC 4827).

    The precedence is: of tuples with one contact, or with one id and no other contact, the newest;
    of persons the newest; of devices with one deviceID the newest; all else is kept. Open tuples
    stand before closed ones, since many phones read the first alone.
    """
    if not documents and hard is not None:
        documents = [(0, hard)]
    parts = Document()
    ids: set[str] = set()
    contacts: set[str] = set()
    devices: set[str] = set()
    seen: set[bytes] = set()
    for number, document in documents:
        for element in document.tuples[: TUPLES_MAX - len(parts.tuples)]:
            contact = _text(element.find(_CONTACT))
            own_id = element.get("id") or ""
            if (contact and contact in contacts) or (own_id in ids and not contact):
                continue
            if own_id in ids:
                element = deepcopy(element)
                element.set("id", f"{own_id}.{number:x}")
            ids.add(element.get("id") or "")
            contacts.add(contact)
            parts.tuples.append(element)
        if document.persons and not parts.persons:
            parts.persons = document.persons
        for element in document.devices:
            device_id = _text(element.find(_DEVICE_ID)) or element.get("id") or ""
            if device_id not in devices:
                devices.add(device_id)
                parts.devices.append(element)
        for target, elements in ((parts.notes, document.notes), (parts.others, document.others)):
            for element in elements:
                text = etree.tostring(element, method="c14n")
                if text not in seen:
                    seen.add(text)
                    target.append(element)
    for contact in reachable:
        parts.tuples.append(_tuple(f"reg{len(parts.tuples)}", is_open=True, contact=contact))
    if not parts.tuples:
        parts.tuples.append(_tuple("none", is_open=False))
    parts.tuples.sort(key=lambda element: not is_open(element))
    return Composed(entity, parts)


def is_open(element: Element) -> bool:
    """Say whether a tuple's basic status is open."""
    return _text(element.find(f"{_STATUS}/{_BASIC}")).lower() == "open"


def _tuple(id: str, *, is_open: bool, contact: str = "") -> Element:
    element = etree.Element(_TUPLE, nsmap=PREFIXES)
    element.set("id", id)
    status = etree.SubElement(element, _STATUS)
    etree.SubElement(status, _BASIC).text = "open" if is_open else "closed"
    if contact:
        etree.SubElement(element, _CONTACT).text = contact
    return element


def _strip(element: Element, provided: Provided) -> None:
    """Take out of a tuple, person or device what a watcher may not see (RFC 5025 §3.3.2)."""
    for child in list(element):
        if not isinstance(child.tag, str):
            continue
        name = etree.QName(child)
        if name.namespace in _OWN:
            keeps = name.localname != "note" or provided.notes
        elif name.namespace == RPID:
            keeps = name.localname in provided.attributes
        else:
            keeps = f"{{{name.namespace}}}{name.localname}" in provided.attributes
        if not keeps:
            element.remove(child)


def _text(element: Element | None) -> str:
    return "" if element is None else (element.text or "").strip()
