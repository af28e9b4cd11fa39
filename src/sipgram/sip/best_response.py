"""The best of the failures of a forked INVITE (RFC 3261 §16.7 steps 6 and 7; DELIVERY.md D11)."""

from typing import Final

from sipgram.sip.message.message import Message
from sipgram.sip.proxy import PREFERRED

LATER: Final = frozenset((404, 408, 410, 430, 480, 481))
"""Failures that tell the caller less than those of a person or a phone that was reached."""
CHALLENGES: Final = (b"WWW-Authenticate", b"Proxy-Authenticate")

Rank = tuple[int, int]
"""How good a failure is for the caller, least first: its class, and the order within."""


class Failures:
    """Keeps one response of all that came, and every challenge."""

    __slots__ = ("_best", "_challenges", "_rank")

    def __init__(self) -> None:
        self._rank: Rank = (9, 0)
        self._best: bytes | int = 480  # Nobody was there to be tried.
        self._challenges: list[bytes] = []  # Of each 401 and 407, in the order of their coming.

    def take(self, response: Message, data: bytes, *, is_cancelled: bool = False) -> None:
        """Take a failure and what of it would go up; ``is_cancelled`` is of the whole call."""
        status = response.status
        if status in (401, 407):
            lines = [n + b": " + v for n in CHALLENGES for v in response.values(n.lower())]
            self._challenges.append(b"".join(line + b"\r\n" for line in lines))
        self._keep(_rank(status, is_cancelled=is_cancelled), data)

    def take_own(self, status: int) -> None:
        """Take a status that stands for no answer at all."""
        self._keep(_rank(status), status)

    @property
    def best(self) -> bytes | int:
        """The response as it goes up, or the status of one that we have to make ourselves."""
        best = self._best
        if isinstance(best, int) or best[8:11] not in (b"401", b"407"):
            return best
        # Step 7. The best of them is the first, so that its own challenge is the first too.
        others = b"".join(self._challenges[1:])
        return best.replace(b"\r\n\r\n", b"\r\n" + others + b"\r\n", 1) if others else best

    def _keep(self, rank: Rank, response: bytes | int) -> None:
        if rank < self._rank:
            self._rank, self._best = rank, response


def _rank(status: int, *, is_cancelled: bool = False) -> Rank:
    """Return the place of a status: 6xx, then the lowest class (step 6)."""
    if status >= 600:
        return 0, 0
    if status in PREFERRED or (status == 487 and is_cancelled):
        return 4, 0
    if status == 487:
        return 4, 3
    return status // 100, 2 if status in LATER else 1


def relayed(response: Message, *, is_stream: bool) -> bytes:
    """Return a response as it goes up; a stream needs Content-Length (§18.3)."""
    data = response.relayed()
    if response.status == 503:
        # D11, step 6: a 503 would tell the caller to leave this whole server alone.
        data = b"SIP/2.0 500 Server Internal Error\r\n" + data.partition(b"\r\n")[2]
    if response.content_length >= 0 or not is_stream:
        return data
    line = b"\r\nContent-Length: %d\r\n\r\n" % len(response.body)
    return data.replace(b"\r\n\r\n", line, 1)
