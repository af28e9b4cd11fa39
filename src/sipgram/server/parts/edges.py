"""The server at its edges: pages that come by WebSocket (RFC 7118), and the operator's policy."""

import asyncio

from sipgram.net.ws.server import WebSockets
from sipgram.server.configuration import http_address
from sipgram.services.messaging.ledger import MessageNews
from sipgram.services.messaging.service import Messaging
from sipgram.services.policy.loading import load
from sipgram.services.policy.service import Police
from sipgram.services.registrar.location import Locations
from sipgram.settings import Settings


def build_web(settings: Settings, locations: Locations) -> WebSockets:
    """Return what makes the connections; pages of the served domains may open them."""
    http_host = "" if settings.server.http == "none" else http_address(settings)[0]
    return WebSockets(
        settings=settings.websocket,
        limits=settings.transport,
        is_ours=lambda host: host == http_host or locations.is_ours(host),
    )


def build_police(settings: Settings, messaging: Messaging) -> Messaging | Police:
    """Return who takes messages: the service itself, unless a policy is to be asked first.

    Raises:
        SettingsError: the policy cannot be used.
    """
    if not settings.policy.path:
        return messaging
    clock = asyncio.get_running_loop().time
    return Police(load(settings.policy.path), messaging, settings=settings.policy, clock=clock)


def news_of_police(policed: Messaging | Police) -> tuple[MessageNews, ...]:
    """Return who hears of deliveries of messages that waited."""
    return (policed.on_news,) if isinstance(policed, Police) else ()
