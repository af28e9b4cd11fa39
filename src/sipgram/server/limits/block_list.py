"""Who gets no answer at all: addresses, networks, and the scanners that say what they are."""

import ipaddress
from typing import Final

from sipgram.settings import LimitSettings

HOSTS_MAX: Final = 65_536
"""Addresses of which it is remembered whether they are blocked; beyond that all are looked at again."""


class BlockList:
    """Knows them by address, and by User-Agent."""

    def __init__(self, settings: LimitSettings) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in settings.blocked]
        self._agents = tuple(agent.lower().encode() for agent in settings.blocked_agents)
        self._hosts: dict[bytes, bool] = {}
        self.has_networks = bool(self._networks)

    def blocks(self, host: bytes) -> bool:
        """Say whether an address is blocked."""
        known = self._hosts.get(host)
        if known is None:
            if len(self._hosts) >= HOSTS_MAX:
                self._hosts.clear()
            address = ipaddress.ip_address(host.decode("ascii"))
            known = self._hosts[host] = any(address in network for network in self._networks)
        return known

    def blocks_agent(self, agent: bytes | None) -> bool:
        """Say whether a User-Agent is that of a scanner."""
        if not agent or not self._agents:
            return False
        lower = agent.lower()
        return any(name in lower for name in self._agents)
