"""A network in memory that loses, repeats and reorders, in virtual time (RFC 3261 §18)."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

from sipgram.errors import UsageError
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.timers import NEVER
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing.clock import ManualClock

Address = tuple[str, int]
STEPS_MAX: Final = 1_000_000
"""More packets and timers than this in one run mean that two elements answer each other for ever."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the way does to datagrams; a reliable flow knows only ``delay_s``."""

    loss: float = 0.0
    "Part of the datagrams that never arrive, 0 to 1."
    duplication: float = 0.0
    "Part of the datagrams that arrive twice, each with a delay of its own."
    delay_s: float = 0.001
    "Least time on the way."
    jitter_s: float = 0.0
    "Most time that chance adds; a later datagram overtakes an earlier one by it."


@dataclass(frozen=True, slots=True)
class Packet:
    """One message that was sent, and when it arrives."""

    sent: float
    source: Address
    target: Address
    data: bytes
    arrivals: tuple[float, ...]
    "Earliest first; empty for one that is lost, two for one that is repeated."


class FakeNetwork:
    """Endpoints by address; carries what they send and advances their transactions' timers."""

    def __init__(self, *, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.clock = ManualClock()
        self.conditions = conditions or Conditions()
        self.packets: list[Packet] = []
        "Everything that was sent, in order."
        self._random = random.Random(seed)
        self._endpoints: dict[Address, FakeEndpoint] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._last_arrival: dict[tuple[Address, Address], float] = {}

    def attach(self, host: str, port: int = 5060) -> "FakeEndpoint":
        """Make an endpoint; give it a table before anything is sent to it.

        Raises:
            UsageError: the address is taken.
        """
        if (host, port) in self._endpoints:
            raise UsageError(f"address is taken: {host}:{port}")
        endpoint = self._endpoints[host, port] = FakeEndpoint(self, (host, port))
        return endpoint

    def detach(self, endpoint: "FakeEndpoint") -> None:
        """Pull the plug: datagrams to it vanish, its connections die at both ends."""
        self._endpoints.pop(endpoint.address, None)
        for flow in list(endpoint.flows.values()):
            other = self._endpoints.get(flow.address)
            back = other and other.flows.get((endpoint.address, True))
            if flow.is_reliable and back:
                back.close()

    def call_later(self, after_s: float, action: Callable[[], None]) -> None:
        """Do ``action`` when ``after_s`` seconds of virtual time have gone by."""
        heappush(self._agenda, (self.clock.now + after_s, next(self._order), action))

    def run(self, until: float) -> None:
        """Deliver packets and fire timers in the order of their time, up to ``until``.

        Raises:
            UsageError: there is no end to it.
        """
        for _ in range(STEPS_MAX):
            due = min((e.table.next_due for e in self._endpoints.values()), default=NEVER)
            arrival = self._agenda[0][0] if self._agenda else NEVER
            if min(due, arrival) > until:
                self.clock.move_to(until)
                return
            if arrival <= due:
                self.clock.move_to(arrival)
                heappop(self._agenda)[2]()
                continue
            # A passed-over deadline may lie in the past; time itself does not go back.
            self.clock.move_to(max(due, self.clock.now))
            for endpoint in list(self._endpoints.values()):
                if endpoint.table.next_due <= due:
                    endpoint.table.advance(self.clock.now)
        raise UsageError(f"more than {STEPS_MAX} packets and timers")

    def carry(self, source: Address, target: Address, data: bytes, *, is_reliable: bool) -> bool:
        """Put one message on the way; False when a connection has nobody at its other end."""
        if is_reliable:
            if target not in self._endpoints:
                return False
            arrival = self.clock.now + self.conditions.delay_s
            arrival = max(arrival, self._last_arrival.get((source, target), 0.0))
            self._last_arrival[source, target] = arrival
            delays = [arrival - self.clock.now]
        else:
            delays = self._delays()
        arrivals = tuple(self.clock.now + delay for delay in sorted(delays))
        self.packets.append(Packet(self.clock.now, source, target, data, arrivals))
        for delay in delays:
            self.call_later(delay, lambda: self._arrive(source, target, data, is_reliable))
        return True

    def _delays(self) -> list[float]:
        chance, conditions = self._random.random, self.conditions
        if chance() < conditions.loss:
            return []
        copies = 2 if chance() < conditions.duplication else 1
        return [conditions.delay_s + chance() * conditions.jitter_s for _ in range(copies)]

    def _arrive(self, source: Address, target: Address, data: bytes, is_reliable: bool) -> None:
        endpoint = self._endpoints.get(target)
        if endpoint is not None:
            flow = endpoint.flow(source, is_reliable=is_reliable)
            endpoint.table.receive(parse(data), flow, self.clock.now)


class FakeEndpoint:
    """One address on the network, the flows that begin there, and their transactions."""

    table: TransactionTable

    def __init__(self, network: FakeNetwork, address: Address) -> None:
        self.network = network
        self.address = address
        self.flows: dict[tuple[Address, bool], FakeFlow] = {}

    def flow(self, target: Address, *, is_reliable: bool = False) -> "FakeFlow":
        """Return the one flow to an address; a new connection when the last was closed."""
        flow = self.flows.get((target, is_reliable))
        if flow is None:
            flow = self.flows[target, is_reliable] = FakeFlow(self, target, is_reliable)
        return flow


class FakeFlow:
    """A way from one endpoint to one address; fulfils ``sip.sink.Flow``."""

    def __init__(self, endpoint: FakeEndpoint, address: Address, is_reliable: bool) -> None:
        host, port = endpoint.address
        shown = f"[{host}]" if ":" in host else host
        transport = "TCP" if is_reliable else "UDP"
        self.endpoint = endpoint
        self.address = address
        self.host = address[0].encode()
        self.port = address[1]
        self.is_reliable = is_reliable
        self.is_open = True
        self.via_line = f"Via: SIP/2.0/{transport} {shown}:{port};rport;branch=".encode()

    def send(self, data: bytes) -> bool:
        if not self.is_open:
            return False
        endpoint = self.endpoint
        return endpoint.network.carry(
            endpoint.address, self.address, data, is_reliable=self.is_reliable
        )

    def reply_flow(self, request: Message) -> "FakeFlow":
        """Return where responses go: the source with rport, else Via's port (RFC 3581 §4)."""
        if self.is_reliable or request.rport >= 0:
            return self
        return self.endpoint.flow((self.address[0], request.sent_port or 5060))

    def close(self) -> None:
        """Be cut off: what waits on this flow fails (RFC 3261 §17.1.4)."""
        self.is_open = False
        self.endpoint.flows.pop((self.address, self.is_reliable), None)
        self.endpoint.table.transport_failed((self,), self.endpoint.network.clock.now)
