"""Messages of the server's own: stored first, then delivered like any other (DELIVERY.md D15, D20)."""

from collections.abc import Callable, Sequence
from email.utils import formatdate
from hashlib import blake2b
from typing import Final, NamedTuple

import structlog

from sipgram.errors import PeerError, Refusal
from sipgram.services.messaging.deposits import Deposits
from sipgram.services.messaging.drain import BoundDevice
from sipgram.services.messaging.inbox import Inbox, OnDisk
from sipgram.services.messaging.rules import LIFETIME_MAX_S
from sipgram.services.messaging.store import StoredMessage

log = structlog.get_logger("sipgram.messaging")

MARK_BYTES: Final = 12


class Letter(NamedTuple):
    """A message that nobody's phone sent; headers are whole lines without CRLF."""

    sender: bytes
    "URI of From."
    to: bytes
    "URI of an AoR that lives here."
    cause: bytes
    "What it is about: of one cause one letter is sent, also when it is asked for again."
    content_type: bytes
    body: bytes
    headers: Sequence[bytes] = ()


class LetterBox:
    """Puts letters into the inboxes of those who live here."""

    def __init__(
        self,
        deposits: Deposits,
        *,
        inbox_of: Callable[[bytes], Inbox],
        bindings_of: Callable[[str], Sequence[BoundDevice]],
        rearm: Callable[[], None],
    ) -> None:
        """``inbox_of`` raises Refusal for whom we do not have.

        ``rearm`` is called when a deadline was set outside of the endpoint's own batches.
        """
        self._all = deposits
        self._inbox_of = inbox_of
        self._bindings_of = bindings_of
        self._rearm = rearm
        self.posted = 0
        self.refused = 0

    def post(self, letter: Letter, now: float) -> bool:
        """Store a letter and begin to deliver it; False when there is no such inbox, or no room.

        Of what the disk does not take now the ledger takes care.
        """
        try:
            inbox = self._inbox_of(letter.to)
            message = self._message(letter, inbox)
            if message.digest in inbox.recent:
                return True
            self._all.check_room(inbox, message.size)
        except (Refusal, PeerError) as error:
            self.refused += 1
            log.info("own message not stored", to=letter.to, reason=str(error))
            return False
        self.posted += 1
        self._put(message, inbox, now)
        return True

    def _put(self, message: StoredMessage, inbox: Inbox, now: float) -> None:
        ledger, store = self._all.ledger, self._all.store
        for binding in self._bindings_of(inbox.aor):
            inbox.device(binding.instance, now=now)  # They are to have it, too.
        inbox.committing += 1
        inbox.expect(message.sender)
        inbox.remember(message.digest, OnDisk(), now)

        def write(done: Callable[[Exception | None], None]) -> None:
            def told(error: Exception | None) -> None:
                if error is None:
                    self._stored(message, inbox)
                done(error)

            store.put(message, is_for_all=True, copies=(), done=told)

        ledger.write(write)

    def _stored(self, message: StoredMessage, inbox: Inbox) -> None:
        ledger, now = self._all.ledger, self._all.clock()
        inbox.committing -= 1
        if ledger.find(inbox.aor) is not inbox:  # The account has gone meanwhile.
            ledger.drop(message.id)
            return
        ledger.add(inbox, message)
        for device in list(inbox.devices.values()):
            self._all.drains.look(device, was_tried=False, now=now)
        self._rearm()

    def _message(self, letter: Letter, inbox: Inbox) -> StoredMessage:
        received_utc = self._all.wall()
        mark = blake2b(
            b"%b\n%b\n%b" % (letter.cause, letter.sender, letter.to), digest_size=MARK_BYTES
        ).digest()
        name = mark.hex().encode()
        lines = (
            b"From: <%b>;tag=%b" % (letter.sender, name[:16]),
            b"To: <%b>" % letter.to,
            b"Call-ID: " + name,
            b"CSeq: 1 MESSAGE",
            b"Date: " + formatdate(received_utc, usegmt=True).encode(),
            b"Content-Type: " + letter.content_type,
            *letter.headers,
        )
        return StoredMessage(
            id=self._all.ids.next(),
            aor=inbox.aor,
            account_id=inbox.account_id,
            sender=letter.sender,
            call_id=name,
            digest=mark,
            content_type=letter.content_type,
            head=b"".join(line + b"\r\n" for line in lines),
            body=letter.body,
            received_utc=received_utc,
            expires_utc=received_utc + LIFETIME_MAX_S,
        )
