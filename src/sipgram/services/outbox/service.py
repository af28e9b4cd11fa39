"""Accepts messages on disk, sends them when it is their time, and follows each to its end."""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import structlog

from sipgram.db.writer import LastOf
from sipgram.errors import Error, Unavailable
from sipgram.services.injection import Injects, Outcome
from sipgram.services.outbox import rules
from sipgram.services.outbox.store import OutboxStore, Outgoing, State, Submission
from sipgram.settings import HttpSettings

log = structlog.get_logger("sipgram.outbox")

TURN_S: Final = 0.004
"""Work done in one turn of the loop."""
AT_ONCE: Final = 48
"""Messages sent in one turn: when they are stored, their commits come back together, too."""
PAUSE_S: Final = 0.003
"""Between two turns, for everybody else."""
LOOK_EVERY: Final = 8
"""Messages sent between two looks at the clock."""
CHUNK: Final = 150
"""Rows given to the writer in one turn of the loop."""
DUE_AT_ONCE: Final = 200
LATELY_MAX: Final = 2_000
"""Outcomes remembered for those who wait for them."""
RETRY_MAX_S: Final = 60.0
"""The longest pause before a message is tried again that could not be stored."""
LIFETIME_MAX_S: Final = 7 * 86_400
"""As long as any message is worth (D21)."""

