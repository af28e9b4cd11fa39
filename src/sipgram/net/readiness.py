"""Waiting for a datagram socket to be readable or writable, whatever errors it has to tell."""

import asyncio
import select
import socket
from collections.abc import Callable


class Readiness:
    """Calls back when a socket can be read or has an error and, when asked, can be written.

    On Linux an epoll of its own stands between the socket and the loop: uvloop closes for good
    the watch on a socket that reports POLLERR, as one with IP_RECVERR does for each ICMP error.
    An epoll is merely readable then.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        loop: asyncio.AbstractEventLoop,
        on_readable: Callable[[], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._loop = loop
        self._on_readable = on_readable
        self._on_writable = on_writable
        self._is_writing = False
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is None:
            loop.add_reader(sock, on_readable)
        else:
            self._epoll.register(sock, select.EPOLLIN)
            loop.add_reader(self._epoll.fileno(), self._on_event)

    def want_write(self, wanted: bool, /) -> None:
        """Say whether ``on_writable`` is to be called when there is room."""
        if wanted == self._is_writing:
            return
        self._is_writing = wanted
        if self._epoll is not None:
            events = select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN
            self._epoll.modify(self._sock, events)
        elif wanted:
            self._loop.add_writer(self._sock, self._on_writable)
        else:
            self._loop.remove_writer(self._sock)

    def close(self) -> None:
        """Wait no more; the socket stays open."""
        if self._epoll is None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        elif not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _on_event(self) -> None:
        if self._is_writing:
            self._on_writable()
        self._on_readable()
