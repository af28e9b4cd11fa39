"""Small messages that nobody waits for: receipts, typing (RFC 5438, RFC 3994; DELIVERY.md D24)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from sipgram.client.messages import NoAnswer, Rejected


class Errands:
    """Runs them beside everything else, so many at a time; one more is left undone."""

    def __init__(self, *, at_most: int) -> None:
        self._at_most = at_most
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin one; that it fails is of no interest to anybody."""
        if len(self._tasks) >= self._at_most:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, within_s: float) -> None:
        """Let those that run come to their end, for a while."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=within_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (Rejected, NoAnswer):
        return
