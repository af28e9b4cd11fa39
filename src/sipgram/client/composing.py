"""Who is typing, seen and told (RFC 3994): the machines of ``payload/iscomposing.py`` and a clock."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from sipgram.client.errands import Errands
from sipgram.client.messages import NoAnswer, Rejected
from sipgram.payload.iscomposing import Composer, IsComposing, Watcher

PEERS_MAX: Final = 256
"""Peers whose typing is followed, each way; beyond that the one heard of least lately goes."""

Send = Callable[[bytes, bytes], Awaitable[None]]
"""Sends a status document to a URI."""


class TypingSeen:
    """What peers do, by AoR; ``tell`` hears of changes alone."""

    def __init__(self, tell: Callable[[str, bool], None]) -> None:
        self._tell = tell
        self._watchers: OrderedDict[str, Watcher] = OrderedDict()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def receive(self, sender: str, status: IsComposing) -> None:
        """Take a status message."""
        watcher = self._watchers.pop(sender, None) or Watcher()
        self._watchers[sender] = watcher
        if len(self._watchers) > PEERS_MAX:
            self._forget(next(iter(self._watchers)))
        self._note(sender, watcher, watcher.receive(status, asyncio.get_running_loop().time()))

    def message(self, sender: str) -> None:
        """A message came: its sender is idle now."""
        watcher = self._watchers.get(sender)
        if watcher is not None:
            self._note(sender, watcher, watcher.message())

    def close(self) -> None:
        """Wait for nobody any more."""
        for sender in list(self._watchers):
            self._forget(sender)

    def _note(self, sender: str, watcher: Watcher, change: bool | None) -> None:
        timer = self._timers.pop(sender, None)
        if timer is not None:
            timer.cancel()
        if watcher.is_active:
            loop = asyncio.get_running_loop()
            self._timers[sender] = loop.call_at(watcher.due, self._advance, sender)
        else:
            self._watchers.pop(sender, None)
        if change is not None:
            self._tell(sender, change)

    def _advance(self, sender: str) -> None:
        watcher = self._watchers.get(sender)
        if watcher is not None:
            self._note(sender, watcher, watcher.advance(watcher.due))

    def _forget(self, sender: str) -> None:
        self._watchers.pop(sender, None)
        timer = self._timers.pop(sender, None)
        if timer is not None:
            timer.cancel()


class TypingTold:
    """What we do, told to peers until one of them refuses to hear of it."""

    def __init__(self, send: Send, errands: Errands) -> None:
        self._send = send
        self._errands = errands
        self._composers: OrderedDict[bytes, Composer] = OrderedDict()
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._refused: OrderedDict[bytes, None] = OrderedDict()

    async def type(self, uri: bytes) -> None:
        """A key was pressed."""
        if uri in self._refused:
            return
        composer = self._composers.pop(uri, None) or Composer()
        self._composers[uri] = composer
        if len(self._composers) > PEERS_MAX:
            self.sent(next(iter(self._composers)))
        status = composer.type(asyncio.get_running_loop().time())
        self._wait(uri, composer)
        await self._tell(uri, status)

    async def stop(self, uri: bytes) -> None:
        """The text was thrown away."""
        composer = self._composers.pop(uri, None)
        self._stop_timer(uri)
        if composer is not None:
            await self._tell(uri, composer.stop())

    def sent(self, uri: bytes) -> None:
        """The text itself goes out, which says it all."""
        self._composers.pop(uri, None)
        self._stop_timer(uri)

    def close(self) -> None:
        """Tell nothing more."""
        for uri in list(self._composers):
            self.sent(uri)

    async def _tell(self, uri: bytes, status: IsComposing | None) -> None:
        if status is None or uri in self._refused:
            return
        try:
            await self._send(uri, bytes(status))
        except Rejected as error:
            if error.status in (405, 415, 488, 501):
                self._refused[uri] = None
                if len(self._refused) > PEERS_MAX:
                    self._refused.popitem(last=False)
        except NoAnswer:
            return  # It is told again when it is refreshed.

    def _wait(self, uri: bytes, composer: Composer) -> None:
        self._stop_timer(uri)
        loop = asyncio.get_running_loop()
        self._timers[uri] = loop.call_at(composer.due, self._rest, uri)

    def _rest(self, uri: bytes) -> None:
        """No key was pressed for long."""
        self._errands.start(self.stop(uri))

    def _stop_timer(self, uri: bytes) -> None:
        timer = self._timers.pop(uri, None)
        if timer is not None:
            timer.cancel()
