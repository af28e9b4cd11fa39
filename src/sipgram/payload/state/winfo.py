"""Who watches a resource (RFC 3858, watcher information)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from lxml import etree

from sipgram.errors import ParseError
from sipgram.payload.state import tree

TYPE: Final = b"application/watcherinfo+xml"
SPACE: Final = "urn:ietf:params:xml:ns:watcherinfo"

Status = Literal["pending", "active", "waiting", "terminated"]


class Watcher(NamedTuple):
    """One watcher's subscription (RFC 3858 §3.3)."""

    id: str
    uri: str
    status: str
    event: str
    "Why it is so: subscribe, approved, deactivated, probation, rejected, timeout, giveup, noresource."


def build(
    watchers: Sequence[Watcher], *, version: int, is_full: bool, resource: str, package: str
) -> bytes:
    """Return a document; a partial one tells only of the watchers that changed."""
    root = etree.Element(f"{{{SPACE}}}watcherinfo", nsmap={None: SPACE})
    root.set("version", str(version))
    root.set("state", "full" if is_full else "partial")
    listed = etree.SubElement(root, f"{{{SPACE}}}watcher-list")
    listed.set("resource", resource)
    listed.set("package", package)
    for watcher in watchers:
        element = etree.SubElement(listed, f"{{{SPACE}}}watcher")
        element.set("id", watcher.id)
        element.set("status", watcher.status)
        element.set("event", watcher.event)
        element.text = watcher.uri
    return tree.written(root)


@dataclass(frozen=True, slots=True)
class Document:
    """A document, read."""

    version: int
    is_full: bool
    watchers: tuple[Watcher, ...]

    @classmethod
    def parse(cls, body: bytes) -> "Document":
        """Read a document.

        Raises:
            ParseError: it is no watcher information.
        """
        root = tree.parse(body, f"{{{SPACE}}}watcherinfo", of="watcher information")
        version = root.get("version") or ""
        if not (version.isascii() and version.isdigit() and len(version) < 11):
            raise ParseError(f"watcher information has a malformed version: {version[:20]!r}")
        watchers = tuple(
            Watcher(
                id=element.get("id") or "",
                uri=(element.text or "").strip(),
                status=element.get("status") or "",
                event=element.get("event") or "",
            )
            for element in root.iter(f"{{{SPACE}}}watcher")
        )
        return cls(int(version), root.get("state") == "full", watchers)


def changes(old: Mapping[str, Watcher], new: Mapping[str, Watcher]) -> list[Watcher]:
    """Return the watchers that are new or differ; who is missing is not among them."""
    return [watcher for id, watcher in new.items() if old.get(id) != watcher]
