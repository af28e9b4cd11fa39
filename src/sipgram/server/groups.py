"""One message to a group: each member's part goes its own way, the sender hears one answer (D4)."""

from sipgram.sip.sink import Flow, ServerSide


class Parts:
    """The answers of all members on their way to being one."""

    def __init__(self, server: ServerSide, count: int) -> None:
        self.server = server
        self._left = count
        self._best = b""

    def part(self) -> "Part":
        """Return what stands for the sender to one member's fork."""
        return Part(self)

    def take(self, response: bytes, now: float) -> None:
        """Take one member's answer; the last lets the best go up."""
        self._left -= 1
        if not self._best or _rank(response) < _rank(self._best):
            self._best = response
        if not self._left:
            self.server.respond(self._best, now)


class Part:
    """One member's share of the sender: a ``ServerSide``."""

    __slots__ = ("_all", "flow", "is_open")

    def __init__(self, parts: Parts) -> None:
        self._all = parts
        self.flow: Flow = parts.server.flow
        self.is_open = True

    def expect(self, now: float) -> None:
        """The answer takes its time."""
        self._all.server.expect(now)

    def respond(self, response: bytes, now: float) -> None:
        """Take the answer of this member, once."""
        if self.is_open:
            self.is_open = False
            self._all.take(response, now)


def _rank(response: bytes) -> tuple[int, int]:
    """Order the answers, the best first: 202 before 200, since somebody has it only later."""
    status = int(response[8:11])
    if status < 300:
        return 0, -status
    return (1, status) if status < 600 else (2, status)
