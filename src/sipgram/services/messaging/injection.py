"""Messages that the server makes itself, on the way that those of phones take (DELIVERY.md D9-D11).

There is no server transaction: what a fork would answer to a phone is told to who sent it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from sipgram.errors import Error, PeerError, Refusal, Unavailable
from sipgram.services.answers import Answer, Asked, Commitment, Forward, Later, Reply, Split, Told
from sipgram.services.injection import DeviceAnswer, Outcome
from sipgram.services.messaging.deposits import MessageIds
from sipgram.sip.keeping import Concluded, Keeper, Keeping, KeptTarget
from sipgram.sip.message.message import Cut, Message
from sipgram.sip.message.parser import parse, readdressed
from sipgram.sip.proxy import Fork, Proxy
from sipgram.sip.routing.hunt import Pursuit
from sipgram.sip.sink import Flow, ServerSide

log = structlog.get_logger("sipgram.messaging")

Handle = Callable[[Message, Flow, int | None, float], Answer]
Heard = Callable[[Outcome], None]

RETRY_S: Final = 5


class OwnFlow:
    """Where our own requests come from: nothing is ever sent there."""

    host = b"127.0.0.1"
    port = 0
    is_reliable = False
    via_line = b""

    def send(self, data: bytes) -> bool:
        """There is nobody."""
        return False

    def reply_flow(self, request: Message) -> Flow:
        """Return itself."""
        return self


OWN: Final = OwnFlow()


class Injector:
    """Hands requests to ``handle``, which is the one that requests of phones meet."""

    def __init__(self, handle: Handle, *, ids: MessageIds, clock: Callable[[], float]) -> None:
        self._handle = handle
        self._ids = ids
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._proxy: Proxy
        self._rearm: Callable[[], None]
        self._is_closed: Callable[[], bool]

    def attach(
        self, proxy: Proxy, *, rearm: Callable[[], None], is_closed: Callable[[], bool]
    ) -> None:
        """Take the transactions to send by; ``is_closed`` says that nothing new is taken."""
        self._proxy = proxy
        self._rearm = rearm
        self._is_closed = is_closed

    def send(self, id: int, raw: bytes, *, account_id: int | None, done: Heard) -> None:
        """Deliver or keep a request (``services.injection.Injects``)."""
        request = parse(raw)
        if request.faults:
            done(_failed(request.fault_status, "; ".join(request.faults)))
            return
        if self._is_closed() or self._proxy.table.is_full:
            done(_failed(503, "Draining or Overloaded", retry_after_s=RETRY_S))
            return
        self._ids.reserve(request.call_id, id)

        def heard(outcome: Outcome) -> None:
            self._ids.release(request.call_id)
            done(outcome)

        now = self._clock()
        try:
            answer = self._handle(request, OWN, account_id, now)
        except Exception as error:
            heard(_excused(error))
            return
        if isinstance(answer, Later):
            self._wait(answer, request, heard)
        else:
            self._take(answer, request, heard, now)
            self._rearm()

    def _take(
        self,
        answer: Answer,
        request: Message,
        heard: Heard,
        now: float,
        *,
        group: Message | None = None,
    ) -> None:
        if isinstance(answer, Forward):
            told = None
            if isinstance(answer, Asked):
                request, told = answer.request, answer.told
            watch = Watch(self._proxy.keeper, request, answer.cuts, answer.deposit)
            side: ServerSide = Side(watch, heard)
            if told is not None:
                side = Told(side, told)
            fork = Fork(request, side, self._proxy, watch)
            if group is not None:
                fork.mark(group)
            fork.start(answer.targets, OWN, answer.cuts, now)
        elif isinstance(answer, Reply):
            heard(_of_reply(answer))
        elif isinstance(answer, Split):
            self._split(answer, request, heard, now)
        elif isinstance(answer, Commitment):
            commit = answer

            def done(error: Exception | None) -> None:
                try:
                    outcome = _of_reply(commit.reply(error))
                except Exception as failure:
                    outcome = _excused(failure)
                heard(outcome)
                self._rearm()

            try:
                commit.start(done)
            except Exception as error:
                heard(_excused(error))

    def _split(self, split: Split, request: Message, heard: Heard, now: float) -> None:
        """Send it to each member of a group; hear of all of them at once (D4)."""
        self._ids.release(request.call_id)  # Each member's is a message of its own.
        outcomes: list[Outcome] = []

        def one(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) == len(split.uris):
                heard(_together(outcomes))

        for uri in split.uris:
            part = readdressed(request, uri)
            try:
                answer = self._handle(part, OWN, split.account_id, now)
            except Exception as error:
                one(_excused(error))
            else:
                if isinstance(answer, Later):
                    self._wait(answer, part, one)
                else:
                    self._take(answer, part, one, now, group=request)

    def _wait(self, later: Later, request: Message, heard: Heard) -> None:
        async def run() -> None:
            try:
                answer = await later.work
            except Exception as error:
                heard(_excused(error))
            else:
                assert not isinstance(answer, Pursuit)  # Messaging knows accounts here alone.
                self._take(answer, request, heard, self._clock())
            self._rearm()

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what is told of all members: 202 before 200, a success before a failure."""
    best = min(outcomes, key=lambda o: (o.status >= 300, -o.status if o.status < 300 else o.status))
    devices = tuple(device for outcome in outcomes for device in outcome.devices)
    return best._replace(is_taken=all(o.is_taken for o in outcomes), devices=devices)


