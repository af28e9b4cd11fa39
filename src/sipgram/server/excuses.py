"""What an error becomes as an answer: the only place where that is decided (RFC 3261 §21, D11)."""

from collections.abc import Callable
from typing import Final

import structlog

from sipgram.errors import PeerError, Refusal, Unavailable
from sipgram.services.answers import Reply
from sipgram.sip.message.message import Message

log = structlog.get_logger("sipgram.server")

UNAVAILABLE_LOG_S: Final = 60.0
"""While a disk is full every request meets it."""


class Excuses:
    """Answers for errors; what is unavailable is logged once a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logs_again = -UNAVAILABLE_LOG_S
        self._count = 0

    def excuse(self, error: Exception, request: Message) -> Reply:
        """Turn an error into an answer."""
        match error:
            case Refusal():
                return Reply(error.status, error.reason, error.headers)
            case PeerError():
                return Reply(error.status, error.reason)
            case Unavailable():
                self._note(error.reason)
                # D11: 500, since 503 would tell the peer to send nothing at all here.
                return Reply(500, error.reason, (b"Retry-After: %d" % error.retry_after_s,))
            case _:
                log.error("request failed", call_id=request.call_id, exc_info=error)
                return Reply(500)

    def _note(self, reason: str) -> None:
        now = self._clock()
        if now >= self._logs_again:
            log.warning("unavailable", reason=reason, since_last=self._count)
            self._logs_again = now + UNAVAILABLE_LOG_S
            self._count = 0
        self._count += 1
