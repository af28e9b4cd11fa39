"""From a request of the API to messages of the outbox: who may send, and once only (D2)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from sipgram.errors import SettingsError
from sipgram.http.caller import Caller, allowed
from sipgram.http.problem import Problem
from sipgram.services.directory import Directory, Resident
from sipgram.services.outbox import rules
from sipgram.services.outbox.service import Outbox
from sipgram.services.outbox.store import Outgoing, Submission
from sipgram.services.outbox.wire import NewMessage

KEY_CHARS_MAX: Final = 255


class Reply(NamedTuple):
    """What the client hears; ``ids`` are of the messages."""

    status: int
    body: dict[str, Any]
    ids: tuple[int, ...]
    is_repeated: bool = False


class Desk:
    """Takes requests for messages."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        directory: Directory,
        body_bytes_max: int,
        default_domain: str,
        check_url: Callable[[str], None],
    ) -> None:
        """``check_url`` raises ``SettingsError`` for what may not be called back."""
        self._check_url = check_url
        self.outbox = outbox
        self.directory = directory
        self._body_bytes_max = body_bytes_max
        self._domain = default_domain
        self._busy: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    # ---- one request -----------------------------------------------------------------------

    async def take(self, new: NewMessage, caller: Caller, *, key: str, digest: bytes) -> Reply:
        """Accept a message to one or many; the same request under the same key but once."""
        if len(key) > KEY_CHARS_MAX or not key.isprintable():
            raise Problem(
                422,
                f"the key is not 1 to {KEY_CHARS_MAX} printable characters",
                parameter="Idempotency-Key",
            )
        if not key:
            return await self._accept(new, caller, key, digest)
        async with self.alone(caller.id, key):
            known = await self.recall(caller.id, key, digest)
            return known or await self._accept(new, caller, key, digest)

    async def recall(self, caller: str, key: str, digest: bytes) -> Reply | None:
        """Return the answer that was given under a key."""
        known = await self.outbox.store.submission(caller, key, self.outbox.wall())
        if known is None:
            return None
        if known.digest != digest:
            raise Problem(422, "the key was used for another request", parameter="Idempotency-Key")
        return Reply(known.status, json.loads(known.answer), (), is_repeated=True)

    @asynccontextmanager
    async def alone(self, caller: str, key: str) -> AsyncIterator[None]:
        """Let requests of one key go one after the other."""
        lock, count = self._busy.get((caller, key)) or (asyncio.Lock(), 0)
        self._busy[caller, key] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._busy.pop((caller, key))
            if count > 1:
                self._busy[caller, key] = (lock, count - 1)

    async def _accept(self, new: NewMessage, caller: Caller, key: str, digest: bytes) -> Reply:
        submission = self.outbox.ids.next() if key or len(new.recipients) > 1 else 0
        messages = self.messages(new, caller, submission=submission)
        body: dict[str, Any] = {
            "id": str(messages[0].id if len(messages) == 1 else submission),
            "messages": [{"id": str(m.id), "to": m.recipient, "state": m.state} for m in messages],
        }
        whole = self.submission(messages, caller, key, digest, body) if submission else None
        await self.outbox.accept(messages, whole)
        return Reply(202, body, tuple(message.id for message in messages))

    def submission(
        self,
        messages: list[Outgoing],
        caller: Caller,
        key: str,
        digest: bytes,
        body: dict[str, Any],
    ) -> Submission:
        """Return what is remembered of a request; until the last of its messages is sent."""
        now = self.outbox.wall()
        latest = max((message.send_at_utc or now for message in messages), default=now)
        return Submission(
            id=messages[0].submission,
            caller=caller.id,
            key=key,
            digest=digest,
            status=202,
            answer=json.dumps(body).encode(),
            due_utc=latest + self.outbox.settings.idempotency_s,
        )

    # ---- one message -----------------------------------------------------------------------

    def messages(
        self, new: NewMessage, caller: Caller, *, submission: int, at: str = ""
    ) -> list[Outgoing]:
        """Return the messages that a request asks for; ``at`` is where it stands in a batch."""
        recipients = new.recipients
        limit = self.outbox.settings.recipients_max
        if not 1 <= len(recipients) <= limit:
            raise Problem(422, f"recipients are not 1 to {limit}", pointer=f"{at}/to")
        octets = new.octets
        if len(octets) > self._body_bytes_max:
            name = "text" if new.text is not None else "body"
            detail = f"{len(octets)} octets are more than {self._body_bytes_max}"
            raise Problem(413, detail, pointer=f"{at}/{name}")
        sender, resident = self.sender(new.sender, caller, at)
        if new.callback_url is not None:
            try:
                self._check_url(new.callback_url)
            except SettingsError as error:
                raise Problem(422, str(error), pointer=f"{at}/callback_url") from error
        is_list = isinstance(new.to, list)
        now = self.outbox.wall()
        send_at = self._send_at(new, now, at)
        return [
            Outgoing(
                id=self.outbox.ids.next(),
                submission=submission,
                caller=caller.id,
                account_id=resident.account_id,
                sender=sender,
                recipient=self.recipient(text, f"{at}/to" + f"/{place}" * is_list),
                content_type=new.media_type,
                body=octets,
                expires_s=-1 if new.expires is None else new.expires,
                receipts=" ".join(dict.fromkeys(new.receipts)),
                callback_url=new.callback_url or "",
                tag=new.tag or "",
                state="queued" if send_at is None else "scheduled",
                status=0,
                reason="",
                devices="",
                created_utc=now,
                send_at_utc=send_at,
                due_utc=send_at,
            )
            for place, text in enumerate(recipients)
        ]

    def sender(self, wanted: str | None, caller: Caller, at: str = "") -> tuple[str, Resident]:
        """Return whom a caller sends as."""
        if wanted is None:
            if len(caller.aors) != 1:
                detail = "say which of the key's accounts sends" if caller.aors else "say who sends"
                raise Problem(422, detail, pointer=f"{at}/from")
            wanted = caller.aors[0]
        try:
            uri = rules.parse_address(wanted, domain=self._domain)
        except ValueError as error:
            raise Problem(422, str(error), pointer=f"{at}/from") from error
        resident = self.directory.resident(uri)
        if resident is None or not allowed(caller, resident.aor, resident.account_id):
            # Whether there is such an account is nobody's business who may not send as it.
            raise Problem(403, f"this key does not send as {uri}", pointer=f"{at}/from")
        return uri, resident

    def recipient(
        self, text: str, pointer: str | None = None, *, parameter: str | None = None
    ) -> str:
        """Return an address as a URI; ``Problem`` when it is none."""
        try:
            return rules.parse_address(text, domain=self._domain)
        except ValueError as error:
            raise Problem(422, str(error), pointer=pointer, parameter=parameter) from error

    def names_of(self, caller: Caller) -> tuple[str, ...]:
        """Return all names of the accounts that a caller acts for."""
        residents = [self.directory.resident(aor) for aor in caller.aors]
        return tuple(aor for resident in residents if resident for aor in resident.aors)

    async def wait(self, ids: tuple[int, ...], timeout_s: float) -> dict[int, Outgoing]:
        """Return those messages that have an outcome within a time."""
        ended = await asyncio.gather(*(self.outbox.wait(id, timeout_s) for id in ids))
        return {message.id: message for message in ended if message is not None}

    def _send_at(self, new: NewMessage, now: float, at: str) -> float | None:
        if new.send_at is None:
            return None
        send_at = new.send_at.timestamp()
        if send_at > now + self.outbox.settings.send_at_max_s:
            raise Problem(422, "send_at is too far ahead", pointer=f"{at}/send_at")
        return max(send_at, now)


def digest_of(*parts: bytes) -> bytes:
    """Return what tells one request from another."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()