class Side:
    """Stands where a phone's server transaction would (``sip.sink.ServerSide``)."""

    __slots__ = ("_heard", "_watch", "flow", "is_open")

    def __init__(self, watch: "Watch", heard: Heard) -> None:
        self.flow: Flow = OWN
        self.is_open = True
        self._watch = watch
        self._heard = heard

    def expect(self, now: float) -> None:
        """Nobody needs a 100."""

    def respond(self, response: bytes, now: float) -> None:
        """Tell the outcome, once."""
        if not self.is_open:
            return
        self.is_open = False
        line, _, rest = response.partition(b"\r\n")
        status, reason = int(line[8:11]), line[12:].decode(errors="replace")
        after_s = _retry_after_s(rest) if status in (480, 500, 503) else 0
        devices = tuple(self._watch.devices.values())
        is_taken = any(device.state == "taken" for device in devices)
        # A device's own 202 took it; ours says that it is on disk.
        self._heard(Outcome(status, reason, is_taken, after_s, devices))


class Watch:
    """Notes what each device says, and keeps what is owed as a fork does (``sip.keeping``)."""

    __slots__ = ("_cuts", "_is_concluded", "_keeper", "_keeping", "_request", "_took", "devices")

    def __init__(
        self,
        keeper: Keeper | None,
        request: Message,
        cuts: Sequence[Cut],
        keeping: Keeping | None,
    ) -> None:
        """``keeping`` is what is kept of the request already."""
        self._keeper = keeper
        self._request = request
        self._cuts = cuts
        self._keeping = keeping
        self._is_concluded = False
        self._took: list[tuple[KeptTarget, int]] = []
        self.devices: dict[bytes, DeviceAnswer] = {}

    def on_taken(self, target: KeptTarget, status: int, now: float) -> None:
        """The device has the message."""
        self._note(target, status, "taken")
        if self._keeping is not None:
            self._keeping.on_taken(target, status, now)
        else:
            self._took.append((target, status))

    def on_refused(self, target: KeptTarget, status: int, now: float) -> None:
        """The device will never take it."""
        self._note(target, status, "refused")
        if self._keeping is not None:
            self._keeping.on_refused(target, status, now)

    def on_owed(self, target: KeptTarget, branch: bytes, status: int, now: float) -> None:
        """The device is to have it later."""
        self._note(target, status, "waiting")
        if self._keeping is None and not self._is_concluded and self._keeper is not None:
            keeping = self._keeping = self._keeper.open(self._request, self._cuts, now)
            if keeping is not None:
                for taker, its_status in self._took:
                    keeping.on_taken(taker, its_status, now)
        if self._keeping is not None:
            self._keeping.on_owed(target, branch, status, now)

    def conclude(self, done: Concluded, now: float) -> bool:
        """Keep the copies that are owed, if any are."""
        self._is_concluded = True
        return self._keeping is not None and self._keeping.conclude(done, now)

    def _note(self, target: KeptTarget, status: int, state: str) -> None:
        answer = DeviceAnswer(target.instance, target.uri, status, state)
        self.devices[target.instance or target.uri] = answer


def _of_reply(reply: Reply) -> Outcome:
    after_s = _retry_after_s(b"\r\n".join(reply.headers)) if reply.status >= 480 else 0
    return Outcome(reply.status, reply.reason, False, after_s, ())


def _excused(error: Exception) -> Outcome:
    match error:
        case Refusal():
            after_s = _retry_after_s(b"\r\n".join(error.headers))
            return _failed(error.status, error.reason, retry_after_s=after_s)
        case PeerError():
            return _failed(error.status, error.reason)
        case Unavailable():
            return _failed(500, error.reason, retry_after_s=error.retry_after_s)
        case Error():
            return _failed(500, str(error))
    log.error("message of our own failed", exc_info=error)
    return _failed(500, "Server Internal Error")


def _failed(status: int, reason: str, *, retry_after_s: int = 0) -> Outcome:
    return Outcome(status, reason, False, retry_after_s, ())


def _retry_after_s(lines: bytes) -> int:
    _, found, rest = lines.partition(b"Retry-After: ")
    digits = rest.partition(b"\r\n")[0].partition(b";")[0].strip()
    return int(digits) if found and digits.isdigit() else 0
