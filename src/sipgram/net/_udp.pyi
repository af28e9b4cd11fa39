"""Types of the batching UDP socket (recvmmsg, sendmmsg)."""

from collections.abc import Callable

from sipgram.net.udp import UdpFlow

class UdpSender:
    def send(self, data: bytes) -> bool: ...

class UdpBatch:
    dropped: int
    failed: bool
    def __init__(
        self,
        fd: int,
        *,
        is_v6: bool,
        receive: Callable[[bytes, UdpFlow, float], None],
        new_flow: Callable[[bytes], UdpFlow],
        wake: Callable[[], None],
        queue_max: int,
    ) -> None: ...
    @property
    def pending(self) -> int: ...
    @property
    def queued(self) -> int: ...
    def sender(self, key: bytes) -> UdpSender: ...
    def pump(self, flows: dict[bytes, UdpFlow], now: float, batches: int) -> int: ...
    def flush(self) -> None: ...
    def drain(self) -> None: ...
    def close(self) -> None: ...
