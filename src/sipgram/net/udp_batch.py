"""The UDP listener that receives and sends in batches of 32 datagrams (RFC 3261 §18).

Its twin is ``udp.UdpListener``: the same from outside, held equal by the same tests.
"""

import asyncio
from collections.abc import Callable, Collection

from sipgram.net._udp import UdpBatch
from sipgram.net.udp import (
    BATCHES_PER_WAKE,
    ERROR_BATCHES_PER_WAKE,
    Address,
    Receive,
    Refused,
    UdpFlow,
    UdpListener,
    packed_address,
    unpacked_address,
)


class NativeUdpListener(UdpListener):
    """One bound UDP socket whose system calls take up to 32 datagrams each.

    What is sent while datagrams are handed over goes out when 32 are together and when all were
    handed over; what is sent at other times at the end of that turn of the loop.
    """

    def __init__(
        self,
        *,
        receive: Receive,
        after_batch: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        queue_max: int,
        refused: Refused | None = None,
    ) -> None:
        super().__init__(
            receive=receive,
            after_batch=after_batch,
            loop=loop,
            queue_max=queue_max,
            refused=refused,
        )
        self._batch: UdpBatch | None = None
        self._flows_by_key: dict[bytes, UdpFlow] = {}

    def open(self, host: str, port: int, *, advertised: str, buffer_bytes: int) -> None:
        super().open(host, port, advertised=advertised, buffer_bytes=buffer_bytes)
        assert self._socket is not None
        self._batch = UdpBatch(
            self._socket.fileno(),
            is_v6=":" in self.host,
            receive=self._receive,
            new_flow=self._flow_of,
            wake=self._wake,
            queue_max=self._queue_max,
        )

    def close(self) -> None:
        if self._batch is not None:
            self._batch.close()  # Kept: flows that somebody holds go on to drop what they send.
        super().close()

    def _new_flow(self, address: Address) -> UdpFlow:
        assert self._batch is not None
        key = packed_address(address, is_v6=":" in self.host)
        flow = UdpFlow(self, address, send=self._batch.sender(key).send)
        self._flows_by_key[key] = flow
        return flow

    def _forget_flows(self) -> None:
        super()._forget_flows()
        self._flows_by_key.clear()

    def _flow_of(self, key: bytes) -> UdpFlow:
        flow = self._flows_by_key[key] = self.flow(unpacked_address(key))
        return flow

    def _wake(self) -> None:
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        batch = self._batch
        if batch is not None:
            batch.flush()
            self._look_after(batch)

    def _look_after(self, batch: UdpBatch) -> None:
        """See to what the last sending left behind."""
        self.dropped = batch.dropped
        if batch.queued:
            self._want_write(True)

    def _writable(self) -> None:
        batch = self._batch
        if batch is not None:
            batch.drain()
            self.dropped = batch.dropped
            self._want_write(batch.queued > 0)

    def _readable(self) -> None:
        batch = self._batch
        if batch is None or self._socket is None:
            return
        now = self._loop.time()
        try:
            count = batch.pump(self._flows_by_key, now, BATCHES_PER_WAKE)
        finally:
            self._look_after(batch)
            if batch.pending:  # The receiver raised: the rest of the batch still has its turn.
                self._loop.call_soon(self._readable)
        if batch.failed or not count:
            batch.failed = False
            self._read_errors(now)
        self._after_batch()

    def _refusing_flows(self) -> Collection[UdpFlow]:
        keys = () if self._batch is None else self._batch.refusals(ERROR_BATCHES_PER_WAKE)
        return [self._flows_by_key[key] for key in keys if key in self._flows_by_key]
