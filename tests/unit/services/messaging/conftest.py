"""The message store on both engines."""

from collections.abc import AsyncIterator

import pytest

from .shelf import Shelf, shelf_at


@pytest.fixture
async def shelf(database_address: str) -> AsyncIterator[Shelf]:
    async with shelf_at(database_address) as shelf:
        yield shelf
