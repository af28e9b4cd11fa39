"""The branches of live relays whose device has not answered yet (DELIVERY.md D12, D18)."""

from collections import OrderedDict
from typing import Final, NamedTuple

from sipgram.services.messaging.inbox import Device
from sipgram.services.messaging.ledger import Kept
from sipgram.sip.sink import Flow

LIVE_MAX: Final = 50_000
"""Branches remembered; beyond that the oldest are forgotten, and their late 2xx is a stray."""
SAME_BRANCH_S: Final = 32.0
"""So long a device may still know a branch (Timer J), and answers 482 to another of its Call-ID."""


class LiveBranch(NamedTuple):
    """One attempt that is, or was, on its way."""

    branch: bytes
    flow: Flow
    contact: bytes
    device: Device
    message: Kept
    at: float


class LiveBranches:
    """Found by branch, for late answers, and by copy, for repetitions."""

    def __init__(self) -> None:
        self._by_branch: OrderedDict[bytes, LiveBranch] = OrderedDict()
        self._by_copy: dict[tuple[int, bytes], LiveBranch] = {}

    def __len__(self) -> int:
        return len(self._by_branch)

    def add(self, live: LiveBranch) -> None:
        """Remember an attempt."""
        while len(self._by_branch) >= LIVE_MAX:
            self._forget(next(iter(self._by_branch.values())))
        self._by_branch[live.branch] = live
        self._by_copy[live.message.id, live.device.instance] = live

    def of_branch(self, branch: bytes) -> LiveBranch | None:
        """Return the attempt that an answer belongs to."""
        return self._by_branch.get(branch)

    def of_copy(self, id: int, instance: bytes) -> LiveBranch | None:
        """Return the latest attempt at a copy."""
        return self._by_copy.get((id, instance))

    def over(self, live: LiveBranch) -> None:
        """Forget an attempt that has its answer."""
        self._forget(live)

    def _forget(self, live: LiveBranch) -> None:
        self._by_branch.pop(live.branch, None)
        if self._by_copy.get((live.message.id, live.device.instance)) is live:
            del self._by_copy[live.message.id, live.device.instance]
