"""TLS below SIP: the client's context, and a listener that bounds handshakes (RFC 3261 §26.3).

``loop.create_server(ssl=…)`` would tell nobody of a connection before its handshake is done:
a peer that opens many and says nothing could then not be bounded.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sipgram.errors import SettingsError

HANDSHAKE_S: Final = 10.0
"""How long a handshake may take."""
SHUTDOWN_S: Final = 2.0
"""How long a peer may take to say goodbye as well (close_notify)."""
HANDSHAKES_MAX: Final = 256
"""Handshakes under way; more wait in the system's backlog."""
PATIENCE_S: Final = 2.0
"""A handshake that is older than this is given up for a newer one when there is no room."""
ACCEPTS_PER_TURN: Final = 16
"""Connections taken in one turn of the loop: each costs about a millisecond later on."""
BACKLOG: Final = 1024
NO_MEANS_PAUSE_S: Final = 1.0
"""How long nothing is accepted when the process has no more file descriptors."""
_NO_MEANS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


def client_context(*, ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """Return a context for connections that we open, TLS 1.2 and up.

    ``ca`` is a PEM file of authorities, empty for the system's; ``cert`` and ``key`` are shown
    when the peer asks. The chain is checked in the handshake, the name afterwards by RFC 5922
    (``sip_identity.py``): TLS's own rules would let wildcards pass.

    Raises:
        SettingsError: naming the file that cannot be used.
    """
    context = secure(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    load_authorities(context, ca, purpose=ssl.Purpose.SERVER_AUTH)
    if cert:
        load_chain(context, cert, key)
    return context


def secure(context: ssl.SSLContext) -> ssl.SSLContext:
    """Set what every context of ours has, and return it."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def load_authorities(context: ssl.SSLContext, ca: str, *, purpose: ssl.Purpose) -> None:
    """Trust the authorities in the PEM file ``ca``, or the system's when it is empty.

    Raises:
        SettingsError: naming the file.
    """
    if not ca:
        context.load_default_certs(purpose)
        return
    check_readable(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise SettingsError(f"no certificates of authorities in {ca}: {_why(error)}") from error


def load_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Show the certificate chain in the PEM file ``cert``, whose private key is in ``key``.

    Raises:
        SettingsError: naming the file.
    """
    check_readable(cert)
    check_readable(key)
    try:
        # An empty password instead of OpenSSL's question on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            f"certificate {cert} with key {key} cannot be used: {_why(error)}"
        ) from error


def check_readable(file: str) -> None:
    """Look whether a file can be read: ``ssl`` does not say which one cannot.

    Raises:
        SettingsError: naming the file.
    """
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error


class TlsListener:
    """Accepts connections, and hands each over once its handshake is done.

    ``connection`` makes the protocol of one; its ``connection_made`` is called after the
    handshake. ``context`` is asked for each, so that renewed certificates count at once.
    """

    def __init__(
        self,
        *,
        connection: Callable[[], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext],
        loop: asyncio.AbstractEventLoop,
        handshake_s: float = HANDSHAKE_S,
        handshakes_max: int = HANDSHAKES_MAX,
    ) -> None:
        self._connection = connection
        self._context = context
        self._loop = loop
        self._handshake_s = handshake_s
        self._handshakes_max = handshakes_max
        self._sockets: list[socket.socket] = []
        self._handshakes: dict[asyncio.Task[None], float] = {}
        self._pause: asyncio.TimerHandle | None = None
        self.failed = 0
        "Handshakes that failed or took too long."
        self.given_up = 0
        "Handshakes that had to make room for newer ones."

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen on every address of ``host``; return the first one, and its port.

        Raises:
            OSError: the host is unknown or an address cannot be bound.
        """
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sock = socket.socket(family, kind, protocol)
                self._sockets.append(sock)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # D30
                sock.bind(address)
                sock.listen(BACKLOG)
        except OSError:
            await self.close()
            raise
        self._resume()
        bound = self._sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    @property
    def is_open(self) -> bool:
        """Whether each of its sockets listens."""
        return bool(self._sockets) and all(sock.fileno() >= 0 for sock in self._sockets)

    async def close(self) -> None:
        """Listen no more and end open handshakes; connections that are through live on."""
        self._stop()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    # ---- accepting -------------------------------------------------------------------------

    def _on_ready(self, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if not self._has_room():
                return
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_MEANS:
                    raise
                self._rest(NO_MEANS_PAUSE_S)
                return
            accepted.setblocking(False)
            task = self._loop.create_task(self._shake_hands(accepted))
            self._handshakes[task] = self._loop.time()
            task.add_done_callback(self._on_end)

    def _has_room(self) -> bool:
        """Make room by giving up the oldest handshake, or rest until it is old or another ends."""
        if len(self._handshakes) < self._handshakes_max:
            return True
        oldest, began = next(iter(self._handshakes.items()))
        left_s = began + PATIENCE_S - self._loop.time()
        if left_s > 0:
            self._rest(left_s)
            return False
        del self._handshakes[oldest]
        oldest.cancel()
        self.given_up += 1
        return True

    async def _shake_hands(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connection,
                sock,
                ssl=self._context(),
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError:  # ssl.SSLError, a reset, or the time is over.
            self.failed += 1

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if self._pause is not None and self._sockets:
            self._resume()

    def _rest(self, wait_s: float) -> None:
        """Leave new connections in the system's backlog for a while."""
        self._stop()
        self._pause = self._loop.call_later(wait_s, self._resume)

    def _resume(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._on_ready, sock)

    def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        for sock in self._sockets:
            self._loop.remove_reader(sock)


def _why(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
