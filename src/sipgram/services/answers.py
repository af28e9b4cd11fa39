"""What a service says to a request; ``server/dispatch.py`` turns it into transactions."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sipgram.sip.message.message import Cut
from sipgram.sip.proxy import Target


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request ourselves; ``headers`` are whole lines without CRLF."""

    status: int
    reason: str = ""
    headers: tuple[bytes, ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request to every target and pass the best answer on."""

    targets: Sequence[Target]
    cuts: tuple[Cut, ...] = ()
    "Header lines to leave out, besides those that every proxy changes."


@dataclass(frozen=True, slots=True)
class Later:
    """Something must be waited for; the coroutine returns the answer."""

    work: Coroutine[Any, Any, "Reply | Forward"]


Answer = Reply | Forward | Later
