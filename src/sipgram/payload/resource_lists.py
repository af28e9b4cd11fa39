"""Lists of recipients (RFC 4826 §3 and RFC 5364, as far as RFC 5365 needs them)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from sipgram.errors import ParseError
from sipgram.payload import xml

XMLNS: Final = "urn:ietf:params:xml:ns:resource-lists"
COPY_CONTROL: Final = "urn:ietf:params:xml:ns:copycontrol"
ANONYMOUS: Final = "sip:anonymous@anonymous.invalid"
_NS: Final = f"{{{XMLNS}}}"
_CC: Final = f"{{{COPY_CONTROL}}}"

Copy = Literal["to", "cc", "bcc"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One entry; who has no copyControl is shown to nobody (RFC 5364 §4.1)."""

    uri: str
    copy: Copy = "bcc"
    is_anonymous: bool = False
    "To be counted and not named."


def parse(document: bytes) -> tuple[Recipient, ...]:
    """Read the entries of all lists of a document, in order.

    Raises:
        ParseError: it is malformed, or refers to entries that are elsewhere.
        TooLarge: it is over a limit.
    """
    root = xml.parse(document)
    if root.name != f"{_NS}resource-lists":
        raise ParseError(f"resource-lists document begins with {root.local[:40]!r}")
    return tuple(_entries(root))


def build(recipients: Iterable[Recipient]) -> bytes:
    """Write a list, as a client sends it."""
    return _document(_entry(r.uri, r.copy, is_anonymous=r.is_anonymous) for r in recipients)


def build_history(recipients: Iterable[Recipient]) -> bytes:
    """Write what a recipient may know of the others (RFC 5364 §5): no bcc, no anonymous names."""
    shown = [r for r in recipients if r.copy != "bcc"]
    lines = [_entry(r.uri, r.copy) for r in shown if not r.is_anonymous]
    for copy in ("to", "cc"):
        count = sum(1 for r in shown if r.is_anonymous and r.copy == copy)
        if count:
            lines.append(
                f'    <entry uri="{ANONYMOUS}" cp:copyControl="{copy}" cp:count="{count}"/>'
            )
    return _document(lines)


def _entries(parent: xml.Element) -> Iterator[Recipient]:
    for child in parent.children:
        if child.name == f"{_NS}entry":
            yield _recipient(child)
        elif child.name == f"{_NS}list":
            yield from _entries(child)
        elif child.name in (f"{_NS}external", f"{_NS}entry-ref"):
            raise ParseError(f"list refers to entries elsewhere: {child.local}")


def _recipient(entry: xml.Element) -> Recipient:
    uri = entry.attributes.get("uri", "").strip()
    if not uri:
        raise ParseError("list has an entry without uri")
    said = entry.attributes.get(f"{_CC}copyControl", "bcc").strip().lower()
    copy: Copy = "to" if said == "to" else "cc" if said == "cc" else "bcc"
    anonymize = entry.attributes.get(f"{_CC}anonymize", "").strip().lower()
    return Recipient(uri, copy, anonymize in ("true", "1"))


def _entry(uri: str, copy: Copy, *, is_anonymous: bool = False) -> str:
    anonymize = ' cp:anonymize="true"' if is_anonymous else ""
    return f'    <entry uri="{xml.escape(uri)}" cp:copyControl="{copy}"{anonymize}/>'


def _document(entries: Iterable[str]) -> bytes:
    lines = (
        f'<resource-lists xmlns="{XMLNS}" xmlns:cp="{COPY_CONTROL}">',
        "  <list>",
        *entries,
        "  </list>",
        "</resource-lists>",
        "",
    )
    return (xml.DECLARATION + "\n".join(lines)).encode()
