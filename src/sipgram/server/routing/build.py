"""Wires what finds the way to others."""

import asyncio

from sipgram.identity import Entropy
from sipgram.net.records import ResolverSettings
from sipgram.net.resolver import Resolver
from sipgram.server.limits.tally import Tally
from sipgram.server.routing.next_hops import NextHops, Sockets
from sipgram.server.routing.outward import Outward
from sipgram.server.routing.peers import Peers
from sipgram.services.registrar.location import Locations
from sipgram.settings import Settings


def build_peers(settings: Settings, locations: Locations) -> Peers:
    """Build the knowledge of who comes from where."""
    return Peers(settings.auth.trust, settings.routing, is_ours=locations.is_ours)


def build_outward(
    settings: Settings,
    sockets: Sockets,
    locations: Locations,
    peers: Peers,
    entropy: Entropy,
    tally: Tally,
) -> Outward:
    """Build the resolver, the next hops and the choice between them.

    Raises:
        SettingsError: a name server is not an IP address.
    """
    clock = asyncio.get_running_loop().time
    resolver = Resolver(
        entropy=entropy,
        clock=clock,
        settings=ResolverSettings(nameservers=settings.routing.nameservers),
    )
    hops = NextHops(
        sockets,
        resolver,
        settings=settings.routing,
        is_own=locations.is_own_address,
        clock=clock,
    )
    return Outward(
        settings.routing,
        peers=peers,
        locations=locations,
        hops=hops,
        answer_s=settings.messaging.answer_s,
        tally=tally,
    )
