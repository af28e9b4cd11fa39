"""What a service says to a request; ``server/dispatch.py`` turns it into transactions."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from sipgram.sip.keeping import Keeping
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.proxy import Target
from sipgram.sip.routing.hunt import Pursuit
from sipgram.sip.sink import ServerSide

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


class Split(NamedTuple):
    """Send the request to each of these AoRs on its own; the sender hears one answer (D4)."""

    uris: Sequence[bytes]
    account_id: int | None
    "Who sent it; None for a peer that is trusted."


class Asked(Forward):
    """A ``Forward`` of a request that somebody was asked about, and may have changed."""

    __slots__ = ("request", "told")

    def __init__(self, answer: Forward, request: Message, told: Callable[[int], None]) -> None:
        """``told`` hears the final status that the sender got."""
        super().__init__(answer.targets, answer.cuts, answer.deposit)
        self.request = request
        self.told = told


class Told:
    """A server side that says what it answered (``sip.sink.ServerSide``)."""

    __slots__ = ("_server", "_told", "flow")

    def __init__(self, server: ServerSide, told: Callable[[int], None]) -> None:
        self.flow = server.flow
        self._server = server
        self._told = told

    @property
    def is_open(self) -> bool:
        """Whether the final response is still to come."""
        return self._server.is_open

    def expect(self, now: float) -> None:
        """Pass it on."""
        self._server.expect(now)

    def respond(self, response: bytes, now: float) -> None:
        """Pass the final response on and tell its status."""
        if self._server.is_open:
            self._told(int(response[8:11]))
        self._server.respond(response, now)


class Later(NamedTuple):
    """Something must be waited for; the coroutine returns the answer."""

    work: Coroutine[Any, Any, "Reply | Forward | Commitment | Pursuit | Split"]
    finish: Callable[[Forward], None] | None = None
    "Called with a ``Forward`` before it starts."


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


Answer = Reply | Forward | Later | Commitment | Pursuit | Split
