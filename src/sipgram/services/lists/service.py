"""The list service: one request in, a copy to each recipient out, one answer (RFC 5365 §7)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from sipgram.errors import ParseError, Refusal
from sipgram.services.answers import Answer, Later, Reply
from sipgram.services.injection import Injects, Outcome
from sipgram.services.lists import rules
from sipgram.settings import ListSettings
from sipgram.sip.message.grammar import shown
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import Aor
from sipgram.sip.sink import Flow

TURN_S: Final = 0.003
"""Work in one turn of the loop; one copy more is under 5 ms together."""

CAPABILITIES: Final = Reply(200, headers=(rules.ALLOW, rules.ACCEPT, b"Supported: " + rules.OPTION))


class Recipient(Protocol):
    """An AoR that lives here."""

    @property
    def aor(self) -> Aor:
        """Its leading name."""


class _Copy(NamedTuple):
    uri: bytes
    "The leading name of the account."
    shown_uri: bytes
    "As the list has it: To of the copy."


class Lists:
    """Serves ``sip:USER@`` every domain of ours, for those who have an account here.

    Nothing is sent before the whole list is known to be good. The answer is 202 when each
    recipient's copy was taken or is on disk; else the first failure, and which it was.
    """

    def __init__(
        self,
        find: Callable[[bytes], Recipient],
        *,
        takes_lists: Callable[[Aor], bool],
        injects: Injects,
        next_id: Callable[[], int],
        settings: ListSettings,
        clock: Callable[[], float],
    ) -> None:
        """``find`` raises Refusal for whom we do not have."""
        self._find = find
        self._takes_lists = takes_lists
        self._injects = injects
        self._next_id = next_id
        self._settings = settings
        self._clock = clock
        self.copies = 0

    def is_service(self, uri: bytes) -> bool:
        """Say whether a Request-URI names the service; its domain is known to be ours."""
        if not self._settings.user:
            return False
        try:
            return Aor.parse(uri).user == self._settings.user
        except ParseError:
            return False

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        """Take a MESSAGE to the service.

        Raises:
            Refusal: 403, 404, 420, 421 or 470 for a list that cannot be served.
            PeerError: the request is malformed.
        """
        if request.method == b"OPTIONS":
            return CAPABILITIES
        if request.method != b"MESSAGE":
            raise Refusal(405, "Method Not Allowed", (rules.ALLOW,))
        rules.check_extensions(request)
        self._check_sender(request)
        wish = rules.wish_of(request, recipients_max=self._settings.recipients_max)
        copies = self._copies([recipient.uri.encode() for recipient in wish.recipients])
        content_type, body = rules.content_of(wish, rules.boundary_of(request))
        return Later(self._send(request, copies, content_type, body, account_id))

    def _check_sender(self, request: Message) -> None:
        """Nothing is multiplied for strangers (D1), however they are trusted otherwise."""
        try:
            self._find(request.from_uri)
        except Refusal as error:
            raise Refusal(403, "Lists Are For Accounts Of This Server") from error

    def _copies(self, uris: Sequence[bytes]) -> list[_Copy]:
        """Return one copy for each account (RFC 5363 §4.1: no duplicates), all of them good."""
        found: dict[bytes, _Copy] = {}
        missing: list[bytes] = []
        for uri in uris:
            if self.is_service(uri):
                raise Refusal(403, "List Names The List Service Itself")
            aor = self._find(uri).aor
            name = str(aor).encode()
            if name in found:
                continue
            found[name] = _Copy(name, uri)
            if not self._takes_lists(aor):
                missing.append(uri)
        if missing:  # RFC 5360 §5.9.2: which permissions are missing.
            line = b"Permission-Missing: " + b", ".join(b"<" + uri + b">" for uri in missing)
            raise Refusal(470, f"Consent Needed: {shown(missing[0])}", (line,))
        return list(found.values())

    async def _send(
        self,
        request: Message,
        copies: Sequence[_Copy],
        content_type: bytes,
        body: bytes,
        account_id: int | None,
    ) -> Reply:
        """Send a copy to each, in turns of a few milliseconds, and wait for all answers."""
        answers = _Answers(len(copies))
        began = self._clock()
        for copy in copies:
            raw = rules.copy_for(
                request, copy.uri, shown_uri=copy.shown_uri, content_type=content_type, body=body
            )
            self.copies += 1
            heard = answers.heard(copy.shown_uri)
            self._injects.send(self._next_id(), raw, account_id=account_id, done=heard)
            if self._clock() - began >= TURN_S:
                await asyncio.sleep(0)
                began = self._clock()
        await answers.all
        return answers.reply()


class _Answers:
    """What became of the copies."""

    def __init__(self, count: int) -> None:
        self.all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count = self._left = count
        self._failed: dict[str, Outcome] = {}

    def heard(self, uri: bytes) -> Callable[[Outcome], None]:
        """Return who hears of one copy."""

        def hear(outcome: Outcome) -> None:
            self._left -= 1
            if outcome.status >= 300:
                self._failed[uri.decode("utf-8", "replace")] = outcome
            if not self._left and not self.all.done():
                self.all.set_result(None)

        return hear

    def reply(self) -> Reply:
        """Return the one answer."""
        if not self._failed:
            return Reply(202)
        # What can be mended by trying again first: those who had it recognise it (D23).
        worst = max(self._failed.values(), key=lambda outcome: outcome.retry_after_s)
        lines = (b"Retry-After: %d" % worst.retry_after_s,) if worst.retry_after_s else ()
        return Reply(worst.status, rules.failures_shown(list(self._failed), self._count), lines)
