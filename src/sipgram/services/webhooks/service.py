"""The webhooks of accounts, and the lanes in which events reach them."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol
from weakref import WeakValueDictionary

import structlog

from sipgram.errors import SettingsError, Unavailable
from sipgram.services.answers import Done
from sipgram.services.webhooks import rules
from sipgram.services.webhooks.caller import Calls
from sipgram.services.webhooks.rules import Webhook
from sipgram.services.webhooks.store import QueuedEvent, WebhookStore
from sipgram.settings import WebhookSettings

log = structlog.get_logger("sipgram.webhooks")

DATABASE_RETRY_S: Final = 2.0


class Happened(Protocol):
    """An event, as the listeners make it."""

    @property
    def aor(self) -> str:
        """Whose it is."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def data(self) -> bytes:
        """JSON of the whole event."""


class Ids(Protocol):
    """Where ids come from."""

    def next(self) -> int:
        """Return a new one."""

    def seen(self, id: int) -> None:
        """Stay above one."""


class Webhooks:
    """All webhooks; each lane tells its events one after the other."""

    def __init__(
        self,
        store: WebhookStore,
        caller: Calls,
        *,
        ids: Ids,
        settings: WebhookSettings,
        callback_secret: Callable[[str], str],
        wall: Callable[[], float],
    ) -> None:
        """``callback_secret`` signs callbacks of single messages, by who asked for them."""
        self.store = store
        self.settings = settings
        self._caller = caller
        self._ids = ids
        self._callback_secret = callback_secret
        self._wall = wall
        self._hooks: dict[str, Webhook] = {}
        self._by_aor: dict[str, list[Webhook]] = {}
        self._lanes: dict[str, Lane] = {}
        self._turns = asyncio.Semaphore(settings.at_once)
        self._own_turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.waiting = 0
        self.told = 0
        self.died = 0

    # ---- webhooks --------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the webhooks and what they are to be told."""
        await self.refresh()
        async for place in self.store.waiting():
            self._ids.seen(place.id)
            self._lane(place.lane).add(place.id, place.due_utc)

    async def refresh(self) -> None:
        """Take in what changed."""
        hooks = await self.store.all()
        self._hooks = {hook.id: hook for hook in hooks}
        self._by_aor = {}
        for hook in hooks:
            self._by_aor.setdefault(hook.aor, []).append(hook)

    def of(self, aors: Sequence[str] | None) -> list[Webhook]:
        """Return the webhooks of some accounts, of all when None."""
        return [hook for hook in self._hooks.values() if aors is None or hook.aor in aors]

    def find(self, id: str) -> Webhook | None:
        """Return one."""
        return self._hooks.get(id)

    def wants(self, aor: str, kind: str) -> bool:
        """Say whether a webhook of an account is to hear of a kind of event."""
        return any(kind in hook.kinds for hook in self._by_aor.get(aor, ()))

    async def keep(self, webhook: Webhook) -> None:
        """Keep a webhook that is new or changed.

        Raises:
            SettingsError: it may not go there, or the account has too many.
        """
        rules.check_url(webhook.url, may_be_private=self.settings.allow_private)
        mine = self._by_aor.get(webhook.aor, [])
        if webhook.id not in self._hooks and len(mine) >= self.settings.per_account_max:
            raise SettingsError(f"an account has {self.settings.per_account_max} webhooks at most")
        await self.store.add(webhook)
        await self.refresh()

    async def remove(self, webhook: Webhook) -> None:
        """Forget a webhook and what it was to be told."""
        await self.store.remove(webhook.id)
        await self.refresh()
        for name in [name for name in self._lanes if name.startswith(f"{webhook.id} ")]:
            lane = self._lanes.pop(name)
            self.waiting -= len(lane)
            lane.clear()

    # ---- events ----------------------------------------------------------------------------

    def on_event(self, event: Happened, done: Done) -> None:
        """Keep an event for the webhooks that want it."""
        hooks = [hook for hook in self._by_aor.get(event.aor, ()) if event.kind in hook.kinds]
        if not hooks:
            done(None)
            return
        value = json.loads(event.data)
        data = value["data"]
        party = data.get("from" if event.kind == "message.received" else "to", "")
        left = len(hooks)

        def one(error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if error is not None and left >= 0:
                left = -1
                done(error)
            elif left == 0:
                done(None)

        for hook in hooks:
            self._put(f"{hook.id} {party}", value["id"], event.data, hook.id, hook.url, one)

    def call_back(self, url: str, *, caller: str, to: str, event_id: str, body: bytes) -> None:
        """Tell one event to the URL that a message was sent with."""
        lane = f"callback {caller} {to} {url}"
        try:
            self._put(lane, event_id, body, "", url, lambda error: None)
        except Unavailable as error:
            log.warning("callback is lost", url=url, reason=error.reason)

    def _put(
        self, lane: str, event_id: str, body: bytes, webhook_id: str, url: str, done: Done
    ) -> None:
        if self.waiting >= self.settings.queue_max:
            raise Unavailable(f"{self.settings.queue_max} events wait to be told")
        now = self._wall()
        event = QueuedEvent(
            id=self._ids.next(),
            webhook_id=webhook_id,
            url=url,
            lane=lane,
            event_id=event_id,
            body=body,
            state="waiting",
            tries=0,
            status=0,
            reason="",
            created_utc=now,
            due_utc=now,
        )

        def kept(error: Exception | None) -> None:
            if error is None:
                self._lane(lane).add(event.id, now)
            done(error)

        self.store.put(event, kept)

    async def again(self, event: QueuedEvent) -> None:
        """Tell once more what could not be told."""
        now = self._wall()
        kept: asyncio.Future[Exception | None] = self._loop.create_future()
        news = replace(event, state="waiting", tries=0, created_utc=now, due_utc=now)
        self.store.tried(news, kept.set_result)
        if (error := await kept) is not None:
            raise error
        self._lane(event.lane).add(event.id, now)

    # ---- lanes -----------------------------------------------------------------------------

    def _lane(self, name: str) -> "Lane":
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, self)
        return lane

    def begin(self, lane: "Lane") -> None:
        """Let a lane work."""
        if self._is_closed:
            return
        task = self._loop.create_task(lane.work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def over(self, lane: "Lane") -> None:
        """A lane has nothing left."""
        if self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]

    async def attempt(self, id: int) -> float:
        """Try to tell one event; return when to try again, 0 when there is no need to."""
        try:
            event = await self.store.read(id)
        except Unavailable:
            return self._wall() + DATABASE_RETRY_S
        if event is None or event.state != "waiting":
            return 0.0
        secrets = self._secrets(event)
        if not secrets:
            self.store.drop(id)  # Its webhook is gone.
            return 0.0
        async with self._turn_of(event), self._turns:
            at_utc = int(self._wall())
            headers = rules.headers_of(secrets, id=event.event_id, at_utc=at_utc, body=event.body)
            answer = await self._caller.post(event.url, headers, event.body)
        if answer.is_heard:
            self.told += 1
            self.store.drop(id)
            return 0.0
        now, tries = self._wall(), event.tries + 1
        due = now + rules.backoff_s(tries, self.settings.retry_s)
        is_dead = due > event.created_utc + self.settings.give_up_s
        self.store.tried(
            replace(
                event,
                state="dead" if is_dead else "waiting",
                tries=tries,
                status=answer.status,
                reason=answer.reason,
                due_utc=due,
            )
        )
        if is_dead:
            self.died += 1
            log.warning("webhook is given up", url=event.url, status=answer.status)
        return 0.0 if is_dead else due

    def _turn_of(self, event: QueuedEvent) -> asyncio.Semaphore:
        """Let no receiver that is slow take the turns of the others."""
        name = event.webhook_id or event.lane.split(" ")[1]
        turn = self._own_turns.get(name)
        if turn is None:
            turn = self._own_turns[name] = asyncio.Semaphore(max(1, self.settings.at_once // 4))
        return turn

    def _secrets(self, event: QueuedEvent) -> tuple[str, ...]:
        if not event.webhook_id:
            return (self._callback_secret(event.lane.split(" ")[1]),)
        hook = self._hooks.get(event.webhook_id)
        if hook is None:
            return ()
        if hook.old_secret and self._wall() < hook.old_until_utc:
            return (hook.secret, hook.old_secret)
        return (hook.secret,)

    def wait_s(self, due_utc: float) -> float:
        """Return how long it is until an instant."""
        return max(0.0, due_utc - self._wall())

    async def close(self) -> None:
        """End; what is not told is told after the next start."""
        self._is_closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Lane:
    """Events for one webhook about one party: in their order, one at a time."""

    def __init__(self, name: str, webhooks: Webhooks) -> None:
        self.name = name
        self._ids: deque[int] = deque()
        self._all = webhooks
        self._due_utc = 0.0
        self._is_working = False

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: int, due_utc: float) -> None:
        """Let an event wait for its turn."""
        if id in self._ids:
            return
        if not self._ids:
            self._due_utc = due_utc
        self._ids.append(id)
        self._all.waiting += 1
        if not self._is_working:
            self._is_working = True
            self._all.begin(self)

    def clear(self) -> None:
        """Forget all of it."""
        self._ids.clear()

    async def work(self) -> None:
        """Tell what waits until nothing does."""
        try:
            while self._ids:
                await asyncio.sleep(self._all.wait_s(self._due_utc))
                if not self._ids:
                    break
                id = self._ids[0]
                self._due_utc = await self._all.attempt(id)
                if not self._due_utc and self._ids and self._ids[0] == id:
                    self._ids.popleft()
                    self._all.waiting -= 1
        finally:
            self._is_working = False
        self._all.over(self)
