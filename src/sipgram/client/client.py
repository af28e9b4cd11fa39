"""One account in an asyncio program: registered, reachable, able to write (RFC 3261, RFC 3428)."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from sipgram.client.account import Account
from sipgram.client.composing import TypingTold
from sipgram.client.errands import Errands
from sipgram.client.events import ConnectionState, Event, EventQueue
from sipgram.client.inbox import Inbox
from sipgram.client.link import Line
from sipgram.client.messages import Message, NoAnswer, Outcome, Rejected, Sent, date_line
from sipgram.client.presence import Presence, PresenceAgent, Watch
from sipgram.client.receipts import Arrivals, Receipts, date_time, wishes
from sipgram.client.registration import Binding, Registration
from sipgram.client.settings import ClientSettings
from sipgram.client.uac import Outgoing, Uac
from sipgram.errors import UsageError
from sipgram.identity import Entropy, SystemEntropy
from sipgram.net.endpoint import Trace
from sipgram.payload import media_type
from sipgram.payload.cpim import Cpim, Party
from sipgram.payload.imdn import asking
from sipgram.sip.message.grammar import split_list
from sipgram.sip.message.message import Message as SipMessage

PLAIN_PEERS_MAX: Final = 1_024
"""Peers remembered to take plain text alone."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target says that it can do (RFC 3261 §11.2)."""

    status: int
    reason: str
    allow: tuple[str, ...]
    accept: tuple[str, ...]
    supported: tuple[str, ...]
    software: str
    "Its Server or User-Agent header, empty when it keeps that to itself."
    ms: float


