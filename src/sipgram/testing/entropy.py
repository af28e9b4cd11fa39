"""Chance that counts: every token differs from the last, and every run is the same."""


class CountingEntropy:
    """An ``identity.Entropy`` whose answers are numbers in order."""

    def __init__(self) -> None:
        self._count = 0

    def token(self) -> str:
        """Return ``"0000000000000001"``, then ``…2``."""
        return f"{self._next():016x}"

    def secret(self) -> bytes:
        """Return 32 bytes."""
        return self._next().to_bytes(32, "big")

    def fraction(self) -> float:
        """Return hundredths: 0.01, 0.02 … and after 0.99 0.0 again."""
        return self._next() % 100 / 100

    def _next(self) -> int:
        self._count += 1
        return self._count
