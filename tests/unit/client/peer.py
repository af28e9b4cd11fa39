"""A server in the test's own process: it says what the test told it to say, else 200."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Self

from sipgram.net.endpoint import Address, Endpoint, Transport
from sipgram.sip.message import digest
from sipgram.sip.message.message import Message
from sipgram.sip.message.reply import build
from sipgram.sip.message.request import build as build_request
from sipgram.sip.sink import Cause, ClientSide, Flow
from sipgram.sip.timers import Timers

REALM = "example.com"
TIMERS = Timers(t1=0.01, t2=0.02, t4=0.02)
"""A request is given up after 0.64 s."""
Answer = tuple[int, Sequence[bytes]]


class Peer:
    """Listens on UDP and TCP of one port; every request is kept for ``received``."""

    def __init__(
        self, *, password: str | None = None, transports: Sequence[Transport] = ("tcp", "udp")
    ) -> None:
        self.password = password
        self.nonce = "nonce-1"
        self.port = 0
        self._transports = transports
        self._endpoint = Endpoint(self, timers=TIMERS)
        self._script: dict[bytes, deque[Answer]] = defaultdict(deque)
        self._requests: dict[bytes, asyncio.Queue[tuple[Message, Flow]]] = defaultdict(
            asyncio.Queue
        )
        self._ignored: set[bytes] = set()
        self._branch = 0
        self._registered: Flow | None = None

    async def __aenter__(self) -> Self:
        for transport in self._transports:
            bound = await self._endpoint.listen(Address(transport, "127.0.0.1", self.port))
            self.port = bound.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._endpoint.close()

    @property
    def udp(self) -> str:
        return f"udp:127.0.0.1:{self.port}"

    @property
    def tcp(self) -> str:
        return f"tcp:127.0.0.1:{self.port}"

    def says(self, method: bytes, status: int, *headers: bytes) -> None:
        """Answer the next request of this method so; 0 for not at all."""
        self._script[method].append((status, headers))

    async def received(self, method: bytes) -> Message:
        """Return the next request of this method that nobody asked for yet."""
        request, _ = await self._requests[method].get()
        return request

    def is_idle(self, method: bytes) -> bool:
        """Whether every request of this method was asked for."""
        return self._requests[method].empty()

    def hang_up(self) -> None:
        """Close every connection."""
        for flow in list(self._endpoint.connections):
            flow.abort()

    def challenge(self, header: bytes = b"WWW-Authenticate", *, stale: bool = False) -> bytes:
        return digest.challenge_line(header, realm=REALM, nonce=self.nonce, stale=stale)

    async def message(self, text: bytes, *lines: bytes, call_id: bytes = b"") -> Message:
        """Write to whoever registered last; return the final response."""
        self._branch += 1
        call_id = call_id or b"call-%d" % self._branch
        return await self.request(
            b"MESSAGE", text, b"Content-Type: text/plain", *lines, call_id=call_id
        )

    async def request(
        self, method: bytes, body: bytes = b"", *lines: bytes, call_id: bytes = b"other"
    ) -> Message:
        """Send any request to whoever registered last; return the final response."""
        flow = self._registered
        assert flow is not None, "nobody is registered"
        table = self._endpoint.table
        self._branch += 1
        branch = b"z9hG4bKpeer%d" % self._branch
        data = build_request(
            method,
            b"sip:alice@%b:%d" % (flow.host, flow.port),
            via=flow.via_line + branch + b";rport",
            sender=b'"Bob" <sip:bob@example.com>;tag=bob',
            to=b"<sip:alice@example.com>",
            call_id=call_id,
            cseq=7,
            headers=lines,
            body=body,
        )
        reply = _Reply()
        now = asyncio.get_running_loop().time()
        if method == b"INVITE":
            table.invites.start_client(data, branch, flow, reply, now)
        else:
            table.start_client(data, branch=branch, method=method, flow=flow, user=reply, now=now)
        self._endpoint.after_batch()
        return await reply.future

    # ---- the endpoint's user ---------------------------------------------------------------

    def on_request(self, request: Message, flow: Flow, now: float) -> None:
        assert not request.faults, request.faults
        if request.key in self._ignored:
            return
        self._requests[request.method].put_nowait((request, flow))
        status, headers = self._answer(request, flow)
        if not status:
            self._ignored.add(request.key)
            return
        response = build(
            request, status, to_tag=b"peer", host=flow.host, port=flow.port, headers=headers
        )
        self._endpoint.table.answer(request, flow, response, now)

    def on_stray(self, response: Message, flow: Flow, now: float) -> None:
        """A late answer to a test that is over."""

    def _answer(self, request: Message, flow: Flow) -> Answer:
        script = self._script[request.method]
        if script:
            return script.popleft()
        if self.password is not None and not self._is_right(request):
            return 401, (self.challenge(),)
        if request.method == b"REGISTER":
            self._registered = flow.reply_flow(request)
            contact, expires = request.value(b"contact"), request.value(b"expires")
            assert contact is not None
            assert expires is not None
            return 200, (b"Contact: " + contact + b";expires=" + expires,)
        return 200, ()

    def _is_right(self, request: Message) -> bool:
        value = request.value(b"authorization")
        if value is None:
            return False
        found = digest.parse_credentials(value)
        ha1 = digest.ha1("alice", REALM, self.password or "")
        right = digest.expected_response(found, request.method, ha1)
        return found.nonce == self.nonce and found.response == right


class _Reply:
    def __init__(self) -> None:
        self.future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status >= 200:
            self.future.set_result(response)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        self.future.set_exception(AssertionError(f"the client did not answer: {cause}"))

    def on_waiting(self, now: float) -> None:
        """The test waits."""