class Client:
    """An account's phone without a phone.

        async with Client("sip:alice@example.com", password="secret") as me:
            sent = await me.send("bob", "Lunch?")
            async for event in me.events():
                match event:
                    case Message(sender=sender, text=text):
                        print(sender, text)

    Entering registers the account and leaving takes that back; meanwhile the registration is
    refreshed, and made again after the flow broke. Without ``register`` nothing can come in.
    """

    def __init__(
        self,
        aor: str,
        *,
        password: str | None = None,
        server: str | None = None,
        register: bool = True,
        settings: ClientSettings | None = None,
        entropy: Entropy | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Take an account and, unless its domain is to be asked, a server: ``udp:HOST:PORT``.

        ``trace`` is called with "<" or ">", the bytes of each message, and the flow; what it
        gets holds credentials (``client.trace`` masks them).

        Raises:
            UsageError: ``aor`` is not sip:USER@DOMAIN.
            SettingsError: ``server`` is not TRANSPORT:HOST:PORT.
        """
        self._account = Account.parse(aor, password=password, server=server)
        self._settings = settings or ClientSettings()
        self._registers = register
        entropy = entropy or SystemEntropy()
        self._events = EventQueue(
            waiting_max=self._settings.events_max, messages_max=self._settings.messages_max
        )
        self._entropy = entropy
        self._errands = Errands(at_most=self._settings.errands_max)
        self._receipts = Receipts(self.aor, self._send_receipt, entropy=entropy)
        self._arrivals = Arrivals()
        self._typing = TypingTold(self._send_typing, self._errands)
        self._plain: OrderedDict[bytes, None] = OrderedDict()
        self._inbox = Inbox(
            self._events,
            entropy=entropy,
            on_message=self._took,
            on_shown=self._displayed,
            on_receipt=self._arrivals.note,
            on_notify=lambda request: self._presence.on_notify(request),
        )
        self._line = Line(
            self._account.server,
            domain=self._account.domain.decode(),
            answer=self._inbox.answer,
            settings=self._settings,
            trace=trace,
        )
        self._uac = Uac(self._account, self._line, entropy=entropy)
        self._registration = Registration(
            self._account, uac=self._uac, line=self._line, settings=self._settings, entropy=entropy
        )
        self._presence = PresenceAgent(
            self._account, uac=self._uac, line=self._line, entropy=entropy, tell=self._events.note
        )
        self._keeper: asyncio.Task[None] | None = None

    @property
    def aor(self) -> str:
        """The account's address of record."""
        return str(self._account.aor)

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """All contacts of the account, as the registrar listed them last."""
        return self._registration.bindings

    async def __aenter__(self) -> Self:
        """Register.

        Raises:
            Rejected: the registrar refused.
            NoAnswer: it did not answer, or cannot be reached.
        """
        if self._registers:
            self._inbox.is_open = True
            try:
                granted_s = await self._registration.register()
            except BaseException:
                await self._end()
                raise
            self._events.tell(ConnectionState("registered"))
            self._keeper = asyncio.create_task(self._keep(granted_s), name=f"keep {self.aor}")
            self._keeper.add_done_callback(self._kept)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more messages, take the registration back, close the sockets."""
        self._inbox.is_open = False
        try:
            await self._errands.finish(self._settings.leave_s)
            await self._presence.close(self._settings.leave_s)
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.wait((self._keeper,))
                with contextlib.suppress(NoAnswer, TimeoutError):
                    async with asyncio.timeout(self._settings.leave_s):
                        await self._registration.remove()
        finally:
            await self._end()

    async def send(
        self,
        to: str,
        text: str | bytes,
        *,
        content_type: str = "text/plain",
        expires_s: int | None = None,
        want: Collection[str] = (),
        timeout_s: float | None = None,
    ) -> Sent:
        """Send one message and wait for its final response.

        ``to`` is ``bob`` of the own domain, ``bob@example.org``, or a sip: or tel: URI.
        ``expires_s`` is how long it is worth delivering; the server decides when it is None.
        ``want`` are the receipts to ask for: they come as ``Receipt`` events to who is registered.
        Who refuses the CPIM that asking needs gets the text alone, and that is remembered.

        Raises:
            Rejected: the server or the device refused.
            NoAnswer: nobody knows whether it was taken.
            UsageError: ``to``, ``content_type`` or ``want`` cannot be sent.
        """
        uri, asked = self._account.complete(to), wishes(want)
        headers = [date_line(datetime.now(UTC))]
        if expires_s is not None:
            headers.append(b"Expires: %d" % expires_s)
        body = text.encode() if isinstance(text, str) else text
        self._typing.sent(uri)
        if asked and uri not in self._plain:
            # The Call-ID is the id as well: who takes the text alone and sends receipts all the
            # same, as Linphone does, names that.
            message_id = self._entropy.token()
            wrapped = self._in_cpim(uri, body, content_type, message_id, asked)
            lines = [*headers, b"Content-Type: " + media_type.CPIM.encode()]
            outgoing = self._message(uri, lines, wrapped, call_id=message_id.encode())
            try:
                return await self._sent(outgoing, timeout_s, want=frozenset(want))
            except Rejected as error:
                if error.status not in (415, 488):
                    raise
            self._plain[uri] = None
            if len(self._plain) > PLAIN_PEERS_MAX:
                self._plain.popitem(last=False)
        headers.append(b"Content-Type: " + content_type.encode("utf-8", "surrogateescape"))
        return await self._sent(self._message(uri, headers, body), timeout_s)

    async def typing(self, to: str, active: bool = True) -> None:
        """Tell that a key was pressed; call it at each, few of them send anything (RFC 3994).

        ``active=False`` says that the text was thrown away. 15 s without a key, or the message
        itself, end it too. Nothing is raised when nobody hears of it.

        Raises:
            UsageError: ``to`` is no address.
        """
        uri = self._account.complete(to)
        await (self._typing.type(uri) if active else self._typing.stop(uri))

    async def publish(self, presence: Presence) -> None:
        """Publish how you are; refreshed until the client ends or publishes something else.

        Raises:
            Rejected: the server refused.
            NoAnswer: it did not answer.
            UsageError: the activity is no name of RPID.
        """
        await self._presence.publish(presence)

    async def unpublish(self) -> None:
        """Take back what was published.

        Raises:
            NoAnswer: the server did not answer.
        """
        await self._presence.unpublish()

    def watch(self, who: str) -> Watch:
        """Watch somebody's presence.

            async with me.watch("bob") as news:
                async for update in news:
                    print(update.presence)

        The same updates come as events, too, when the client is registered.

        Raises:
            UsageError: ``who`` is no address.
        """
        return self._presence.watch(self._account.complete(who))

    def watchers(self) -> Watch:
        """Watch who watches you: each update has all of them."""
        return self._presence.watchers()

    async def options(
        self, target: str | None = None, *, timeout_s: float | None = None
    ) -> Capabilities:
        """Ask a target, or the server itself, what it can do.

        Raises:
            Rejected: the answer was not 2xx.
            NoAnswer: there was none.
            UsageError: ``target`` is no address.
        """
        uri = b"sip:" + self._account.domain
        if target is not None:
            uri = self._account.complete(target)
        outgoing = self._uac.outgoing(b"OPTIONS", uri, to=uri, headers=(b"Accept: */*",))
        response, ms = await self._timed(outgoing, timeout_s)
        software = response.value(b"server") or response.value(b"user-agent") or b""
        return Capabilities(
            status=response.status,
            reason=_text(response.reason),
            allow=_items(response, b"allow"),
            accept=_items(response, b"accept"),
            supported=_items(response, b"supported"),
            software=_text(software),
            ms=ms,
        )

    def events(self) -> AsyncIterator[Event]:
        """Return the stream of messages, receipts, typing and states of the connection, in order.

        It has one reader and ends after the client has ended. A message has been answered
        with 200 when it is here; when ``settings.events_max`` of them wait, the next gets 480.

        Raises:
            UsageError: the client was made not to register: nothing would ever come.
        """
        if not self._registers:
            raise UsageError("a client made with register=False has no events")
        return self._events

    # ---- messages, receipts, typing --------------------------------------------------------

    async def _sent(
        self, outgoing: Outgoing, timeout_s: float | None, *, want: frozenset[str] = frozenset()
    ) -> Sent:
        response, ms = await self._timed(outgoing, timeout_s)
        return Sent(
            outcome=Outcome.STORED if response.status == 202 else Outcome.DELIVERED,
            status=response.status,
            reason=_text(response.reason),
            call_id=_text(outgoing.call_id),
            ms=ms,
            id=_text(outgoing.call_id),
            want=want,
            _arrival=self._arrivals.wait,
        )

    def _message(
        self, uri: bytes, headers: list[bytes], body: bytes, *, call_id: bytes = b""
    ) -> Outgoing:
        outgoing = self._uac.outgoing(b"MESSAGE", uri, to=uri, headers=headers, body=body)
        return replace(outgoing, call_id=call_id) if call_id else outgoing

    def _in_cpim(
        self, uri: bytes, body: bytes, content_type: str, message_id: str, asked: frozenset[str]
    ) -> bytes:
        kind = f"{content_type};charset=UTF-8" if content_type == "text/plain" else content_type
        return bytes(
            Cpim(
                body,
                (("Content-Type", kind),),
                sender=Party(self.aor),
                to=(Party(_text(uri)),),
                date_time=date_time(datetime.now(UTC)),
                headers=asking(message_id, asked),
            )
        )

    def _took(self, message: Message) -> None:
        """A message came in: say so when its sender asked."""
        if self._settings.sends_receipts and "delivered" in message.wants:
            self._errands.start(self._receipts.tell(message, "delivered"))

    async def _displayed(self, message: Message) -> None:
        await self._receipts.tell(message, "displayed")

    async def _send_receipt(self, to: str, body: bytes, content_type: str) -> None:
        lines = [b"Content-Type: " + content_type.encode(), b"Priority: non-urgent"]
        headers = [date_line(datetime.now(UTC)), *lines]
        await self._timed(self._message(self._account.complete(to), headers, body), None)

    async def _send_typing(self, uri: bytes, body: bytes) -> None:
        headers = [b"Content-Type: " + media_type.TYPING.encode(), b"Expires: 0"]
        await self._timed(self._message(uri, headers, body), None)

    # ---- staying registered ----------------------------------------------------------------

    async def _keep(self, granted_s: int) -> None:
        """Refresh in time, and register again after the flow broke, until cancelled."""
        registration = self._registration
        while True:
            refresh_after_s = registration.refresh_after_s(granted_s)
            if await registration.flow_broke_within(refresh_after_s):
                self._events.tell(ConnectionState("lost", "the connection was closed"))
                await asyncio.sleep(registration.retry_after_s(1))
            granted_s = await self._register_again()

    async def _register_again(self) -> int:
        failures = 0
        while True:
            least_s = None
            try:
                granted_s = await self._registration.register()
            except Rejected as error:
                reason, least_s = str(error), error.retry_after_s
            except NoAnswer as error:
                reason = error.reason
            else:
                self._events.tell(ConnectionState("registered"))
                return granted_s
            failures += 1
            self._events.tell(ConnectionState("lost", reason))
            await asyncio.sleep(self._registration.retry_after_s(failures, least_s=least_s))

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """Whoever reads the events hears when the keeper fell over a mistake of ours."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._events.close(error)

    async def _end(self) -> None:
        self._inbox.is_open = False
        self._inbox.typing.close()
        self._typing.close()
        await self._errands.finish(0)
        self._events.close()
        await self._line.close()

    async def _timed(self, outgoing: Outgoing, timeout_s: float | None) -> tuple[SipMessage, float]:
        """Return a 2xx and how many milliseconds it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        response = await self._uac.ask(outgoing, timeout_s=timeout_s)
        if response.status >= 300:
            raise Rejected.by(response)
        return response, round((loop.time() - started) * 1000, 1)


def _items(response: SipMessage, name: bytes) -> tuple[str, ...]:
    return tuple(
        _text(item) for value in response.values(name) for item in split_list(value) if item
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
