"""The queue of wake-ups: bounded, retried a few times, never in anybody's way (D25)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import structlog.testing

from sipgram.services.push.provider import PushFailed, Wake
from sipgram.services.push.service import ANY, Pusher
from sipgram.settings import PushSettings
from sipgram.sip.push import Push
from sipgram.testing.clock import ManualClock

PHONE = Push(b"acme", b"ZTY4ZDJlMzODE1NmUgKi0K")
SOON = PushSettings(retry_s=0.001, timeout_s=0.05)


class Service:
    """A push service in memory; ``faults`` are raised first."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.told: list[Wake] = []
        self.tries = 0
        self.is_mute = False
        self.is_closed = False
        self.news = asyncio.Event()

    async def tell(self, wake: Wake) -> None:
        self.tries += 1
        if self.is_mute:
            self.news.set()
            await asyncio.Event().wait()
        fault = self.faults.pop(0) if self.faults else None
        self.news.set()
        if fault is not None:
            raise fault
        self.told.append(wake)

    async def close(self) -> None:
        self.is_closed = True

    async def until(self, tries: int) -> None:
        async with asyncio.timeout(5):
            while self.tries < tries:
                self.news.clear()
                await self.news.wait()
        await asyncio.sleep(0)


@asynccontextmanager
async def running(
    service: Service, *, name: bytes = b"acme", settings: PushSettings = SOON
) -> AsyncIterator[Pusher]:
    pusher = Pusher({name: service}, settings=settings, clock=ManualClock(0.0))
    task = asyncio.create_task(pusher.run())
    try:
        yield pusher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert service.is_closed


async def test_d25_a_service_is_told_once() -> None:
    service = Service()
    async with running(service) as pusher:
        pusher.wake("sip:bob@example.com", PHONE)
        await service.until(1)

        assert service.told == [Wake(PHONE, "sip:bob@example.com", "message")]
        assert pusher.told == {"acme": 1}
        assert pusher.waiting == 0


async def test_d25_a_temporary_failure_is_tried_again_and_not_for_ever() -> None:
    away = PushFailed("503", is_temporary=True)
    service = Service(away, away)
    async with running(service) as pusher:
        pusher.wake("sip:bob@example.com", PHONE)
        await service.until(3)
        assert len(service.told) == 1

        service.faults = [away] * 9
        service.tries = 0
        pusher.wake("sip:bob@example.com", PHONE)
        await service.until(SOON.attempts_max)
        await asyncio.sleep(0)
        assert service.tries == SOON.attempts_max
        assert pusher.failed == {"acme": 1}


async def test_d25_a_final_failure_is_logged_without_the_phones_name() -> None:
    service = Service(PushFailed("410 Unregistered", is_temporary=False))
    with structlog.testing.capture_logs() as lines:
        async with running(service) as pusher:
            pusher.wake("sip:bob@example.com", PHONE)
            await service.until(1)
            await asyncio.sleep(0)

    assert [line["event"] for line in lines] == ["push not told"]
    assert PHONE.prid.decode() not in repr(lines)
    assert service.tries == 1


async def test_a_service_that_does_not_answer_holds_nobody_up_for_long() -> None:
    service = Service()
    service.is_mute = True
    async with running(service, settings=PushSettings(timeout_s=0.01, attempts_max=1)) as pusher:
        for _ in range(20):
            pusher.wake("sip:bob@example.com", PHONE)
        await service.until(20)
        assert pusher.failed["acme"] >= 12


async def test_a_fault_of_ours_does_not_end_the_others() -> None:
    service = Service(ZeroDivisionError())
    async with running(service) as pusher:
        pusher.wake("sip:bob@example.com", PHONE)
        pusher.wake("sip:bob@example.com", PHONE)
        await service.until(2)
        assert len(service.told) == 1


async def test_the_queue_is_bounded() -> None:
    """One below, at and above the limit."""
    pusher = Pusher(
        {b"acme": Service()}, settings=PushSettings(queue_max=2), clock=ManualClock(0.0)
    )
    for expected in ((1, 0), (2, 0), (2, 1)):
        pusher.wake("sip:bob@example.com", PHONE)
        assert (pusher.waiting, pusher.dropped) == expected


async def test_who_has_no_service_is_not_queued_unless_one_takes_any() -> None:
    other = Push(b"other", b"x")
    pusher = Pusher({b"acme": Service()}, settings=PushSettings(), clock=ManualClock(0.0))
    pusher.wake("sip:bob@example.com", other)
    assert pusher.waiting == 0

    service = Service()
    async with running(service, name=ANY) as taker:
        taker.wake("sip:bob@example.com", other)
        await service.until(1)


# ---- registrations that are about to end ----------------------------------------------------------


@dataclass
class Phone:
    """A binding."""

    expires: float
    aor: str = "sip:bob@example.com"
    push: Push | None = field(default=PHONE)
    is_bound: bool = True


@pytest.mark.rfc("8599", "5.5")
@pytest.mark.parametrize(("for_s", "due_s"), [(3600, 3480), (240, 120), (60, 30)])
def test_a_phone_is_woken_120_s_before_its_registration_ends(for_s: int, due_s: int) -> None:
    clock = ManualClock(0.0)
    pusher = Pusher({b"acme": Service()}, settings=PushSettings(), clock=clock)
    pusher.watch(Phone(expires=for_s))

    pusher.tick(due_s - 1)
    assert pusher.waiting == 0
    pusher.tick(due_s)
    assert pusher.waiting == 1
    for now in range(due_s, for_s + 2):
        pusher.tick(now)
    assert pusher.waiting == 1


@pytest.mark.rfc("8599", "5.5")
def test_a_phone_that_has_refreshed_or_gone_is_not_woken() -> None:
    pusher = Pusher({b"acme": Service()}, settings=PushSettings(), clock=ManualClock(0.0))
    refreshed, gone = Phone(expires=600), Phone(expires=600)
    pusher.watch(refreshed)
    pusher.watch(gone)
    refreshed.expires = 900
    gone.is_bound = False

    pusher.tick(480)
    assert pusher.waiting == 0
    pusher.tick(780)
    assert pusher.waiting == 1
