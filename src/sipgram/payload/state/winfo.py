"""Who watches a resource (RFC 3858, watcher information)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sipgram.errors import ParseError
from sipgram.payload import xml
from sipgram.payload.xml import escape

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
    state = "full" if is_full else "partial"
    listed = "".join(
        f'<watcher id="{escape(w.id)}" status="{escape(w.status)}" event="{escape(w.event)}">'
        f"{escape(w.uri)}</watcher>"
        for w in watchers
    )
    return (
        f'{xml.DECLARATION}<watcherinfo xmlns="{SPACE}" version="{version}" state="{state}">'
        f'<watcher-list resource="{escape(resource)}" package="{escape(package)}">{listed}'
        "</watcher-list></watcherinfo>\n"
    ).encode()


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
        root = xml.parse(body)
        if root.name != f"{{{SPACE}}}watcherinfo":
            raise ParseError(f"watcher information has another root: {root.name[:80]}")
        version = root.attributes.get("version", "")
        if not (version.isascii() and version.isdigit() and len(version) < 11):
            raise ParseError(f"watcher information has a malformed version: {version[:20]!r}")
        watchers = tuple(
            Watcher(
                id=element.attributes.get("id", ""),
                uri=element.text,
                status=element.attributes.get("status", ""),
                event=element.attributes.get("event", ""),
            )
            for listed in root.every(f"{{{SPACE}}}watcher-list")
            for element in listed.every(f"{{{SPACE}}}watcher")
        )
        return cls(int(version), root.attributes.get("state") == "full", watchers)


def changes(old: Mapping[str, Watcher], new: Mapping[str, Watcher]) -> list[Watcher]:
    """Return the watchers that are new or differ; who is missing is not among them."""
    return [watcher for id, watcher in new.items() if old.get(id) != watcher]
