"""Trying the hops of a domain one after the other, and remembering which failed (RFC 3263 §4.3).

No socket and no clock: whoever sends says what became of a hop and when.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from sipgram.net.resolver import Hop, HopTransport

FAILED_S: Final = 32.0
"""64 * T1: as long as a transaction to it may still be under way."""
FAILED_MAX_S: Final = 600.0
"""The longest that a Retry-After of a 503 is obeyed."""
FAILED_HOPS_MAX: Final = 10_000
"""Failed hops remembered; beyond that the one that failed first is forgotten."""
HOP_S: Final = 3.0
"""How long a hop may be silent while there is another one to try (D33)."""
ATTEMPTS_MAX: Final = 8
"""Hops tried for one request."""

_Key = tuple[HopTransport, str, int]


class FailedHops:
    """The hops of late failures, shared by all requests of a node."""

    def __init__(self, *, entries_max: int = FAILED_HOPS_MAX) -> None:
        self._until: OrderedDict[_Key, float] = OrderedDict()
        self._entries_max = entries_max

    @property
    def count(self) -> int:
        """How many failed hops are remembered."""
        return len(self._until)

    def note(self, hop: Hop, now: float, *, for_s: float = FAILED_S) -> None:
        """Put ``hop`` behind the others for a while; a 503 may say for how long."""
        key = _key(hop)
        self._until[key] = now + min(for_s, FAILED_MAX_S)
        self._until.move_to_end(key)
        if len(self._until) > self._entries_max:
            self._until.popitem(last=False)

    def forget(self, hop: Hop) -> None:
        """It works again."""
        self._until.pop(_key(hop), None)

    def has_failed(self, hop: Hop, now: float) -> bool:
        """Whether it failed of late."""
        until = self._until.get(_key(hop))
        if until is None:
            return False
        if until <= now:
            del self._until[_key(hop)]
            return False
        return True

    def in_order(self, hops: Iterable[Hop], now: float) -> list[Hop]:
        """Return the hops with those that failed last, the one to be forgiven soonest first.

        They are not left out: when all have failed, trying is better than giving up.
        """
        sound: list[Hop] = []
        failed: list[Hop] = []
        for hop in hops:
            (failed if self.has_failed(hop, now) else sound).append(hop)
        failed.sort(key=lambda hop: self._until[_key(hop)])
        return sound + failed


class Attempts:
    """The hops of one request: ask for the ``next``, send, and say what became of it.

    RFC 3263 §4.3: a failure is a 503, a transport error or a timeout; each new hop is a new
    client transaction with a new branch. Any other answer, errors included, ends the search.
    """

    def __init__(
        self,
        hops: Iterable[Hop],
        *,
        failed: FailedHops,
        now: float,
        within_s: float,
        hop_s: float = HOP_S,
    ) -> None:
        """Take what ``locate`` found; nothing is tried later than ``within_s`` from ``now``."""
        self._left = failed.in_order(hops, now)[:ATTEMPTS_MAX]
        self._left.reverse()  # The next one is at the end, where taking is cheap.
        self._failed = failed
        self._deadline = now + within_s
        self._hop_s = hop_s
        self.current: Hop | None = None
        "The hop that is being tried; None before the first and after the last."

    def next(self, now: float) -> Hop | None:
        """Return the hop to try now; None when there is none, or no time left."""
        self.current = self._left.pop() if self._left and now < self._deadline else None
        return self.current

    def wait_s(self, now: float) -> float:
        """Return how long to wait for ``current``: the last one gets all the time that is left."""
        left_s = max(0.0, self._deadline - now)
        return min(left_s, self._hop_s) if self._left else left_s

    def failed(self, now: float, *, retry_after_s: float | None = None) -> Hop | None:
        """Note that ``current`` failed and return the next hop.

        ``retry_after_s`` is the Retry-After of a 503: so long the hop is avoided, at least 32 s.
        """
        if self.current is not None:
            self._failed.note(self.current, now, for_s=max(FAILED_S, retry_after_s or 0.0))
        return self.next(now)

    def succeeded(self) -> None:
        """Note that ``current`` answered: later requests may try it at its place again."""
        if self.current is not None:
            self._failed.forget(self.current)


def _key(hop: Hop) -> _Key:
    return hop.transport, hop.host, hop.port
