"""A histogram of ``GET /metrics`` (Prometheus text format 0.0.4), and what came between two readings."""

import re
import urllib.request
from dataclasses import dataclass

LOOP_LAG = "sipgram_loop_lag_seconds"
"How much later than asked a timer of the server's loop fired."

_TIMEOUT_S = 10.0
_BUCKET = re.compile(r'^(\w+)_bucket\{(?:[^}]*,)?le="([^"]+)"[^}]*\}\s+(\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Samples at or under each bound, bounds rising, the last infinite."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def parse(cls, text: str, *, name: str) -> "Histogram":
        """Read the buckets of one metric; label sets are added up. Without the metric it is empty."""
        counts: dict[float, int] = {}
        for found, bound, count in _BUCKET.findall(text):
            if found == name:
                counts[float(bound)] = counts.get(float(bound), 0) + int(float(count))
        return cls(tuple(sorted(counts)), tuple(counts[bound] for bound in sorted(counts)))

    @property
    def samples(self) -> int:
        return self.counts[-1] if self.counts else 0

    def since(self, earlier: "Histogram") -> "Histogram":
        """The samples that came after ``earlier`` was read."""
        before = dict(zip(earlier.bounds, earlier.counts, strict=True))
        counts = (
            count - before.get(bound, 0)
            for bound, count in zip(self.bounds, self.counts, strict=True)
        )
        return Histogram(self.bounds, tuple(counts))

    def quantile(self, share: float) -> float | None:
        """The bound that at least this share of the samples keep to; None without samples."""
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if self.samples and count >= share * self.samples:
                return bound
        return None

    def over(self, limit: float) -> int:
        """How many samples may be over ``limit``: those above the greatest bound within it."""
        within = [
            count for bound, count in zip(self.bounds, self.counts, strict=True) if bound <= limit
        ]
        return self.samples - (within[-1] if within else 0)


def fetch(url: str) -> str:
    """The text of a page of the server under test; ``OSError`` when there is none."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        text: bytes = answer.read()
        return text.decode()


def loop_lag(http: str) -> Histogram:
    """The loop lag of the server whose HTTP listens at ``http``, HOST:PORT."""
    return Histogram.parse(fetch(f"http://{http}/metrics"), name=LOOP_LAG)
