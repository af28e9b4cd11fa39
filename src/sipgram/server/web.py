"""SIP over WebSocket as this server has it: pages of whom may connect (RFC 7118)."""

from sipgram.net.ws.server import WebSockets
from sipgram.server.configuration import http_address
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