_STATES: Final[dict[str, State]] = {
    "waiting": "stored",
    "delivered": "delivered",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
"""What the states of stored messages are called here."""


class Fact(Protocol):
    """Who hears what becomes of messages."""

    def __call__(self, message: Outgoing) -> None:
        """Its state is another now."""


class Ids(Protocol):
    """Where ids come from."""

    def next(self) -> int:
        """Return a new one."""

    def seen(self, id: int) -> None:
        """Stay above one."""


class Outbox:
    """All messages that came by HTTP and have not ended."""

    def __init__(
        self,
        store: OutboxStore,
        injector: Injects,
        *,
        ids: Ids,
        secret: bytes,
        domain: str,
        settings: HttpSettings,
        clock: Callable[[], float],
        wall: Callable[[], float],
        cancel: Callable[[int, Callable[[bool], None]], None],
        leading: Callable[[str], str],
    ) -> None:
        """``cancel`` takes back a message that is stored and that nobody has taken.

        ``leading`` returns the first name of an account by any of its names.
        """
        self._leading = leading
        self.store = store
        self.settings = settings
        self.ids = ids
        self.domain = domain
        self.wall = wall
        self._injector = injector
        self._secret = secret
        self._clock = clock
        self._cancel = cancel
        self.news: tuple[Fact, ...] = ()
        self._ready: deque[Outgoing] = deque()
        self._sending: dict[int, Outgoing] = {}
        self._known: set[int] = set()  # Ready, sending, or cancelled of late.
        self._stored: set[int] = set()  # They wait for devices.
        self._tasks: set[asyncio.Task[None]] = set()
        self._tries: dict[int, int] = {}
        self._waiters: dict[int, list[asyncio.Future[Outgoing]]] = {}
        self._lately: OrderedDict[int, Outgoing] = OrderedDict()
        self._is_pumping = False
        self._accepting = 0
        self._loop = asyncio.get_running_loop()
        self.accepted = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._sending) + self._accepting

    # ---- accepting -------------------------------------------------------------------------

    async def accept(
        self, messages: Sequence[Outgoing], submission: Submission | None = None
    ) -> None:
        """Keep messages, and only then begin to send them (D11).

        Raises:
            Unavailable: they cannot be kept now; none is sent.
        """
        if len(self) + len(messages) > self.settings.outbox_max:
            raise Unavailable(f"more than {self.settings.outbox_max} messages wait to be sent")
        self._accepting += len(messages)
        try:
            await self._keep(messages, submission)
        finally:
            self._accepting -= len(messages)
        self.accepted += len(messages)
        now = self.wall()
        for message in messages:
            if message.send_at_utc is None or message.send_at_utc <= now:
                self._known.add(message.id)
                self._ready.append(message)
        self._pump()

    async def _keep(self, messages: Sequence[Outgoing], submission: Submission | None) -> None:
        previous: asyncio.Future[None] | None = None
        try:
            for start in range(0, len(messages), CHUNK):
                chunk = messages[start : start + CHUNK]
                done = self._loop.create_future()
                last = LastOf(len(chunk), _telling(done))
                for message in chunk:
                    self.store.put(message, last)
                if previous is not None:
                    await previous  # So that two chunks are under way, and no more.
                previous = done
            if previous is not None:
                await previous
            if submission is not None:  # The last word: without it the others do not count.
                done = self._loop.create_future()
                self.store.submitted(submission, _telling(done))
                await done
        except Exception:
            # It may be on disk all the same, and nobody promised it.
            if messages and messages[0].submission:
                self.store.withdraw(messages[0].submission)
            elif messages:
                self.store.drop(messages[0].id)
            raise

    # ---- sending ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what is ready, for some milliseconds, and go on in the next turn."""
        if self._is_pumping:
            return
        self._is_pumping = True  # Until the next turn, when there is to be one.
        ends = self._clock() + TURN_S
        count = 0
        while self._ready and len(self._sending) < self.settings.sending_max:
            self._send(self._ready.popleft())
            count += 1
            if count == AT_ONCE or (count % LOOK_EVERY == 0 and self._clock() > ends):
                self._loop.call_later(PAUSE_S, self._resume)
                return
        self._is_pumping = False

    def _resume(self) -> None:
        self._is_pumping = False
        self._pump()

    def _send(self, message: Outgoing) -> None:
        self._sending[message.id] = message
        message.sent_utc = message.sent_utc or self.wall()
        try:
            raw = rules.request_of(message, secret=self._secret, domain=self.domain)
        except Error as error:  # What was checked when it came does not get here.
            self._on_outcome(message, Outcome(500, str(error), False, 0, ()))
            return
        self._injector.send(
            message.id,
            raw,
            account_id=message.account_id or None,
            done=lambda outcome: self._on_outcome(message, outcome),
        )

    def _on_outcome(self, message: Outgoing, outcome: Outcome) -> None:
        self._sending.pop(message.id, None)
        now = self.wall()
        message.status, message.reason = outcome.status, outcome.reason
        message.devices = _shown(outcome) if outcome.devices else ""
        if outcome.is_taken:
            if message.state not in ("expired", "displayed"):
                message.state = "delivered"
            message.delivered_utc = message.delivered_utc or now
            message.ended_utc = now
        elif outcome.status < 300:
            if message.state == "queued":  # Else it was delivered while it was being stored.
                message.state = "stored"
            message.stored_utc = now
        elif self._may_retry(message, outcome):
            message.state = "queued"
            tries = self._tries[message.id] = self._tries.get(message.id, 0) + 1
            wait_s = min(RETRY_MAX_S, max(1, outcome.retry_after_s) * tries)
            self._loop.call_later(wait_s, self._again, message)
            return
        else:
            message.state = "failed"
            message.ended_utc = now
        self._tries.pop(message.id, None)
        self._known.discard(message.id)
        if message.state == "stored":
            self._stored.add(message.id)
        self.store.sent(message)
        message.body = b""  # It is remembered a little for those who wait for its outcome.
        self._tell(message)
        if self._ready and not self._is_pumping:
            self._is_pumping = True
            self._loop.call_soon(self._resume)

    def _may_retry(self, message: Outgoing, outcome: Outcome) -> bool:
        """Say whether it was us who could not do it (D11): it was accepted, and is not lost."""
        if outcome.status not in (500, 503) or not outcome.retry_after_s:
            return False
        begun_utc = message.send_at_utc or message.created_utc
        worth_s = LIFETIME_MAX_S if message.expires_s < 0 else message.expires_s
        return self.wall() < begun_utc + worth_s

    def _again(self, message: Outgoing) -> None:
        if message.id in self._known:
            self._ready.append(message)
            self._pump()

    # ---- later -----------------------------------------------------------------------------

    def on_news(self, id: int, state: str) -> bool:
        """Hear of a stored message; say whether it is one of ours."""
        name, now = _STATES[state], self.wall()
        sending = self._sending.get(id)
        if sending is not None:  # Its outcome, which is still to come, is told first.
            sending.state = name
            if name == "delivered":
                sending.delivered_utc = sending.ended_utc = now
            return True
        if id not in self._stored:
            return False
        self._stored.discard(id)
        self.store.ended(id, name, is_delivered=name == "delivered", now_utc=now)
        self._start(self._tell_later(id, name))
        return True

    async def _tell_later(self, id: int, state: State) -> None:
        message = await self.store.find(id)
        if message is None or message.state == "displayed":
            return
        message.state = state
        self._tell(message)

    def on_displayed(self, id: int, by: str) -> None:
        """Somebody says that he has read a message, which counts when it was sent to him."""
        self._start(self._note_displayed(id, by))

    async def _note_displayed(self, id: int, by: str) -> None:
        message = await self.store.find(id)
        if message is None or message.displayed_utc is not None:
            return
        if self._leading(message.recipient) != by:
            return
        self.store.displayed(id, self.wall())
        message.state, message.displayed_utc = "displayed", self.wall()
        self._tell(message)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except Unavailable as error:
                log.warning("message is not followed", reason=error.reason)

        task = self._loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self, id: int, timeout_s: float) -> Outgoing | None:
        """Return a message once it is sent, None when that takes too long."""
        if (known := self._lately.get(id)) is not None:
            return known
        future: asyncio.Future[Outgoing] = self._loop.create_future()
        self._waiters.setdefault(id, []).append(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            left = [other for other in self._waiters.pop(id, []) if other is not future]
            if left:
                self._waiters[id] = left

    async def cancel(self, message: Outgoing) -> bool:
        """Take a message back; False when a device may have it already."""
        now = self.wall()
        if message.state == "stored":
            done: asyncio.Future[bool] = self._loop.create_future()
            self._cancel(message.id, done.set_result)
            return await done
        if message.id in self._sending or message.state not in ("queued", "scheduled"):
            return False
        held = next((each for each in self._ready if each.id == message.id), None)
        if held is not None:
            self._ready.remove(held)
        elif message.state == "queued" and message.id not in self._known:
            return False  # It was sent since it was read.
        self._known.discard(message.id)
        if message.state == "scheduled":
            self._known.add(message.id)  # It may be in a page of what is due.
            self._loop.call_later(60.0, self._known.discard, message.id)
        self.store.ended(message.id, "cancelled", is_delivered=False, now_utc=now)
        message.state, message.ended_utc = "cancelled", now
        self._tell(message)
        return True

    async def load(self) -> int:
        """Take up after a restart what was accepted and not sent; return how many there are."""
        self.ids.seen(await self.store.newest())
        for submission in await self.store.orphans():
            self.store.withdraw(submission)
        orphans = set(await self.store.orphans())
        async for message, stored in self.store.unsent(self.wall()):
            if message.submission in orphans:
                continue
            if stored is None:
                message.state = "queued"
                self._known.add(message.id)
                self._ready.append(message)
                continue
            message.state = _STATES[stored]
            message.stored_utc = self.wall()
            if message.state != "stored":
                message.ended_utc = self.wall()
            else:
                self._stored.add(message.id)
            self.store.sent(message)
        self._stored.update(await self.store.stored())
        return len(self._ready)

    def start(self) -> None:
        """Begin to send what ``load`` found."""
        self._pump()

    async def tick(self) -> None:
        """Send what is due, and forget what is old: once a second, some of it at a time."""
        now = self.wall()
        for message in await self.store.due(now, DUE_AT_ONCE):
            if message.id in self._known:
                continue
            if message.state == "scheduled":
                message.state = "queued"
                self._known.add(message.id)
                self._ready.append(message)
            elif message.state != "queued":
                self._stored.discard(message.id)
                self.store.drop(message.id)
        for submission in await self.store.due_submissions(now, DUE_AT_ONCE):
            self.store.forget(submission)
        self._pump()

    def _tell(self, message: Outgoing) -> None:
        for future in self._waiters.pop(message.id, ()):
            if not future.done():
                future.set_result(message)
        self._lately[message.id] = message
        if len(self._lately) > LATELY_MAX:
            self._lately.popitem(last=False)
        for hear in self.news:
            hear(message)


def _telling(future: "asyncio.Future[None]") -> Callable[[Exception | None], None]:
    def done(error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # Whoever waits hears it; nobody else need.

    return done


def _shown(outcome: Outcome) -> str:
    return json.dumps(
        [
            {
                "device": device.instance.decode(errors="replace"),
                "contact": device.contact.decode(errors="replace"),
                "status": device.status,
                "state": device.state,
            }
            for device in outcome.devices
        ]
    )
