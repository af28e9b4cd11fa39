"""Pure decisions about a MESSAGE to a list of recipients (RFC 5365 §6 and §7, RFC 5363)."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from sipgram.errors import ParseError, Refusal
from sipgram.payload import media_type, multipart, resource_lists
from sipgram.payload.body import inflated
from sipgram.payload.media_type import MediaType
from sipgram.payload.multipart import Part
from sipgram.payload.resource_lists import Recipient
from sipgram.sip.message.grammar import shown, split_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.request import build

OPTION: Final = b"recipient-list-message"
ACCEPT: Final = b"Accept: multipart/mixed"
ALLOW: Final = b"Allow: MESSAGE, OPTIONS"
COPIED: Final = (b"Date", b"Expires", b"Subject", b"Priority", b"Organization", b"User-Agent")
"""Headers that each copy has from the request."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sender asks of the service: to whom, and what."""

    recipients: tuple[Recipient, ...]
    content: tuple[Part, ...]


def check_extensions(request: Message) -> None:
    """Refuse a request that does not name the extension, or names one that we do not have.

    Raises:
        Refusal: 420 and 421 (§6: "MUST include […] the 'recipient-list-message' option-tag").
    """
    tags = [tag for value in request.values(b"require") for tag in split_list(value) if tag]
    unknown = [tag for tag in tags if tag.lower() != OPTION]
    if unknown:
        line = b"Unsupported: " + b", ".join(unknown)
        raise Refusal(420, f"Bad Extension: {shown(b', '.join(unknown))}", (line,))
    if not tags:
        raise Refusal(421, "Extension Required", (b"Require: " + OPTION,))


def wish_of(request: Message, *, recipients_max: int) -> Wish:
    """Take a request apart.

    Raises:
        ParseError: it holds no list, or a malformed one; 415 when it is no multipart.
        Refusal: 403 when the list is too long.
    """
    kind = MediaType.parse((request.value(b"content-type") or b"").decode("utf-8", "replace"))
    if kind.name != "multipart/mixed":
        raise Refusal(415, f"Body Is No multipart/mixed: {kind.name}", (ACCEPT,))
    encoding = b",".join(request.values(b"content-encoding")).decode("ascii", "replace")
    body = inflated(request.body, encoding)
    parts = multipart.parse(body, kind.parameters.get("boundary", ""))
    lists = [part for part in parts if _is_list(part)]
    content = tuple(part for part in parts if not _is_list(part))
    if len(lists) != 1 or not content:
        raise ParseError(f"body has {len(lists)} recipient lists and {len(content)} other parts")
    recipients = resource_lists.parse(lists[0].body)
    if not recipients:
        raise ParseError("recipient list is empty")
    if len(recipients) > recipients_max:
        raise Refusal(403, f"List Has Over {recipients_max} Recipients: {len(recipients)}")
    return Wish(recipients, content)


def boundary_of(request: Message) -> str:
    """Return a boundary that stands in no part: nobody finds a text that holds its own hash."""
    return "list-" + blake2b(request.call_id + b"\n" + request.body, digest_size=16).hexdigest()


def content_of(wish: Wish, boundary: str) -> tuple[bytes, bytes]:
    """Return Content-Type and body of each copy, with what a recipient may know of the others.

    A text alone, when the sender has named nobody to be shown, goes out as it is: every phone
    reads that.
    """
    parts = list(wish.content)
    if any(recipient.copy != "bcc" for recipient in wish.recipients):
        headers = (
            ("Content-Type", media_type.RESOURCE_LISTS),
            ("Content-Disposition", "recipient-list-history; handling=optional"),
        )
        parts.append(Part(headers, resource_lists.build_history(wish.recipients)))
    if len(parts) == 1:
        kind = parts[0].header("content-type") or media_type.TEXT
        return " ".join(kind.split()).encode(), parts[0].body
    kind = f'multipart/mixed;boundary="{boundary}"'
    return kind.encode(), multipart.build(parts, boundary)


def copy_for(
    request: Message, uri: bytes, *, shown_uri: bytes, content_type: bytes, body: bytes
) -> bytes:
    """Return the MESSAGE for one recipient; its Call-ID is the same when the sender repeats.

    Raises:
        UsageError: something in it would break a header.
    """
    mark = blake2b(b"%b\n%b" % (request.call_id, uri), digest_size=16).hexdigest().encode()
    headers = [b"Content-Type: " + content_type]
    headers += [
        name + b": " + value
        for name in COPIED
        if (value := request.value(name.lower())) is not None
    ]
    return build(
        b"MESSAGE",
        uri,
        via=b"Via: SIP/2.0/TCP lists.invalid;branch=z9hG4bK" + mark,
        sender=request.value(b"from") or b"",
        to=b"<" + shown_uri + b">",
        call_id=mark,
        cseq=request.cseq,
        headers=headers,
        body=body,
        max_forwards=max(0, request.max_forwards - 1) if request.max_forwards >= 0 else 70,
    )


def failures_shown(failed: Sequence[str], count: int) -> str:
    """Return a reason phrase that says whom a message did not reach."""
    first = shown(failed[0].encode())
    return f"Not Taken For {len(failed)} Of {count}: {first}"


def _is_list(part: Part) -> bool:
    return (
        part.disposition == "recipient-list"
        and media_type.name_of(part.header("content-type").encode()) == media_type.RESOURCE_LISTS
    )
