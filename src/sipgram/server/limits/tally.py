"""Refusals that a peer can bring about at will: counted each, logged once a minute."""

from collections.abc import Callable
from typing import Final

import structlog

from sipgram.sip.sink import Flow

log = structlog.get_logger("sipgram.server")

LOG_EVERY_S: Final = 60.0


class Tally:
    """Counts by reason, of which there are a few that we wrote down ourselves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.counts: dict[str, int] = {}
        self._logged: dict[str, tuple[float, int]] = {}

    def note_connection(self, flow: Flow) -> None:
        """Count a connection that was closed at once, since there were too many."""
        self.note("connections", address=flow.host.decode())

    def note(self, reason: str, **detail: object) -> None:
        """Count a refusal; ``detail`` is of this one, which may stand for many."""
        count = self.counts[reason] = self.counts.get(reason, 0) + 1
        again, before = self._logged.get(reason, (-LOG_EVERY_S, 0))
        now = self._clock()
        if now >= again:
            self._logged[reason] = (now + LOG_EVERY_S, count)
            log.warning("refused", reason=reason, since_last=count - before, **detail)
