"""Instant message disposition notifications: receipts (RFC 5438).

A message asks for them in its CPIM headers. A receipt is a document of its own, mostly in CPIM;
Linphone sends it bare, as the body of a MESSAGE, and takes the Call-ID for the message's id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sipgram.errors import ParseError
from sipgram.payload import media_type, xml
from sipgram.payload.cpim import Cpim, Header, Party

NAMESPACE: Final = "urn:ietf:params:imdn"
"""Of the CPIM headers."""
XMLNS: Final = "urn:ietf:params:xml:ns:imdn"
_NS: Final = f"{{{XMLNS}}}"

Wish = Literal["positive-delivery", "negative-delivery", "processing", "display"]
Status = Literal["delivered", "displayed", "failed", "forbidden", "error", "processed", "stored"]
Kind = Literal["delivery", "display", "processing"]

WISHES: Final = frozenset[str](get_args(Wish))
STATUSES: Final = frozenset[str](get_args(Status))
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_KIND_OF: Final[dict[Status, Kind]] = {
    "delivered": "delivery",
    "failed": "delivery",
    "displayed": "display",
    "processed": "processing",
    "stored": "processing",
}


@dataclass(frozen=True, slots=True)
class Imdn:
    """What became of one message at one recipient."""

    message_id: str
    status: Status
    kind: Kind
    recipient_uri: str = ""
    original_recipient_uri: str = ""
    date_time: str = ""
    "DateTime of the message that it is about."
    subject: str = ""

    @classmethod
    def of(
        cls, message_id: str, status: Status, *, recipient_uri: str, date_time: str = ""
    ) -> "Imdn":
        """Make one; who failed to be reached failed at delivery."""
        kind = _KIND_OF.get(status, "delivery")
        return cls(message_id, status, kind, recipient_uri, recipient_uri, date_time)

    @classmethod
    def parse(cls, document: bytes) -> "Imdn":
        """Read a body of type message/imdn+xml.

        Raises:
            ParseError: it is malformed, or says nothing that we know.
            TooLarge: it is over a limit.
        """
        root = xml.parse(document)
        if root.local != "imdn":
            raise ParseError(f"IMDN document begins with {root.local[:40]!r}")
        ns = root.name[: -len("imdn")]  # Some write it in no namespace.
        message_id = root.text_of(f"{ns}message-id")
        if not message_id:
            raise ParseError("IMDN names no message-id")
        for kind in KINDS:
            notice = root.first(f"{ns}{kind}-notification")
            if notice is None:
                continue
            status = notice.first(f"{ns}status")
            for said in () if status is None else status.children:
                for known in get_args(Status):
                    if said.local == known:
                        return cls(
                            message_id,
                            known,
                            kind,
                            root.text_of(f"{ns}recipient-uri"),
                            root.text_of(f"{ns}original-recipient-uri"),
                            root.text_of(f"{ns}datetime"),
                            root.text_of(f"{ns}subject"),
                        )
        raise ParseError("IMDN has no status that is known")

    def __bytes__(self) -> bytes:
        fields = (
            ("message-id", self.message_id, True),
            ("datetime", self.date_time, True),
            ("recipient-uri", self.recipient_uri, False),
            ("original-recipient-uri", self.original_recipient_uri, False),
            ("subject", self.subject, False),
        )
        lines = [f'<imdn xmlns="{XMLNS}">']
        lines += [
            f"  <{name}>{xml.escape(text)}</{name}>"
            for name, text, is_required in fields
            if text or is_required
        ]
        notice = f"{self.kind}-notification"
        lines += [f"  <{notice}><status><{self.status}/></status></{notice}>", "</imdn>", ""]
        return (xml.DECLARATION + "\n".join(lines)).encode()


def wishes_of(message: Cpim) -> frozenset[str]:
    """Return what a message asks for; nothing when it is a receipt, or has no id (§7.2, §8)."""
    asked = message.header("Disposition-Notification", NAMESPACE)
    if not asked or not message_id_of(message) or is_notice(message):
        return frozenset()
    return WISHES & {wish.partition(";")[0].strip().lower() for wish in asked.split(",")}


def message_id_of(message: Cpim) -> str:
    """Return the id that receipts name; empty when it has none."""
    return message.header("Message-ID", NAMESPACE).strip()


def is_notice(message: Cpim) -> bool:
    """Say whether it is a receipt, or tells that somebody types: never answered (D24)."""
    if message.content_header("content-disposition").partition(";")[0].strip() == "notification":
        return True
    name = media_type.name_of(message.content_header("content-type").encode())
    return name in (media_type.IMDN, media_type.TYPING)


def asking(message_id: str, wishes: Iterable[str]) -> tuple[Header, ...]:
    """Return the CPIM headers of a message that asks for receipts (§7.1.1)."""
    return (
        Header("Message-ID", message_id, NAMESPACE),
        Header("Disposition-Notification", ", ".join(sorted(wishes)), NAMESPACE),
    )


def enclosed(notice: Imdn, *, message_id: str, sender: str, to: str, date_time: str = "") -> Cpim:
    """Wrap a receipt in CPIM, with an id of its own (§7.2.1.1)."""
    return Cpim(
        content=bytes(notice),
        content_headers=(
            ("Content-Type", media_type.IMDN),
            ("Content-Disposition", "notification"),
        ),
        sender=Party(sender),
        to=(Party(to),),
        date_time=date_time,
        headers=(Header("Message-ID", message_id, NAMESPACE),),
    )
