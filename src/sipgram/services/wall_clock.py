"""The wall clock, believed as far as it deserves (DELIVERY.md D35).

A clock that is set by hand, by a first answer of NTP or by a board without a battery moves by hours
or years at once. What is stored ends by the wall clock, so that such a step must not end it.
"""

from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger("sipgram.clock")

MOVED_S: Final = 3_600.0
"""A move of more than this against the monotonic clock, or the last time seen, is a step."""
SANE_S: Final = 600.0
"""How long the wall clock has to keep in step before it is believed again."""


class WallClock:
    """Seconds since 1970, to stamp with when called and to end things by with ``certain``.

    ``last_seen_utc`` is what was certain when the program ran before, None when it never did.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        clock: Callable[[], float],
        *,
        last_seen_utc: float | None = None,
    ) -> None:
        self._wall = wall
        self._clock = clock
        now = clock()
        self._lead = wall() - now
        "What the wall clock is ahead of the monotonic one, as it is believed."
        self._said = self._lead
        "The same as the wall clock says it."
        self._since: float | None = None
        "When the wall clock made its last step; None while it is believed."
        self._certain_utc = 0.0
        if last_seen_utc is not None:
            self._lead = last_seen_utc - now
            self.look()

    def __call__(self) -> float:
        """Return the time to stamp with: a step ahead is believed at once, one back is not.

        So that what is stamped in doubt ends too late, if anything, and never too early.
        """
        wall = self._wall()
        if self._since is None:
            lead = wall - self._clock()
            if -MOVED_S <= lead - self._lead <= MOVED_S:
                self._lead = lead
                return wall
        now = self.look()
        return now + (self._lead if self._since is None else max(self._lead, self._said))

    def certain(self) -> float:
        """Return the time by which things may end: it stands still while there is a doubt."""
        now = self.look()
        return now + self._lead if self._since is None else self._certain_utc

    @property
    def is_believed(self) -> bool:
        """Whether there is no doubt."""
        self.look()
        return self._since is None

    def look(self) -> float:
        """Compare the clocks; return what the monotonic one says."""
        now = self._clock()
        lead = self._wall() - now
        if self._since is None:
            if abs(lead - self._lead) > MOVED_S:
                self._certain_utc = now + self._lead
                self._step(lead, now)
            else:
                self._lead = self._said = lead
        elif abs(lead - self._said) > MOVED_S:
            self._step(lead, now)
        elif now - self._since >= SANE_S:
            self._lead, self._since = lead, None
            log.info("the wall clock is believed again")
        else:
            self._said = lead
        return now

    def _step(self, lead: float, now: float) -> None:
        by_s = round(lead - self._lead)
        log.warning("the wall clock has moved: nothing expires for a while", by_s=by_s)
        self._said, self._since = lead, now
