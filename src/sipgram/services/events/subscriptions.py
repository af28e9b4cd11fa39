"""All subscriptions: found by dialog and by resource, told of changes in steps (RFC 6665 §4.2)."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from sipgram.errors import Refusal
from sipgram.services.event_package import EventPackage
from sipgram.services.events.store import EventStore
from sipgram.settings import EventSettings
from sipgram.sip.branch import Brancher
from sipgram.sip.events.deadlines import Deadlines
from sipgram.sip.events.subscription import Phase, Subscription
from sipgram.sip.sink import Flow
from sipgram.sip.timers import NEVER, Sleeper
from sipgram.sip.transaction.table import TransactionTable

STEP: Final = 64
"""NOTIFYs begun in one turn of the loop: about 2 ms of work."""
RESERVED: Final = 1_000
"""CSeq numbers that are reserved on disk at one time, so that a restart never goes back."""
AT_ONCE: Final = 0.0
SOON_S: Final = 0.05
"""On a stream the first NOTIFY comes this long after the 200: some phones read one message a packet."""
LOOK_S: Final = 1.0

Key = tuple[bytes, str]
"""Package and leading AoR."""


class Subscriptions:
    """Keeps them all, and is the ``Notifier`` of each."""

    def __init__(
        self,
        packages: Mapping[bytes, EventPackage],
        store: EventStore,
        *,
        settings: EventSettings,
        brancher: Brancher,
        clock: Callable[[], float],
        address_of: Callable[[Flow], bytes],
        find_flow: Callable[[Subscription], Flow | None] = lambda subscription: None,
    ) -> None:
        """``address_of`` tells host, port and parameters under which a peer on a flow reaches us;
        ``find_flow`` another way to a watcher whose connection has closed.
        """
        self._packages = packages
        self._store = store
        self._settings = settings
        self._brancher = brancher
        self._clock = clock
        self._address_of = address_of
        self._find_flow = find_flow
        self._by_tag: dict[bytes, Subscription] = {}
        self._by_key: dict[Key, dict[bytes, Subscription]] = {}
        self._of_watcher: dict[str, dict[bytes, Subscription]] = {}
        self._deadlines = Deadlines[Subscription]()
        self._look = _Look(self)
        self._fan_out = _FanOut(self)
        self.notified = 0
        "NOTIFYs sent, without retransmissions."
        self.table: TransactionTable

    def attach(self, table: TransactionTable) -> None:
        """Take the transactions that NOTIFYs go by."""
        self.table = table

    def __len__(self) -> int:
        return len(self._by_tag)

    def of_tag(self, tag: bytes) -> Subscription | None:
        """Return the subscription whose dialog has this tag of ours."""
        return self._by_tag.get(tag)

    def of(self, package: bytes, aor: str) -> list[Subscription]:
        """Return the subscriptions to one resource, in the order of their coming."""
        return list(self._by_key.get((package, aor), {}).values())

    def by_watcher(self, watcher: str) -> list[Subscription]:
        """Return what one watcher watches."""
        return list(self._of_watcher.get(watcher, {}).values())

    def is_watched(self, package: bytes, aor: str) -> bool:
        """Say whether anybody subscribes to a resource."""
        return (package, aor) in self._by_key

    def concerns(self, aor: str) -> bool:
        """Say whether a binding of an AoR matters to anybody: it watches, or is watched."""
        if not self._by_tag:
            return False
        keys = self._by_key
        return aor in self._of_watcher or (b"reg", aor) in keys or (b"presence", aor) in keys

    def aors_of(self, package: bytes) -> list[str]:
        """Return who is watched by a package."""
        return [aor for name, aor in self._by_key if name == package]

    def tell_all(self, now: float) -> None:
        """After a restart: tell every watcher the present state."""
        for package, aor in self._by_key:
            self.changed(package, aor, now)

    def aors(self) -> list[str]:
        """Return who is watched, each once."""
        return list({aor for _, aor in self._by_key})

    def check_room(self, watcher: str, key: Key) -> None:
        """Refuse one more when there are too many.

        Raises:
            Refusal: 403 for what the watcher has too many of, 480 when this server has.
        """
        limits = self._settings
        if len(self._of_watcher.get(watcher, ())) >= limits.subscriptions_per_watcher_max:
            most = limits.subscriptions_per_watcher_max
            raise Refusal(403, f"Too Many Subscriptions: {most} is the most of one watcher")
        full = len(self._by_tag) >= limits.subscriptions_max
        if full or len(self._by_key.get(key, ())) >= limits.watchers_max:
            raise Refusal(480, "Too Many Subscriptions Here", (b"Retry-After: 300",))

    def add(self, subscription: Subscription) -> None:
        """Take one that is on disk, or about to be."""
        key = subscription.event.package, subscription.resource
        self._by_tag[subscription.dialog.tag] = subscription
        self._by_key.setdefault(key, {})[subscription.dialog.tag] = subscription
        self._of_watcher.setdefault(subscription.watcher, {})[subscription.dialog.tag] = (
            subscription
        )
        self.watch_over(subscription)

    def watch_over(self, subscription: Subscription) -> None:
        """End it when its time is over, whatever it was before."""
        self._deadlines.add(subscription, subscription.expires)
        self._look.plan(self._clock())

    def remove(self, subscription: Subscription) -> None:
        """Forget one; one that is gone already is no error."""
        tag = subscription.dialog.tag
        if self._by_tag.get(tag) is not subscription:
            return
        del self._by_tag[tag]
        key = subscription.event.package, subscription.resource
        others = self._by_key[key]
        del others[tag]
        if not others:
            del self._by_key[key]
        theirs = self._of_watcher[subscription.watcher]
        del theirs[tag]
        if not theirs:
            del self._of_watcher[subscription.watcher]

    def changed(self, package: bytes, aor: str, now: float) -> None:
        """The state of a resource is another: tell its watchers, some in each turn of the loop."""
        if (package, aor) in self._by_key:
            self._fan_out.add((package, aor), now)

    def greet(self, subscription: Subscription, now: float) -> None:
        """Send the NOTIFY that each SUBSCRIBE gets, once its 200 is out (§4.2.1.2)."""
        is_stream = subscription.flow is not None and subscription.flow.is_reliable
        self.wake(_Greeting(subscription), SOON_S if is_stream else AT_ONCE, now)

    def set_phase(self, subscription: Subscription, phase: Phase, now: float) -> None:
        """Apply a changed rule to a running subscription."""
        if subscription.is_over or phase is subscription.phase:
            return
        if phase is Phase.TERMINATED:
            self.end(subscription, b"rejected", now)
            return
        subscription.phase = phase
        subscription.is_changed = True
        self._store.note_subscription(subscription, now)
        self._packages[subscription.event.package].watched(subscription, now)
        self.greet(subscription, now)

    def end(self, subscription: Subscription, reason: bytes, now: float) -> None:
        """End one, and tell its watcher why."""
        if not subscription.is_over:
            subscription.terminate(reason, now)
            self._store.drop_subscription(subscription)
            self._packages[subscription.event.package].watched(subscription, now)

    def give_up(self, subscription: Subscription, now: float) -> None:
        """Its watcher ends one (§4.2.1.4): the last NOTIFY follows the 200."""
        subscription.phase = Phase.TERMINATED
        subscription.reason = b"timeout"
        self._store.drop_subscription(subscription)
        self._packages[subscription.event.package].watched(subscription, now)
        self.greet(subscription, now)

    def end_all(self, aor: str, now: float) -> None:
        """An account is gone: nothing of it can be watched any more, nor does it watch."""
        for package in self._packages:
            for subscription in self.of(package, aor):
                self.end(subscription, b"noresource", now)
        for subscription in self.by_watcher(aor):
            self.end(subscription, b"rejected", now)

    def resume(self, watcher: str, now: float) -> None:
        """A watcher has registered: those of its subscriptions that have lost their way go on."""
        for subscription in self.by_watcher(watcher):
            if subscription.flow is None:
                self.wake(_Greeting(subscription), SOON_S, now)

    # ---- the subscriptions' own (``sip.subscription.Notifier``) -----------------------------

    def wake(self, sleeper: Sleeper, after_s: float, now: float) -> None:
        self.table.wake(sleeper, after_s, now)

    def send(
        self, subscription: Subscription, request: bytes, branch: bytes, flow: Flow, now: float
    ) -> None:
        self.notified += 1
        self.table.start_client(request, branch, b"NOTIFY", flow, subscription, now)
        if subscription.dialog.local_cseq > subscription.reserved - RESERVED // 2:
            self._store.note_subscription(subscription, now)

    def branch(self, subscription: Subscription) -> bytes:
        dialog = subscription.dialog
        return self._brancher.in_dialog(dialog.tag, dialog.local_cseq)

    def tail(self, subscription: Subscription, now: float) -> bytes:
        return self._packages[subscription.event.package].tail(subscription, now)

    def contact(self, subscription: Subscription) -> bytes:
        assert subscription.flow is not None
        user = subscription.resource.partition(":")[2].partition("@")[0].encode()
        return b"<sip:%b@%b>" % (user, self._address_of(subscription.flow))

    def flow_to(self, subscription: Subscription) -> Flow | None:
        return self._find_flow(subscription)

    def ended(self, subscription: Subscription) -> None:
        if self._by_tag.get(subscription.dialog.tag) is subscription:
            self.remove(subscription)
            self._store.drop_subscription(subscription)
            self._packages[subscription.event.package].watched(subscription, self._clock())

    # ---- time ------------------------------------------------------------------------------

    def look(self, now: float) -> float:
        """End what has expired; return when to look again."""
        for subscription in self._deadlines.take(now, at_most=STEP):
            is_here = self._by_tag.get(subscription.dialog.tag) is subscription
            if not is_here or subscription.is_over:
                continue
            if subscription.expires > now:
                self._deadlines.add(subscription, subscription.expires)
            else:
                self.end(subscription, b"timeout", now)
        return self._deadlines.next_due

    def step(self, tags: Iterator[Subscription], now: float) -> bool:
        """Tell some watchers of a changed resource; say whether more are left."""
        package: EventPackage | None = None
        for count, subscription in enumerate(tags, 1):
            if package is None:
                package = self._packages[subscription.event.package]
            if not subscription.is_over and package.is_news(subscription, now):
                subscription.notify(now)
            if count >= STEP:
                return True
        return False


class _Look:
    """Comes up when a subscription may have expired."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.due = NEVER
        self._all = subscriptions

    def plan(self, now: float) -> None:
        if self.due == NEVER:
            self._all.wake(self, LOOK_S, now)

    def fire(self, now: float) -> None:
        due = self._all.look(now)
        if due <= now:
            self._all.wake(self, AT_ONCE, now)
        elif due != NEVER:
            self._all.wake(self, LOOK_S, now)


class _Greeting:
    """The NOTIFY that follows a 200."""

    __slots__ = ("_subscription", "due")

    def __init__(self, subscription: Subscription) -> None:
        self.due = NEVER
        self._subscription = subscription

    def fire(self, now: float) -> None:
        self._subscription.notify(now)


class _FanOut:
    """Changed resources whose watchers are being told, one step a turn, in turn."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.due = NEVER
        self._all = subscriptions
        self._waiting: OrderedDict[Key, Iterator[Subscription]] = OrderedDict()

    def add(self, key: Key, now: float) -> None:
        # From the start, also when it was under way: who has been told the newest is passed over.
        self._waiting[key] = iter(self._all.of(*key))
        if self.due == NEVER:
            self._all.wake(self, AT_ONCE, now)

    def fire(self, now: float) -> None:
        key, watchers = self._waiting.popitem(last=False)
        if self._all.step(watchers, now):
            self._waiting[key] = watchers
        if self._waiting:
            self._all.wake(self, AT_ONCE, now)
