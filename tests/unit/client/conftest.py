"""A peer for each test, and clients that talk to it."""

from collections.abc import AsyncIterator

import pytest

from sipgram.client.settings import ClientSettings

from .peer import TIMERS, Peer

SETTINGS = ClientSettings(timers=TIMERS, retry_first_s=0.01, leave_s=1.0)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as started:
        yield started


@pytest.fixture
async def strict() -> AsyncIterator[Peer]:
    """A peer that wants a password."""
    async with Peer(password="secret") as started:
        yield started
