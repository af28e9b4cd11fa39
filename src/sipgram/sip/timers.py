"""The base values of SIP's timers, and deadlines kept in one FIFO per length (RFC 3261 §17)."""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

NEVER: Final = math.inf
LENGTHS_MAX: Final = 64
"""Timer lengths are constants of the protocol and of settings; more of them is a mistake."""


@dataclass(frozen=True, slots=True)
class Timers:
    """The base values all SIP timers derive from, in seconds (RFC 3261 §17, Table 4)."""

    t1: float = 0.5
    "Round-trip time estimate."
    t2: float = 4.0
    "Longest interval between retransmissions of a non-INVITE request or a final response."
    t4: float = 5.0
    "Longest time a message stays in the network."
    longest: float = field(init=False)
    "Timers B, F, H and J: 64*T1."
    trying_after_s: float = field(init=False)
    "When Timer E reaches T2: T1 + 2*T1 + 4*T1, 3.5 s with the usual values."

    def __post_init__(self) -> None:
        interval, total = self.t1, 0.0
        while interval < self.t2:
            total += interval
            interval *= 2
        object.__setattr__(self, "longest", 64 * self.t1)
        object.__setattr__(self, "trying_after_s", total)

    def rest(self, left_s: float) -> float:
        """Round what is left of a timer up to a multiple of T1, so that lengths stay few."""
        return math.ceil(left_s / self.t1 - 1e-6) * self.t1


class Sleeper(Protocol):
    """A machine with at most one deadline."""

    due: float
    "When it wants ``fire``; NEVER for not at all."

    def fire(self, now: float) -> None:
        """Take the deadline that came due."""


class TimerQueue:
    """Deadlines of sleepers: appending is O(1), since timers of one length come due in order.

    A deadline that its machine moved or dropped is passed over when its turn comes, so that
    the usual case, a machine that finished in time, costs no search.
    """

    def __init__(self) -> None:
        self._queues: dict[float, deque[tuple[float, Sleeper]]] = {}
        self.next_due = NEVER
        "No deadline lies before this."

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        """Set the sleeper's only deadline to ``now + after_s``."""
        due = sleeper.due = now + after_s
        queue = self._queues.get(after_s)
        if queue is None:
            if len(self._queues) >= LENGTHS_MAX:
                self._queues = {length: q for length, q in self._queues.items() if q}
            queue = self._queues[after_s] = deque()
        queue.append((due, sleeper))
        if due < self.next_due:
            self.next_due = due

    def advance(self, now: float) -> None:
        """Fire every deadline up to ``now``."""
        for queue in list(self._queues.values()):
            while queue and queue[0][0] <= now:
                due, sleeper = queue.popleft()
                if sleeper.due == due:
                    sleeper.due = NEVER
                    sleeper.fire(now)
        self.next_due = min((q[0][0] for q in self._queues.values() if q), default=NEVER)

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))
