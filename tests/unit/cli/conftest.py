"""Commands run in the test's process, against a peer whose loop is in another thread."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from sipgram.cli.main import main

from ..client.peer import Peer

T = TypeVar("T")


class PeerThread:
    """A peer that runs beside the test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.peer = self.do(self._start())

    async def _start(self) -> Peer:
        return await Peer().__aenter__()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the peer's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=10)

    def begin(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        """Run something on the peer's loop, beside the command."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def stop(self) -> None:
        self.do(self.peer.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> dict[str, object]:
        """The one JSON object on standard output."""
        (line,) = self.out.splitlines()
        found: dict[str, object] = json.loads(line)
        return found


Run = Callable[..., Ran]


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerThread]:
    monkeypatch.delenv("SIPGRAM_PASSWORD", raising=False)
    started = PeerThread()
    yield started
    started.stop()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``sipgram`` with arguments to its end."""

    def run_main(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, out, err)

    return run_main
