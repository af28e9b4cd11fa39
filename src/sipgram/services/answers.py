"""What a service says to a request; ``server/dispatch.py`` turns it into transactions."""

from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from sipgram.sip.message.message import Cut
from sipgram.sip.proxy import Target


class Reply(NamedTuple):
    """Answer the request ourselves; ``headers`` are whole lines without CRLF."""

    status: int
    reason: str = ""
    headers: tuple[bytes, ...] = ()
    body: bytes = b""


class Forward(NamedTuple):
    """Send the request to every target and pass the best answer on."""

    targets: Sequence[Target]
    cuts: tuple[Cut, ...] = ()
    "Header lines to leave out, besides those that every proxy changes."


class Later(NamedTuple):
    """Something must be waited for; the coroutine returns the answer."""

    work: Coroutine[Any, Any, "Reply | Forward"]


Answer = Reply | Forward | Later
