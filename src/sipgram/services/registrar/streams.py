"""What becomes of bindings whose connection has closed (RFC 5626 §4.2.1, DELIVERY.md D28)."""

from collections.abc import Callable
from typing import Protocol

from sipgram.services.registrar.location import AorEntry, Binding, Locations
from sipgram.services.registrar.outbound import hops_of
from sipgram.sip.message.uri import SipUri
from sipgram.sip.sink import Flow

Opened = Callable[[Flow | None], None]
"""Hears of the new connection, or None when there is none."""


class Connections(Protocol):
    """Who knows when a connection closes, and whether another can be opened."""

    def watch(self, flow: Flow, closed: Callable[[], None]) -> None:
        """Call ``closed`` once when a connection has closed; a datagram's flow never does."""

    def reopen(self, hop: SipUri, flow: Flow, opened: Opened) -> Flow | None:
        """Return a flow that connects to ``hop`` once it is used, and then tells ``opened``.

        None when a connection from here cannot reach it: it is behind NAT.
        """


class Streams:
    """The connections that bindings are on; no more than there are connections."""

    def __init__(
        self,
        locations: Locations,
        connections: Connections,
        *,
        forget: Callable[[Binding], None],
    ) -> None:
        """``forget`` removes what a restart would find of a binding that has ended."""
        self._forget = forget
        self._locations = locations
        self._connections = connections
        self._watched: dict[Flow, dict[AorEntry, None]] = {}

    def watch(self, entry: AorEntry, flow: Flow) -> None:
        """A binding of an AoR is on a connection."""
        known = self._watched.get(flow)
        if known is not None:
            known[entry] = None
            return
        self._watched[flow] = {entry: None}
        self._connections.watch(flow, lambda: self._closed(flow))

    def _closed(self, flow: Flow) -> None:
        """End Outbound flows, and those of phones behind NAT; the others can be called back."""
        others: dict[bytes, list[Binding]] = {}
        for entry in self._watched.pop(flow):
            for binding in [b for b in entry.bindings if b.flow is flow]:
                if binding.reg_id or binding.is_page:
                    self._locations.lose(entry, binding)
                    if binding.is_page:  # It does not come back: the next load is another.
                        self._forget(binding)
                else:
                    others.setdefault(_next_hop(binding), []).append(binding)
        for hop, bindings in others.items():
            self._reopen(SipUri.parse(hop), flow, bindings)

    def _reopen(self, hop: SipUri, flow: Flow, bindings: list[Binding]) -> None:
        def opened(stream: Flow | None) -> None:
            for binding in bindings:
                if binding.flow is not standing or binding.entry is None:
                    continue  # It has registered anew meanwhile.
                if stream is None:
                    self._locations.lose(binding.entry, binding)
                else:
                    self._locations.change_flow(binding, stream)
                    self.watch(binding.entry, stream)

        standing = self._connections.reopen(hop, flow, opened)
        for binding in bindings:
            if binding.entry is None:
                continue
            if standing is None:
                self._locations.lose(binding.entry, binding)
            else:
                self._locations.change_flow(binding, standing)


def _next_hop(binding: Binding) -> bytes:
    return bytes(hops_of(binding.path)[0]) if binding.path else binding.uri
