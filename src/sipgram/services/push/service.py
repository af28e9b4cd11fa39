"""The queue before the push services: bounded, off every other path, each wake told once (D25)."""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final, Protocol

import structlog

from sipgram.services.push.provider import Provider, PushFailed, Wake, Why
from sipgram.settings import PushSettings
from sipgram.sip.push import Push

log = structlog.get_logger("sipgram.push")

ANY: Final = b"*"
"""The name of the provider that gets what no other is for."""
REFRESH_BEFORE_S: Final = 120.0
"""RFC 8599 §5.5: a phone is woken this long before its registration ends."""
RETRY_MAX_S: Final = 300.0
REFRESHES_AT_ONCE: Final = 200
"""Registrations looked at in one second; the rest have their turn in the next."""


class WokenBinding(Protocol):
    """A binding whose phone can be woken."""

    aor: str
    expires: float
    push: Push | None

    @property
    def is_bound(self) -> bool:
        """Whether it has not ended."""


class Pusher:
    """Tells push services; ``run`` is the task that does it, ``wake`` never waits."""

    def __init__(
        self,
        providers: Mapping[bytes, Provider],
        *,
        settings: PushSettings,
        clock: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._settings = settings
        self._clock = clock
        self._queue: deque[tuple[Wake, int]] = deque()  # With the number of the attempt.
        self._waiting = 0  # For their next attempt.
        self._news = asyncio.Event()
        self._refreshes: list[tuple[float, int, WokenBinding]] = []
        self._numbers = count()
        self.told: Counter[str] = Counter()
        "By service."
        self.failed: Counter[str] = Counter()
        self.dropped = 0
        "Not told because the queue was full."

    def wake(self, aor: str, push: Push, *, why: Why = "message") -> None:
        """Queue a wake-up for a phone; dropped when there is nobody to tell or no room."""
        if self._provider(push.provider) is None:
            return
        if len(self._queue) + self._waiting >= self._settings.queue_max:
            self.dropped += 1
            return
        self._queue.append((Wake(push, aor, why), 1))
        self._news.set()

    # ---- registrations that are about to end (RFC 8599 §5.5) -------------------------------

    def watch(self, binding: WokenBinding) -> None:
        """See to it that a phone is woken to refresh its registration."""
        if binding.push is not None and self._provider(binding.push.provider) is not None:
            self._plan(binding, self._clock())

    def tick(self, now: float) -> None:
        """Wake those whose registration is about to end; once a second."""
        for _ in range(REFRESHES_AT_ONCE):
            if not self._refreshes or self._refreshes[0][0] > now:
                return
            _, _, binding = heapq.heappop(self._refreshes)
            if not binding.is_bound or binding.push is None or binding.expires <= now:
                continue
            if binding.expires - now <= REFRESH_BEFORE_S:
                self.wake(binding.aor, binding.push, why="refresh")
                # Once for each registration: the next look is when a refresh would have moved it.
                heapq.heappush(self._refreshes, (binding.expires, next(self._numbers), binding))
            else:
                self._plan(binding, now)

    def _plan(self, binding: WokenBinding, now: float) -> None:
        left_s = binding.expires - now
        due = now + max(left_s - REFRESH_BEFORE_S, left_s / 2)
        heapq.heappush(self._refreshes, (due, next(self._numbers), binding))

    # ---- telling ---------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Wake-ups that are not told yet."""
        return len(self._queue) + self._waiting

    async def run(self) -> None:
        """Tell what is queued, some at a time, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._settings.at_once):
                    group.create_task(self._work())
        finally:
            for provider in set(self._providers.values()):
                await provider.close()

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            await self._tell(*self._queue.popleft())

    async def _tell(self, wake: Wake, attempt: int) -> None:
        provider = self._provider(wake.push.provider)
        assert provider is not None
        # Names that phones make up are not counted apart, nor logged.
        known = wake.push.provider if wake.push.provider in self._providers else ANY
        name = known.decode("utf-8", "replace")
        failure = await self._attempt(provider, wake)
        if failure is None:
            self.told[name] += 1
        elif failure.is_temporary and attempt < self._settings.attempts_max:
            after_s = max(self._settings.retry_s * 4 ** (attempt - 1), failure.retry_after_s)
            self._waiting += 1
            loop = asyncio.get_running_loop()
            loop.call_later(min(after_s, RETRY_MAX_S), self._again, wake, attempt + 1)
        else:
            self.failed[name] += 1
            # What the service says, never the phone's name at it, nor credentials.
            log.warning("push not told", aor=wake.aor, service=name, reason=failure.reason)

    def _again(self, wake: Wake, attempt: int) -> None:
        self._waiting -= 1
        self._queue.append((wake, attempt))
        self._news.set()

    async def _attempt(self, provider: Provider, wake: Wake) -> PushFailed | None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await provider.tell(wake)
        except PushFailed as failure:
            return failure
        except TimeoutError:
            return PushFailed("no answer in time", is_temporary=True)
        except Exception as error:  # A task boundary: one provider's fault must not end the others.
            log.error("push provider failed", error=type(error).__name__)
            return PushFailed(type(error).__name__, is_temporary=False)
        return None

    def _provider(self, name: bytes) -> Provider | None:
        return self._providers.get(name) or self._providers.get(ANY)
