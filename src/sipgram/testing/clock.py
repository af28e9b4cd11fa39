"""Time as tests want it: it stands still until it is moved."""

from sipgram.errors import UsageError


class ManualClock:
    """Monotonic seconds; called like ``loop.time``."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, by_s: float) -> float:
        """Let ``by_s`` seconds go by and return the new time."""
        return self.move_to(self.now + by_s)

    def move_to(self, now: float) -> float:
        """Go on to the instant ``now`` and return it.

        Raises:
            UsageError: it lies before the present one.
        """
        if now < self.now:
            raise UsageError(f"time cannot go back from {self.now} to {now}")
        self.now = now
        return now
