"""The reader of XML from outside: no DTD, no entities, bounded (RFC 5438 §11, RFC 3994 §6, RFC 4826).

The standard library's expat: the client has no dependency for it, and a document that declares
anything is refused before it is expanded. What we write is small and made of text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from sipgram.errors import ParseError, TooLarge

BYTES_MAX: Final = 262_144
DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 10_000
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_FORBIDDEN_RE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold, even escaped."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element; names are ``{namespace}local``, or ``local`` in no namespace."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    "All character data directly in it, joined and trimmed."
    children: tuple["Element", ...] = ()

    def first(self, name: str) -> "Element | None":
        """Return the first child of this name."""
        return next((child for child in self.children if child.name == name), None)

    def every(self, name: str) -> Iterator["Element"]:
        """Yield the children of this name."""
        return (child for child in self.children if child.name == name)

    def text_of(self, name: str) -> str:
        """Return the text of the first child of this name, empty without one."""
        child = self.first(name)
        return "" if child is None else child.text

    @property
    def local(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition("}")[2]


def parse(data: bytes) -> Element:
    """Read a whole document.

    Raises:
        ParseError: it is not well-formed, or declares a document type.
        TooLarge: it is over a limit of ours.
    """
    if len(data) > BYTES_MAX:
        raise TooLarge(f"XML document is over {BYTES_MAX} bytes: {len(data)}")
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ParseError(f"XML is not well-formed: {expat.ErrorString(error.code)}") from error
    except (LookupError, ValueError) as error:
        raise ParseError("XML has an unknown encoding") from error
    finally:
        # The parser refers to the reader's methods and they to it: no cycle is left behind.
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.CharacterDataHandler = None
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = None
    assert reader.root is not None  # Else expat had found no element.
    return reader.root


def escape(text: str) -> str:
    """Write text so that it may stand in an element or between the quotes of an attribute."""
    text = _FORBIDDEN_RE.sub("\ufffd", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Else an attribute would be normalized and a line end changed (XML 1.0 §2.11, §3.3.3).
    return (
        text.replace('"', "&quot;")
        .replace("\r", "&#13;")
        .replace("\n", "&#10;")
        .replace("\t", "&#9;")
    )


class _Reader:
    """Builds the tree, of elements that are not complete yet."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[tuple[str, dict[str, str], list[str], list[Element]]] = []
        self._count = 0

    def refuse(self, *_: object) -> None:
        raise ParseError("XML declares a document type")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > ELEMENTS_MAX:
            raise TooLarge(f"XML has over {ELEMENTS_MAX} elements")
        if len(self._open) >= DEPTH_MAX:
            raise TooLarge(f"XML is nested over {DEPTH_MAX} deep")
        named = {_clark(key): value for key, value in attributes.items()}
        self._open.append((_clark(name), named, [], []))

    def characters(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self, _: str) -> None:
        name, attributes, texts, children = self._open.pop()
        element = Element(name, attributes, "".join(texts).strip(), tuple(children))
        if self._open:
            self._open[-1][3].append(element)
        else:
            self.root = element


def _clark(name: str) -> str:
    return "{" + name if "}" in name else name
