"""What a service says to a request; ``server/dispatch.py`` turns it into transactions."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from sipgram.sip.keeping import Keeping
from sipgram.sip.message.message import Cut
from sipgram.sip.proxy import Target
from sipgram.sip.routing.hunt import Pursuit

Done = Callable[[Exception | None], None]
"""Hears once that a commit is over."""


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

    __slots__ = ("cuts", "deposit", "targets")

    def __init__(
        self,
        targets: Sequence[Target],
        cuts: tuple[Cut, ...] = (),
        deposit: Keeping | None = None,
    ) -> None:
        """``deposit`` is what is being kept of it already, for devices that are away."""
        self.targets = targets
        self.cuts = cuts
        self.deposit = deposit


class Later(NamedTuple):
    """Something must be waited for; the coroutine returns the answer."""

    work: Coroutine[Any, Any, "Reply | Forward | Pursuit"]


class Commitment:
    """Answer once something is on disk (D10, D37); costs no task."""

    __slots__ = ()

    def start(self, done: Done) -> None:
        """Begin to write, and call ``done`` when it is over, with the error if there was one.

        It may raise instead.
        """
        raise NotImplementedError

    def reply(self, error: Exception | None) -> Reply:
        """Give the answer, or raise the error that says it."""
        raise NotImplementedError


class Commit(Commitment):
    """A commitment made of two functions."""

    __slots__ = ("_reply", "_start")

    def __init__(
        self, start: Callable[[Done], None], reply: Callable[[Exception | None], Reply]
    ) -> None:
        self._start = start
        self._reply = reply

    def start(self, done: Done) -> None:
        self._start(done)

    def reply(self, error: Exception | None) -> Reply:
        return self._reply(error)


Answer = Reply | Forward | Later | Commitment | Pursuit
