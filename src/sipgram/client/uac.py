"""The UAC core: a request, its challenges, its final response (RFC 3261 §8.1, §22.2)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sipgram.client.account import Account
from sipgram.client.link import DATAGRAM_BYTES_MAX, Line, Link
from sipgram.client.messages import NoAnswer
from sipgram.errors import ParseError
from sipgram.identity import Entropy
from sipgram.sip.branch import COOKIE
from sipgram.sip.message import digest
from sipgram.sip.message.message import Message
from sipgram.sip.message.request import build
from sipgram.sip.sink import Cause, ClientSide, Flow

ATTEMPTS_MAX: Final = 6
"""Challenges answered for one request: a server that only ever says stale is given up."""
CHALLENGES: Final = {
    401: (b"www-authenticate", b"Authorization: "),
    407: (b"proxy-authenticate", b"Proxy-Authorization: "),
}


class _Reply:
    """Waits for the end of one client transaction."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Message | Cause] = asyncio.get_running_loop().create_future()

    def on_response(self, transaction: ClientSide, response: Message, now: float) -> None:
        if response.status >= 200 and not self.future.done():
            self.future.set_result(response)

    def on_failure(self, transaction: ClientSide, cause: Cause, now: float) -> None:
        if not self.future.done():
            self.future.set_result(cause)

    def on_waiting(self, now: float) -> None:
        """Nothing to do: the caller waits anyway."""


@dataclass(slots=True)
class _Nonce:
    """A challenge, and how many requests have used it."""

    challenge: digest.Challenge
    count: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as its user wants it; what identifies it stays the same when it is repeated."""

    method: bytes
    uri: bytes
    to: bytes
    call_id: bytes
    from_tag: bytes
    headers: Sequence[bytes] = ()
    body: bytes = b""
    to_tag: bytes = b""
    "Of the peer, within a dialog."


class Uac:
    """Sends an account's requests.

    A challenge that was answered once is answered in advance from then on, with a growing nc.
    """

    def __init__(self, account: Account, line: Line, *, entropy: Entropy) -> None:
        self._account = account
        self._line = line
        self._entropy = entropy
        self._cseq = 0
        self._nonces: dict[int, _Nonce] = {}

    def outgoing(
        self,
        method: bytes,
        uri: bytes,
        *,
        to: bytes,
        headers: Sequence[bytes] = (),
        body: bytes = b"",
    ) -> Outgoing:
        """Return a request outside any dialog, with a Call-ID and a From tag of its own."""
        call_id, tag = self._entropy.token().encode(), self._entropy.token().encode()
        return Outgoing(method, uri, to, call_id, tag, headers, body)

    async def ask(self, outgoing: Outgoing, *, timeout_s: float | None = None) -> Message:
        """Return the final response, whatever it says.

        A 401 or 407 is answered once, and again only when it says stale=true (§22.2): the
        same credentials would be refused again.

        Raises:
            NoAnswer: none came in 64*T1 or ``timeout_s``, or the flow broke.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(outgoing)
        except TimeoutError:
            raise self._silence(outgoing, f"no answer within {timeout_s:g} s") from None
        except NoAnswer as error:
            raise self._silence(outgoing, error.reason) from error

    async def _ask(self, outgoing: Outgoing) -> Message:
        answered: set[int] = set()
        for _ in range(ATTEMPTS_MAX):
            link = await self._line.link()
            response = await self._once(outgoing, link)
            if response.status not in CHALLENGES or not self._learn(response, answered):
                return response
        return response

    async def _once(self, outgoing: Outgoing, link: Link) -> Message:
        self._cseq += 1
        cseq, credentials = self._cseq, self._credentials(outgoing)
        flow: Flow = link.flow
        data, branch = self._built(outgoing, flow, cseq, credentials)
        if len(data) > DATAGRAM_BYTES_MAX and not flow.is_reliable:
            stream = await link.stream()
            if stream is not None:
                flow = stream
                data, branch = self._built(outgoing, flow, cseq, credentials)
        reply = _Reply()
        transaction = link.request(
            data, branch=branch, method=outgoing.method, flow=flow, user=reply
        )
        try:
            result = await reply.future
        except asyncio.CancelledError:
            transaction.abandon()
            raise
        if isinstance(result, str):
            words = {"timeout": "no answer from", "transport-error": "lost the flow to"}
            raise NoAnswer(f"{words[result]} {flow}")
        return result

    def _built(
        self, outgoing: Outgoing, flow: Flow, cseq: int, credentials: Sequence[bytes]
    ) -> tuple[bytes, bytes]:
        branch = COOKIE + self._entropy.token().encode()
        data = build(
            outgoing.method,
            outgoing.uri,
            via=flow.via_line + branch + b";rport",
            sender=b"<%b>;tag=%b" % (self._account.uri, outgoing.from_tag),
            to=b"<%b>" % outgoing.to + (b";tag=" + outgoing.to_tag if outgoing.to_tag else b""),
            call_id=outgoing.call_id,
            cseq=cseq,
            headers=(*credentials, *outgoing.headers, b"User-Agent: sipgram"),
            body=outgoing.body,
        )
        return data, branch

    # ---- digest ----------------------------------------------------------------------------

    def _credentials(self, outgoing: Outgoing) -> list[bytes]:
        """Return a header line for each challenge that is known."""
        lines = []
        for status, nonce in self._nonces.items():
            nonce.count += 1
            lines.append(
                CHALLENGES[status][1]
                + digest.answer(
                    nonce.challenge,
                    method=outgoing.method,
                    uri=outgoing.uri,
                    username=self._account.aor.user,
                    password=self._account.password or "",
                    nc=nonce.count,
                    cnonce=self._entropy.token(),
                )
            )
        return lines

    def _learn(self, response: Message, answered: set[int]) -> bool:
        """Take a challenge to be answered; False when there is nothing to answer it with."""
        status = response.status
        try:
            challenges = digest.parse_challenges(response.values(CHALLENGES[status][0]))
        except ParseError:
            return False
        challenge = digest.choose(challenges)
        if self._account.password is None or challenge is None:
            return False
        if status in answered and not challenge.stale:
            self._nonces.pop(status, None)
            return False
        answered.add(status)
        self._nonces[status] = _Nonce(challenge)
        return True

    @staticmethod
    def _silence(outgoing: Outgoing, reason: str) -> NoAnswer:
        return NoAnswer(reason, call_id=outgoing.call_id.decode())
