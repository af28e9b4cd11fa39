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


class Forward:
    """Send the request to every target and pass the best answer on.

    ``cuts`` are header lines to leave out, besides those that every proxy changes. A plain
    class, since one is made for each MESSAGE and this is the kind that is made fastest.
    """

    __slots__ = ("cuts", "targets")

    def __init__(self, targets: Sequence[Target], cuts: tuple[Cut, ...] = ()) -> None:
        self.targets = targets
        self.cuts = cuts


class Later(NamedTuple):
    """Something must be waited for; the coroutine returns the answer."""

    work: Coroutine[Any, Any, "Reply | Forward"]


Answer = Reply | Forward | Later
