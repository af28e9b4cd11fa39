"""Asks the policy about each message, for a bounded time, and hands the message on in its order.

Nothing that the policy does, or fails to do, loses or holds a message: an error, a hang, or an
answer that is none counts as ``policy.on_failure`` says.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import structlog

from sipgram.errors import ParseError, Refusal
from sipgram.policy import Delivery, Letter, Policy, Refused
from sipgram.services.answers import Answer, Asked, Commitment, Forward, Later, Reply, Split
from sipgram.settings import PolicySettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import Aor
from sipgram.sip.routing.hunt import Pursuit
from sipgram.sip.sink import Flow

log = structlog.get_logger("sipgram.policy")

T = TypeVar("T")

LOG_EVERY_S: Final = 60.0
UNSAFE: Final = frozenset(b" \t\r\n<>")
"""What would end a Request-URI early."""
NO_ANSWER: Final = Refusal(500, "Policy Did Not Answer", (b"Retry-After: 30",))


class Service(Protocol):
    """Who takes a message once it may pass."""

    def handle(
        self, request: Message, source: Flow, account_id: int | None, now: float
    ) -> Answer: ...


class Judgement(NamedTuple):
    """What the policy wants with a message."""

    refused: Refused | None = None
    target: str | None = None
    "Another recipient."
    failure: str = ""
    "Why there is no answer of its own; empty when there is."


class Police:
    """Stands before the messaging service, ``inner``."""

    def __init__(
        self,
        policy: Policy,
        inner: Service,
        *,
        settings: PolicySettings,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._inner = inner
        self._settings = settings
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()
        self._last: dict[bytes, asyncio.Future[None]] = {}
        self._logs_again = -LOG_EVERY_S
        self._unlogged = 0
        self.counts = dict.fromkeys(
            ("passed", "refused", "rewritten", "failed", "timed_out", "told", "not_told"), 0
        )

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        """Ask first; requests that are no new messages pass."""
        if request.method != b"MESSAGE" or request.to_tag:
            return self._inner.handle(request, source, account_id, now)
        return Later(self._in_turn(request, source, account_id))

    async def judge(self, letter: Letter) -> Judgement:
        """Ask, and take no answer but one that can be used."""
        judgement = await self._bounded(self._both(letter), "asking")
        self.counts[_kind(judgement)] += 1
        return judgement

    def on_news(self, id: int, *, aor: str, sender: bytes, state: str) -> None:
        """Take the news of a message that had to wait (``messaging.ledger.MessageNews``)."""
        if state == "delivered":
            self._tell(Delivery(sender.decode(errors="replace"), aor, was_stored=True))

    # ---- one message -----------------------------------------------------------------------

    async def _in_turn(
        self, request: Message, source: Flow, account_id: int | None
    ) -> Reply | Forward | Commitment | Split:
        """Ask at once, but go on only after earlier messages of the same sender (D16)."""
        sender = request.from_uri
        before = self._last.get(sender)
        mine = self._last[sender] = asyncio.get_running_loop().create_future()
        try:
            letter = _letter(request)
            judgement = await self.judge(letter)
            if before is not None and not before.done():
                await asyncio.wait((before,))  # No longer than its own time to be asked.
            answer = self._handed_on(request, letter, judgement, source, account_id)
        finally:
            mine.set_result(None)
            if self._last.get(sender) is mine:
                del self._last[sender]
        # One for a list of recipients waits for their copies, each of which comes by here.
        found = await answer.work if isinstance(answer, Later) else answer
        assert not isinstance(found, Pursuit)  # Messaging knows accounts here alone.
        return found

    def _handed_on(
        self,
        request: Message,
        letter: Letter,
        judgement: Judgement,
        source: Flow,
        account_id: int | None,
    ) -> Answer:
        if judgement.failure and self._settings.on_failure == "closed":
            raise Refusal(NO_ANSWER.status, NO_ANSWER.reason, NO_ANSWER.headers)
        if judgement.refused is not None:
            raise Refusal(judgement.refused.status, judgement.refused.reason)
        if judgement.target is not None:
            request = _addressed(request, judgement.target.encode())
        answer = self._inner.handle(request, source, account_id, self._clock())
        if isinstance(answer, Forward):
            recipient = judgement.target or letter.recipient

            def told(status: int) -> None:
                if 200 <= status < 300 and status != 202:  # A stored one is told of later.
                    self._tell(Delivery(letter.sender, recipient, was_stored=False))

            return Asked(answer, request, told)
        return answer

    async def _both(self, letter: Letter) -> Judgement:
        refused = await self._policy.may_send(letter)
        if refused is not None:
            if not isinstance(refused, Refused) or not 400 <= refused.status <= 699:
                raise TypeError(f"may_send gave no Refused of 400 to 699: {refused!r}")
            if not refused.reason.isprintable():
                raise TypeError("may_send gave a reason that is not one line")
            return Judgement(refused=refused)
        target = await self._policy.rewrite_target(letter)
        if target is not None:
            _check_target(target)
        return Judgement(target=target)

    # ---- bounds ----------------------------------------------------------------------------

    async def _bounded(self, asking: Coroutine[Any, Any, Judgement], what: str) -> Judgement:
        """Wait for an answer so long and no longer, whatever the policy does with a cancellation."""
        task = self._started(asking)
        if task is None:
            return self._failed(what, "too much of it is under way", timed_out=True)
        await asyncio.wait((task,), timeout=self._settings.timeout_s)
        if not task.done():
            task.cancel()
            return self._failed(
                what, f"no answer in {self._settings.timeout_s:g} s", timed_out=True
            )
        if task.cancelled():
            return self._failed(what, "it cancelled itself")
        error = task.exception()
        if error is not None:
            return self._failed(what, f"{type(error).__name__}: {error}")
        return task.result()

    def _tell(self, delivery: Delivery) -> None:
        """Tell of a delivery; nobody waits for that."""
        timeout_s = self._settings.timeout_s

        async def tell() -> None:
            async with asyncio.timeout(timeout_s):
                await self._policy.on_delivered(delivery)

        def ended(task: asyncio.Task[None]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self.counts["told" if error is None else "not_told"] += 1
            if error is not None:
                self._note("telling", f"{type(error).__name__}: {error}")

        task = self._started(tell())
        if task is None:
            self.counts["not_told"] += 1
        else:
            task.add_done_callback(ended)

    def _started(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T] | None":
        if len(self._running) >= self._settings.running_max:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody complains of it later.

    def _failed(self, what: str, why: str, *, timed_out: bool = False) -> Judgement:
        self._note(what, why)
        return Judgement(failure="timed_out" if timed_out else "failed")

    def _note(self, what: str, why: str) -> None:
        """Log it once a minute: a policy that is broken is so for each message."""
        now = self._clock()
        self._unlogged += 1
        if now >= self._logs_again:
            log.warning("policy failed", at=what, reason=why, since_last=self._unlogged)
            self._logs_again = now + LOG_EVERY_S
            self._unlogged = 0


def _kind(judgement: Judgement) -> str:
    if judgement.failure:
        return judgement.failure
    if judgement.refused is not None:
        return "refused"
    return "passed" if judgement.target is None else "rewritten"


def _letter(request: Message) -> Letter:
    return Letter(
        sender=request.from_uri.decode(errors="replace"),
        recipient=request.uri.decode(errors="replace"),
        body=request.body,
        content_type=(request.value(b"content-type") or b"").decode(errors="replace"),
        call_id=request.call_id.decode(errors="replace"),
    )


def _check_target(target: str) -> None:
    """Refuse what is no address.

    Raises:
        TypeError, ParseError: naming it.
    """
    if not isinstance(target, str) or not UNSAFE.isdisjoint(target.encode()):
        raise TypeError(f"rewrite_target gave no URI: {target!r}")
    if not Aor.parse(target.encode()).user:
        raise ParseError(f"rewrite_target gave a URI without a user: {target!r}")


def _addressed(request: Message, uri: bytes) -> Message:
    """Return the request with another Request-URI, all else as it was."""
    line_end = request.raw.index(b"\r\n") if b"\r\n" in request.raw else request.raw.index(b"\n")
    line = b"%b %b SIP/2.0" % (request.method, uri)
    return parse(line + request.raw[line_end:], bare_lf=True)
