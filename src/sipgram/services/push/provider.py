"""What a push service is to the rest of the server, and the values that go to and fro."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sipgram.errors import Error
from sipgram.sip.push import Push

Why = Literal["message", "refresh"]
"""Something waits for the phone, or its registration is about to end (RFC 8599 §5.5)."""


@dataclass(frozen=True, slots=True)
class Wake:
    """One request to wake one phone; no word of what waits for it."""

    push: Push
    aor: str
    why: Why


class PushFailed(Error):
    """The push service did not take it; trying again may help when ``is_temporary``."""

    def __init__(self, reason: str, *, is_temporary: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_temporary = is_temporary
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """One push service."""

    async def tell(self, wake: Wake) -> None:
        """Have the phone woken; ``PushFailed`` when the service does not take it."""

    async def close(self) -> None:
        """Let go of connections."""


def check(status: int, text: str, *, retry_after: str = "") -> None:
    """Read a push service's HTTP status: 429 and 5xx may pass, the rest of the failures not.

    Raises:
        PushFailed: it is no 2xx.
    """
    if 200 <= status < 300:
        return
    raise PushFailed(
        f"{status} {text[:200]}".strip(),
        is_temporary=status == 429 or status >= 500,
        retry_after_s=float(retry_after) if retry_after.isdigit() else 0.0,
    )
