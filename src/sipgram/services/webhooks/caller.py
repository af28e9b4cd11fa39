"""Calls a URL that somebody else chose: never into private networks, never along a redirect."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import httpcore

from sipgram.services.webhooks.rules import is_public

CONNECTIONS_MAX: Final = 64
REASON_CHARS_MAX: Final = 200


class Answer(NamedTuple):
    """What a receiver said; ``status`` is 0 when there was no answer."""

    status: int
    reason: str

    @property
    def is_heard(self) -> bool:
        """Whether it has the event."""
        return 200 <= self.status < 300


class Calls(Protocol):
    """Posts a body to a URL."""

    async def post(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Answer:
        """Return what came of it; never raises for what the other side does."""


class NotAllowed(Exception):
    """A name leads to an address where no webhook may go."""


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked after the name was looked up."""

    def __init__(self, *, may_be_private: bool) -> None:
        self._may_be_private = may_be_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that takes us; the one checked is the one used."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        allowed = [each for each in addresses if self._may_be_private or is_public(each)]
        if not allowed:
            raise NotAllowed(f"{host} is a private address")
        for address in allowed[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(allowed[-1], port, timeout, local_address)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no webhook goes there."""
        raise NotAllowed("no webhook goes to a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


class WebhookCaller:
    """Posts events (``Calls``)."""

    def __init__(self, *, may_be_private: bool, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_MAX // 2,
            keepalive_expiry=20.0,
            network_backend=GuardedNetwork(may_be_private=may_be_private),
        )

    async def post(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Answer:
        """Post once; a redirect is an answer like any other that is not 2xx."""
        limit = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._pool.stream(
                    "POST", url, headers=list(headers), content=body, extensions={"timeout": limit}
                ) as response,
            ):
                return Answer(response.status, "")  # Its body is of no interest.
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_s:g} s")
        except NotAllowed as error:
            return Answer(0, str(error))
        except (OSError, ValueError, RuntimeError, *_FAILURES) as error:
            return Answer(0, f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX])

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
