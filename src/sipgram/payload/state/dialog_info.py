"""The dialogs of a phone, as its publishers tell of them (RFC 4235)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Final

from lxml import etree

from sipgram.payload.state import tree
from sipgram.payload.state.tree import Element

TYPE: Final = b"application/dialog-info+xml"
SPACE: Final = "urn:ietf:params:xml:ns:dialog-info"
_ROOT: Final = f"{{{SPACE}}}dialog-info"
_DIALOG: Final = f"{{{SPACE}}}dialog"
DIALOGS_MAX: Final = 100
"""Of one composed document."""


def parse(body: bytes) -> list[Element]:
    """Return the dialogs of a document.

    Raises:
        ParseError: it is no dialog information.
    """
    root = tree.parse(body, _ROOT, of="dialog information")
    return root.findall(_DIALOG)


def compose(entity: str, documents: Sequence[list[Element]], *, version: int) -> bytes:
    """Return one document with the dialogs of all publishers."""
    root = etree.Element(_ROOT, nsmap={None: SPACE})
    root.set("version", str(version))
    root.set("state", "full")
    root.set("entity", entity)
    for number, dialogs in enumerate(documents):
        for dialog in dialogs[: max(0, DIALOGS_MAX - len(root))]:
            copy = deepcopy(dialog)
            copy.tail = None
            if number:  # Ids are the publisher's own.
                copy.set("id", f"{copy.get('id') or 'd'}.{number}")
            root.append(copy)
    return tree.written(root)
