"""Presence of one account: published, watched (RFC 3903, RFC 6665, RFC 3856)."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Self

from sipgram.client.account import Account
from sipgram.client.link import Line
from sipgram.client.messages import NoAnswer, Rejected, shown_aor
from sipgram.client.uac import Outgoing, Uac
from sipgram.errors import PeerError
from sipgram.identity import Entropy
from sipgram.payload.state import pidf, winfo
from sipgram.sip.message.message import Message

State = Literal["active", "pending", "terminated"]

EXPIRES_S: Final = 3600
REFRESH_SHARE: Final = 0.9
RETRY_FIRST_S: Final = 2.0
RETRY_MAX_S: Final = 120.0
WATCHES_MAX: Final = 1_000
UPDATES_MAX: Final = 100
"""Updates of one watch that wait to be read; beyond that the oldest goes."""
GONE: Final = frozenset((404, 405, 410, 481, 489))
"""Answers to a refresh that say that the dialog is over (RFC 5057 §5.1)."""
FOR_GOOD: Final = frozenset(("rejected", "noresource", "invariant"))
"""Reasons after which subscribing again is of no use (RFC 6665 §4.1.3)."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How somebody is."""

    open: bool = True
    activity: str = ""
    "An element of RPID: away, busy, on-the-phone, meal …; empty for none."
    note: str = ""
    pidf: bytes = b""
    "The whole document, as it came; for those who want more of it."


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    """News of somebody who is watched."""

    who: str
    state: State
    "Whether the watched lets us see."
    presence: Presence | None
    "None when there is nothing to see."
    reason: str = ""
    "Why it is terminated: rejected, timeout, noresource …"


@dataclass(frozen=True, slots=True)
class WatcherUpdate:
    """Who watches us, all of them."""

    watchers: tuple[winfo.Watcher, ...]


Update = PresenceUpdate | WatcherUpdate


