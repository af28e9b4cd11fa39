"""Documents that are changed and written again: trees that keep every namespace (lxml).

``xml.py`` looks at each first, so that limits and refusals are in one place. What is only read
has no need of this, and the client none of lxml.
"""

from lxml import etree

from sipgram.errors import ParseError
from sipgram.payload import xml

Element = etree._Element
"""An element as lxml has it."""


def parse(data: bytes, tag: str, *, of: str) -> Element:
    """Return the root of a document, which must be ``tag``, ``{uri}name``; ``of`` names it.

    Raises:
        ParseError, TooLarge: as ``xml.parse``; or the root is another.
    """
    found = xml.parse(data).name
    if found != tag:
        raise ParseError(f"{of} has another root than {tag}: {found[:80]}")
    # A parser holds state: a new one for each document.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:  # What expat takes and libxml2 does not.
        raise ParseError(f"{of} is not well-formed XML") from error


def written(root: Element) -> bytes:
    """Return the document as bytes, UTF-8 with its declaration."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)
