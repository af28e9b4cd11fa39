"""Keep-alives for UDP bindings behind NAT, spread evenly over their interval (D27).

One sleeper for all of them: each binding stands in one of ``SLOTS`` lists, which have their turn
one after the other. A binding that has ended is left out when its turn comes, so that nothing
need be told of its end, and a refresh costs nothing.
"""

from collections.abc import Callable
from typing import Final, Protocol

from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Sleeper

SLOTS: Final = 250
"""At 25 s a tenth of a second each: of 100,000 bindings 400 at a time, some 2 ms of work."""
KEEP_ALIVE: Final = b"\r\n\r\n"
"""Four octets: every parser skips them (RFC 3261 §7.5), and NATs may not count an empty datagram."""


class Reached(Protocol):
    """A binding."""

    flow: Flow
    expires: float

    @property
    def is_bound(self) -> bool:
        """Whether it has not ended."""


class Wake(Protocol):
    """The shape of ``TimerQueue.wake``."""

    def __call__(self, sleeper: Sleeper, after_s: float, now: float) -> None: ...


class KeepAlives:
    """All bindings that are kept alive."""

    def __init__(self, *, interval_s: float, wake: Wake, clock: Callable[[], float]) -> None:
        """No keep-alive is sent when ``interval_s`` is 0."""
        self.due = NEVER
        self.sent = 0
        self._tick_s = interval_s / SLOTS
        self._wake = wake
        self._clock = clock
        self._slots: list[list[Reached]] = [[] for _ in range(SLOTS)]
        self._next = 0  # The slot whose turn is next.
        self._last = SLOTS - 1  # The slot that got the latest binding.
        self._count = 0
        self._turn_at = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, binding: Reached) -> None:
        """Keep a binding alive until it ends; the first comes within one interval."""
        if not self._tick_s:
            return
        if not self._count:
            now = self._clock()
            self._turn_at = now + self._tick_s
            self._next = (self._last + 2) % SLOTS  # It has just been heard of: a whole round.
            self._wake(self, self._tick_s, now)
        self._last = (self._last + 1) % SLOTS
        self._slots[self._last].append(binding)
        self._count += 1

    def fire(self, now: float) -> None:
        """Have the slots whose turn it is, each once however late it is."""
        behind = int((now - self._turn_at) / self._tick_s + 1e-6) + 1
        for _ in range(min(behind, SLOTS)):
            self._send(now)
        self._turn_at += behind * self._tick_s
        if self._count:
            self._wake(self, self._tick_s, now)

    def _send(self, now: float) -> None:
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        if not slot:
            return
        live = [binding for binding in slot if binding.is_bound and binding.expires > now]
        self._count -= len(slot) - len(live)
        slot[:] = live
        for flow in {binding.flow for binding in live}:
            flow.send(KEEP_ALIVE)
        self.sent += len(live)
