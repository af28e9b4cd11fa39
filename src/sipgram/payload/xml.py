"""The only XML reader: no entities, no network, bounded (RFC 3023 §10 tells of the dangers)."""

from typing import Final

from lxml import etree

from sipgram.errors import ParseError

Element = etree._Element
"""An element as lxml has it."""

BYTES_MAX: Final = 262_144
"""A larger document is refused unread."""
DEPTH_MAX: Final = 32
"""The documents of SIMPLE nest about eight deep."""
ELEMENTS_MAX: Final = 20_000


def parse(data: bytes, *, of: str, bytes_max: int = BYTES_MAX) -> Element:
    """Return the root of a document; ``of`` names it for the error text.

    Raises:
        ParseError: it is no XML, has a DOCTYPE, or is larger or deeper than documents are.
    """
    if len(data) > bytes_max:
        raise ParseError(f"{of} is over {bytes_max} bytes: {len(data)}")
    depth = DEPTH_MAX
    parser = etree.XMLPullParser(
        ("start", "end"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    count = 0
    try:
        # In pieces: what is too deep or has a DOCTYPE is left where that is seen.
        for start in range(0, len(data), 4_096):
            parser.feed(data[start : start + 4_096])
            for event, element in parser.read_events():
                depth += 1 if event == "end" else -1
                count += event == "end"
                if depth < 0 or count > ELEMENTS_MAX:
                    raise ParseError(f"{of} has too many elements or nests them too deep")
                if count == 0 and element.getroottree().docinfo.doctype:
                    raise ParseError(f"{of} has a DOCTYPE")
        root: Element = parser.close()
    except etree.XMLSyntaxError as error:
        raise ParseError(f"{of} is not well-formed XML: {_reason(error)}") from None
    if root.getroottree().docinfo.doctype:
        raise ParseError(f"{of} has a DOCTYPE")
    return root


def check_root(root: Element, tag: str, *, of: str) -> None:
    """Refuse a document of another kind.

    Raises:
        ParseError: the root has another name or namespace than ``tag``, ``{uri}name``.
    """
    if root.tag != tag:
        shown = str(root.tag)[:80]
        raise ParseError(f"{of} has another root than {tag}: {shown}")


def written(root: Element) -> bytes:
    """Return the document as bytes, UTF-8 with its declaration."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _reason(error: etree.XMLSyntaxError) -> str:
    text = (error.msg or "no reason").splitlines()[0]
    return "".join(c if c.isprintable() else "?" for c in text[:80])
