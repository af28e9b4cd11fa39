"""Parts that wait for each other, bounded in number and time (TS 23.040 §9.2.3.24.1)."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from sipgram.sms.concatenation import join
from sipgram.sms.user_data import UserData

WAITING_MAX: Final = 10_000
PARTS_MAX: Final = 50_000
KEEP_S: Final = 24 * 60 * 60.0
MISSING: Final = "[…]"


@dataclass(frozen=True, slots=True)
class Assembled:
    """The parts of one message in order, None where one never came."""

    key: Hashable
    parts: tuple[UserData | None, ...]

    @property
    def is_complete(self) -> bool:
        """Whether no part is missing."""
        return None not in self.parts

    def text(self, *, missing: str = MISSING) -> str | None:
        """Return the text with ``missing`` for each gap; None when a part has octets."""
        texts: list[str] = []
        run: list[UserData] = []
        for part in (*self.parts, None):
            if part is not None:
                run.append(part)
                continue
            text = join(run)
            if text is None:
                return None
            texts += (text, missing)
            run = []
        return "".join(texts[:-1])


@dataclass(slots=True)
class _Waiting:
    """A message of which not all parts are here."""

    key: Hashable
    total: int
    since: float
    parts: dict[int, UserData]

    def assembled(self) -> Assembled:
        """Take it as it is."""
        return Assembled(self.key, tuple(self.parts.get(n) for n in range(1, self.total + 1)))


class Reassembly:
    """Keeps parts in memory until their message is whole or has waited too long.

    Who needs them to survive a restart keeps them elsewhere too, and adds them again.
    """

    def __init__(
        self,
        *,
        waiting_max: int = WAITING_MAX,
        parts_max: int = PARTS_MAX,
        keep_s: float = KEEP_S,
    ) -> None:
        self._waiting_max = waiting_max
        self._parts_max = parts_max
        self._keep_s = keep_s
        # In the order of their first parts, which is that of their ends too.
        self._waiting: dict[Hashable, _Waiting] = {}
        self._parts = 0

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def add(self, key: Hashable, part: UserData, *, now: float) -> list[Assembled]:
        """Take a part; return what is finished by it.

        ``key`` names who sends to whom. The message that is whole now is among them, and the
        oldest ones when there are too many: those are not complete. A part that came before
        takes the place of the earlier copy.
        """
        concatenation = part.concatenation
        if concatenation is None or concatenation.total == 1:
            return [Assembled(key, (part,))]
        total = concatenation.total
        name = (key, concatenation.reference, concatenation.is_wide, total)
        waiting = self._waiting.get(name)
        if waiting is None:
            waiting = self._waiting[name] = _Waiting(key, total, now, {})
        self._parts += concatenation.number not in waiting.parts
        waiting.parts[concatenation.number] = part
        finished = [self._remove(name)] if len(waiting.parts) == total else []
        while len(self._waiting) > self._waiting_max or self._parts > self._parts_max:
            finished.append(self._remove(next(iter(self._waiting))))
        return finished

    def expire(self, now: float) -> list[Assembled]:
        """Give up what has waited ``keep_s``; return it, incomplete as it is."""
        finished = []
        while (due := self.next_due()) is not None and due <= now:
            finished.append(self._remove(next(iter(self._waiting))))
        return finished

    def next_due(self) -> float | None:
        """Return when ``expire`` has something to do, None when nothing waits."""
        oldest = next(iter(self._waiting.values()), None)
        return None if oldest is None else oldest.since + self._keep_s

    def _remove(self, name: Hashable) -> Assembled:
        waiting = self._waiting.pop(name)
        self._parts -= len(waiting.parts)
        return waiting.assembled()
