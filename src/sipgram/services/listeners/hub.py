"""Who listens now: each event to the streams of its account only."""

import asyncio
from collections import deque
from collections.abc import Iterable

from sipgram.errors import Unavailable
from sipgram.services.listeners.store import Event


class Stream:
    """What waits for one listener; one that does not read is cut off."""

    def __init__(self, events_max: int) -> None:
        self.is_cut = False
        self._events_max = events_max
        self._events: deque[Event] = deque()
        self._is_there = asyncio.Event()

    def cut(self) -> None:
        """Let its listener go on later."""
        self.is_cut = True
        self._is_there.set()

    def add(self, event: Event) -> None:
        """Let an event wait."""
        if len(self._events) >= self._events_max:
            self.is_cut = True  # What it misses is in the inbox, behind its Last-Event-ID.
        else:
            self._events.append(event)
        self._is_there.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until something is there; False when nothing came."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_there.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> Iterable[Event]:
        """Return what waits."""
        events, self._events = self._events, deque()
        self._is_there.clear()
        return events


class Hub:
    """All streams, by account."""

    def __init__(self, *, streams_max: int, events_max: int) -> None:
        """``events_max`` may wait for one stream."""
        self._streams_max = streams_max
        self._events_max = events_max
        self._by_aor: dict[str, list[Stream]] = {}
        self._of_all: list[Stream] = []
        self.count = 0

    def open(self, aors: Iterable[str] | None) -> Stream:
        """Return a new stream of some accounts, of all when None.

        Raises:
            Unavailable: there are too many.
        """
        if self.count >= self._streams_max:
            raise Unavailable(f"more than {self._streams_max} streams are open", retry_after_s=30)
        stream = Stream(self._events_max)
        self.count += 1
        if aors is None:
            self._of_all.append(stream)
        for aor in aors or ():
            self._by_aor.setdefault(aor, []).append(stream)
        return stream

    def close(self, stream: Stream, aors: Iterable[str] | None) -> None:
        """Forget a stream."""
        self.count -= 1
        if aors is None:
            self._of_all.remove(stream)
        for aor in aors or ():
            streams = self._by_aor.get(aor, [])
            streams.remove(stream)
            if not streams:
                del self._by_aor[aor]

    def cut(self) -> None:
        """End all streams: the server goes down."""
        for streams in (*self._by_aor.values(), self._of_all):
            for stream in streams:
                stream.cut()

    def has(self, aor: str) -> bool:
        """Say whether somebody listens to an account."""
        return aor in self._by_aor or bool(self._of_all)

    def publish(self, event: Event) -> None:
        """Give an event to those who listen."""
        for stream in self._by_aor.get(event.aor, ()):
            stream.add(event)
        for stream in self._of_all:
            stream.add(event)
