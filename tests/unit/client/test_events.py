"""The queue between the network and whoever reads."""

import asyncio
from datetime import UTC, datetime

import pytest

from sipgram.client.events import ConnectionState, Event, EventQueue
from sipgram.client.messages import Message

REGISTERED = ConnectionState("registered")
LOST = ConnectionState("lost", "no answer")


def message(text: str) -> Message:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Message("1", "sip:b@c", "sip:a@c", text, b"", "text/plain", now, False, "1", b"")


async def rest(queue: EventQueue) -> list[Event]:
    queue.close()
    return [event async for event in queue]


async def test_events_come_in_order() -> None:
    queue = EventQueue(waiting_max=10, messages_max=None)

    queue.tell(REGISTERED)
    queue.offer(message("one"))
    queue.tell(LOST)
    queue.offer(message("two"))

    assert await rest(queue) == [REGISTERED, message("one"), LOST, message("two")]


async def test_full_queue_refuses_until_one_is_read() -> None:
    queue = EventQueue(waiting_max=2, messages_max=None)

    assert [queue.offer(message(text)) for text in ("1", "2", "3")] == [True, True, False]
    assert await anext(queue) == message("1")
    assert queue.offer(message("4"))


async def test_no_more_messages_are_taken_than_wanted() -> None:
    queue = EventQueue(waiting_max=10, messages_max=1)

    assert queue.offer(message("1"))
    assert await anext(queue) == message("1")
    assert not queue.offer(message("2"))


async def test_states_are_told_once_and_the_last_one_counts() -> None:
    queue = EventQueue(waiting_max=10, messages_max=None)

    for state in (REGISTERED, REGISTERED, LOST, LOST, REGISTERED):
        queue.tell(state)

    assert await rest(queue) == [REGISTERED]


async def test_first_state_comes_before_all_messages() -> None:
    queue = EventQueue(waiting_max=10, messages_max=None)

    queue.offer(message("1"))
    queue.tell(REGISTERED)

    assert await rest(queue) == [REGISTERED, message("1")]


async def test_reader_wakes_when_something_comes() -> None:
    queue = EventQueue(waiting_max=10, messages_max=None)
    reader = asyncio.ensure_future(anext(queue))
    await asyncio.sleep(0)

    queue.offer(message("late"))

    assert await reader == message("late")


async def test_closed_queue_takes_nothing_and_ends_with_its_error() -> None:
    queue = EventQueue(waiting_max=10, messages_max=None)
    queue.offer(message("1"))

    queue.close(ValueError("a mistake"))

    assert not queue.offer(message("2"))
    assert await anext(queue) == message("1")
    with pytest.raises(ValueError, match="a mistake"):
        await anext(queue)
