"""Many deadlines of any length, to the second: one bucket for each second that has some.

``TimerQueue`` holds the few lengths of RFC 3261; what is granted in seconds, as subscriptions and
publications are, comes in thousands of lengths, and a second more or less is nothing to it.
"""

import heapq
import math
from typing import Generic, TypeVar

from sipgram.sip.timers import NEVER

Item = TypeVar("Item")


class Deadlines(Generic[Item]):
    """Items and the seconds in which somebody has to look at them.

    An item whose deadline has moved is not searched for: it comes up at the old one, and whoever
    looks puts it in again.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, list[Item]] = {}
        self._seconds: list[int] = []

    def add(self, item: Item, due: float) -> None:
        """Let the item come up within a second after ``due``."""
        second = math.floor(due) + 1
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = []
            heapq.heappush(self._seconds, second)
        bucket.append(item)

    @property
    def next_due(self) -> float:
        """When the next item comes up; NEVER for none."""
        return self._seconds[0] if self._seconds else NEVER

    def take(self, now: float, *, at_most: int) -> list[Item]:
        """Return up to ``at_most`` items whose second has come."""
        found: list[Item] = []
        while self._seconds and self._seconds[0] <= now and len(found) < at_most:
            bucket = self._buckets[self._seconds[0]]
            count = at_most - len(found)
            found += bucket[:count]
            del bucket[:count]
            if not bucket:
                del self._buckets[heapq.heappop(self._seconds)]
        return found
