"""A wire-tap between one phone and the server: datagrams pass unchanged and are kept."""

import selectors
import socket
import threading
from typing import Self

from .wire import WireMessage

LISTEN_S = 0.2


class Tap:
    """Give ``address`` to the phone as its server; it may be one phone only."""

    def __init__(self, *, server: tuple[str, int]) -> None:
        self._inner = _bound()
        self._outer = _bound()
        self._server = server
        self._phone: tuple[str, int] | None = None
        self._stopping = threading.Event()
        self._from_phone: list[bytes] = []
        self._thread = threading.Thread(target=self._pass_on, name="tap", daemon=True)
        self.address: tuple[str, int] = self._inner.getsockname()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._inner.close()
        self._outer.close()

    def sent_by_phone(self, method: str) -> list[WireMessage]:
        """The phone's requests of ``method`` so far, retransmissions included."""
        messages = [WireMessage.parse(data) for data in list(self._from_phone) if data.strip()]
        return [message for message in messages if message.method == method]

    def _pass_on(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._inner, selectors.EVENT_READ)
            selector.register(self._outer, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in selector.select(LISTEN_S):
                    if key.fileobj is self._inner:
                        self._to_server()
                    else:
                        self._to_phone()

    def _to_server(self) -> None:
        data, self._phone = self._inner.recvfrom(65536)
        self._from_phone.append(data)
        self._outer.sendto(data, self._server)

    def _to_phone(self) -> None:
        data = self._outer.recv(65536)
        if self._phone is not None:
            self._inner.sendto(data, self._phone)


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    return bound