class Watch:
    """One subscription: kept alive from ``async with`` to its end, an iterator of its news."""

    def __init__(
        self,
        agent: "PresenceAgent",
        outgoing: Outgoing,
        read: Callable[[Message, State, str], Update],
    ) -> None:
        self._agent = agent
        self._outgoing = outgoing
        self._read = read
        self._tag = b""  # The notifier's: there is a dialog when there is one.
        self._target = outgoing.uri
        self._notified_cseq = 0
        self._updates: deque[Update] = deque(maxlen=UPDATES_MAX)
        self._changed = asyncio.Event()
        self._ended = False
        self._again = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Subscribe.

        Raises:
            Rejected: the server refused, or the watched has blocked us.
            NoAnswer: it did not answer.
        """
        self._agent.add(self)
        try:
            granted_s = await self._subscribe(EXPIRES_S)
        except BaseException:
            self._agent.drop(self)
            raise
        self._keeper = asyncio.create_task(self._keep(granted_s))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Unsubscribe."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        if self._tag and not self._ended:
            with contextlib.suppress(NoAnswer, Rejected):  # It ends when it expires.
                await self._ask(0)
        self._end()
        self._agent.drop(self)

    def __aiter__(self) -> AsyncIterator[Update]:
        return self

    async def __anext__(self) -> Update:
        while not self._updates:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._updates.popleft()

    @property
    def call_id(self) -> bytes:
        """What NOTIFYs are known by."""
        return self._outgoing.call_id

    # ---- what comes in ---------------------------------------------------------------------

    def on_notify(self, request: Message) -> int:
        """Take a NOTIFY; return the status to answer with."""
        if request.to_tag != self._outgoing.from_tag or self._ended:
            return 481
        if self._tag and request.from_tag != self._tag:
            return 481  # Of a fork that answered later: one notifier is enough (RFC 6665 §5.4.9).
        if request.cseq <= self._notified_cseq:
            return 500  # RFC 3261 §12.2.2: out of order.
        state, _, rest = (request.value(b"subscription-state") or b"").partition(b";")
        word = state.strip().lower()
        if word not in (b"active", b"pending", b"terminated"):
            return 400
        shown: State = word.decode()  # type: ignore[assignment]  # One of the three.
        reason = _param(rest, b"reason")
        try:
            update = self._read(request, shown, reason)
        except PeerError as error:
            return error.status
        self._notified_cseq = request.cseq
        self._tag = request.from_tag
        self._tell(update)
        if shown == "terminated":
            self._tag, self._notified_cseq = b"", 0
            if reason in FOR_GOOD:
                self._end()
            else:
                self._again.set()
        return 200

    def _tell(self, update: Update) -> None:
        self._updates.append(update)
        self._changed.set()
        self._agent.tell(update)

    def _end(self) -> None:
        self._ended = True
        self._changed.set()

    # ---- staying subscribed ----------------------------------------------------------------

    async def _keep(self, granted_s: int) -> None:
        wait_s = granted_s * REFRESH_SHARE
        failures = 0
        while not self._ended:
            self._again.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._again.wait()
                await asyncio.sleep(self._agent.retry_after_s(failures + 1))
            except TimeoutError:
                pass
            try:
                wait_s = await self._subscribe(EXPIRES_S) * REFRESH_SHARE
                failures = 0
            except Rejected as error:
                if error.status == 403:
                    self._end()
                    return
                if error.status in GONE:
                    self._tag, self._notified_cseq = b"", 0
                failures += 1
                wait_s = self._agent.retry_after_s(failures)
            except NoAnswer:
                failures += 1
                wait_s = self._agent.retry_after_s(failures)

    async def _subscribe(self, expires_s: int) -> int:
        response = await self._ask(expires_s)
        if response.status == 423:
            least = response.value(b"min-expires") or b""
            response = await self._ask(int(least) if least.isdigit() else 2 * expires_s)
        if response.status >= 300:
            raise Rejected.by(response)
        if not self._tag:
            self._tag = response.to_tag
        granted = response.value(b"expires") or b""
        return int(granted) if granted.isdigit() and len(granted) < 10 else expires_s

    async def _ask(self, expires_s: int) -> Message:
        lines = (*self._outgoing.headers, b"Expires: %d" % expires_s)
        if not self._tag:  # A new dialog has a new name (RFC 6665 §4.1.2.4).
            self._outgoing = self._agent.renamed(self, self._outgoing)
        return await self._agent.subscribe(
            replace(self._outgoing, headers=lines, to_tag=self._tag, uri=self._target)
        )


class PresenceAgent:
    """Publishes one account's presence and keeps its watches."""

    def __init__(
        self,
        account: Account,
        *,
        uac: Uac,
        line: Line,
        entropy: Entropy,
        tell: Callable[[Update], None],
    ) -> None:
        self._account = account
        self._uac = uac
        self._line = line
        self._entropy = entropy
        self.tell = tell
        self._watches: dict[bytes, Watch] = {}
        self._etag = b""
        self._published: Outgoing | None = None
        self._keeper: asyncio.Task[None] | None = None

    # ---- publishing ------------------------------------------------------------------------

    async def publish(self, presence: Presence) -> None:
        """Publish, in the place of what was published before; refreshed until ``close``.

        Raises:
            Rejected: the server refused.
            NoAnswer: it did not answer.
            UsageError: the activity is no name of RPID.
        """
        uri = self._account.uri
        entity = uri.decode("utf-8", "replace")
        body = presence.pidf or pidf.build(
            entity,
            is_open=presence.open,
            activity=presence.activity,
            note=presence.note,
            tuple_id="sipgram",
        )
        headers = (b"Event: presence", b"Content-Type: " + pidf.TYPE)
        outgoing = self._uac.outgoing(b"PUBLISH", uri, to=uri, headers=headers, body=body)
        if self._published is not None:
            outgoing = replace(outgoing, call_id=self._published.call_id)
        granted_s = await self._put(outgoing)
        self._published = outgoing
        if self._keeper is not None:
            self._keeper.cancel()
        self._keeper = asyncio.create_task(self._refresh(granted_s))

    async def unpublish(self) -> None:
        """Take back what was published.

        Raises:
            NoAnswer: the server did not answer.
        """
        if self._published is None:
            return
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        outgoing, self._published = self._published, None
        await self._uac.ask(
            replace(outgoing, headers=self._conditional((b"Event: presence",), 0), body=b"")
        )
        self._etag = b""

    async def _put(self, outgoing: Outgoing) -> int:
        response = await self._uac.ask(
            replace(outgoing, headers=self._conditional(outgoing.headers, EXPIRES_S))
        )
        if response.status == 412:  # The server has forgotten: publish anew (RFC 3903 §4.3).
            self._etag = b""
            whole = outgoing if outgoing.body else self._published or outgoing
            response = await self._uac.ask(
                replace(whole, headers=self._conditional(whole.headers, EXPIRES_S))
            )
        if response.status >= 300:
            raise Rejected.by(response)
        self._etag = response.value(b"sip-etag") or b""
        granted = response.value(b"expires") or b""
        return int(granted) if granted.isdigit() and len(granted) < 10 else EXPIRES_S

    async def _refresh(self, granted_s: int) -> None:
        failures = 0
        wait_s = granted_s * REFRESH_SHARE
        while self._published is not None:
            await asyncio.sleep(wait_s)
            empty = replace(self._published, headers=(b"Event: presence",), body=b"")
            try:
                wait_s = await self._put(empty) * REFRESH_SHARE
                failures = 0
            except (Rejected, NoAnswer):
                failures += 1
                wait_s = self.retry_after_s(failures)

    def _conditional(self, headers: Sequence[bytes], expires_s: int) -> tuple[bytes, ...]:
        lines = (*headers, b"Expires: %d" % expires_s)
        return (*lines, b"SIP-If-Match: " + self._etag) if self._etag else lines

    # ---- watching --------------------------------------------------------------------------

    def watch(self, uri: bytes) -> Watch:
        """Return the watch of somebody's presence; it begins with ``async with``."""
        headers = (b"Event: presence", b"Accept: " + pidf.TYPE)
        outgoing = self._uac.outgoing(b"SUBSCRIBE", uri, to=uri, headers=headers)
        return Watch(self, outgoing, _presence)

    def watchers(self) -> Watch:
        """Return the watch of those who watch us."""
        uri = self._account.uri
        headers = (b"Event: presence.winfo", b"Accept: " + winfo.TYPE)
        outgoing = self._uac.outgoing(b"SUBSCRIBE", uri, to=uri, headers=headers)
        return Watch(self, outgoing, _Watchers())

    def on_notify(self, request: Message) -> int:
        """Give a NOTIFY to its watch; return the status to answer with."""
        watch = self._watches.get(request.call_id)
        return 481 if watch is None else watch.on_notify(request)

    async def close(self, within_s: float) -> None:
        """Take back what was published; what is watched has been left by then."""
        with contextlib.suppress(NoAnswer, TimeoutError):  # It ends when it expires.
            async with asyncio.timeout(within_s):
                await self.unpublish()

    # ---- the watches' own ------------------------------------------------------------------

    def add(self, watch: Watch) -> None:
        if len(self._watches) >= WATCHES_MAX:
            raise Rejected(403, f"more than {WATCHES_MAX} watches of one client")
        self._watches[watch.call_id] = watch

    def drop(self, watch: Watch) -> None:
        self._watches.pop(watch.call_id, None)

    def renamed(self, watch: Watch, outgoing: Outgoing) -> Outgoing:
        """Give a watch the names of a new dialog."""
        self.drop(watch)
        named = replace(
            outgoing,
            call_id=self._entropy.token().encode(),
            from_tag=self._entropy.token().encode(),
        )
        self._watches[named.call_id] = watch
        return named

    async def subscribe(self, outgoing: Outgoing) -> Message:
        link = await self._line.link()
        contact = b"Contact: <%b>" % link.contact(self._account.user)
        return await self._uac.ask(replace(outgoing, headers=(*outgoing.headers, contact)))

    def retry_after_s(self, failures: int) -> float:
        """Doubled each time up to a bound, then half of it and as much again by chance."""
        wait_s = min(RETRY_FIRST_S * 2.0 ** min(failures - 1, 10), RETRY_MAX_S)
        return wait_s * (0.5 + 0.5 * self._entropy.fraction())


def _presence(request: Message, state: State, reason: str) -> PresenceUpdate:
    presence = None
    if request.body:
        found = pidf.summary(request.body)
        presence = Presence(found.is_open, found.activity, found.note, request.body)
    return PresenceUpdate(shown_aor(request.from_uri), state, presence, reason)


class _Watchers:
    """Puts full and partial watcher information together (RFC 3858 §4.2)."""

    def __init__(self) -> None:
        self._known: dict[str, winfo.Watcher] = {}

    def __call__(self, request: Message, state: State, reason: str) -> WatcherUpdate:
        if request.body:
            document = winfo.Document.parse(request.body)
            if document.is_full:
                self._known.clear()
            for watcher in document.watchers:
                if watcher.status == "terminated":
                    self._known.pop(watcher.id, None)
                else:
                    self._known[watcher.id] = watcher
        return WatcherUpdate(tuple(self._known.values()))


def _param(rest: bytes, name: bytes) -> str:
    for part in rest.split(b";"):
        key, _, value = part.partition(b"=")
        if key.strip().lower() == name:
            return value.strip().decode("ascii", "replace")
    return ""
