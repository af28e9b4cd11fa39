"""The virtual device of an account: a contact whose flow is the database (DELIVERY.md D8)."""

from collections.abc import Callable
from typing import Final

from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.reply import build
from sipgram.sip.preferences import Features
from sipgram.sip.push import Push
from sipgram.sip.sink import Flow

INSTANCE: Final = b'"<urn:sipgram:api>"'
TAG: Final = b"api"

Answered = Callable[[bytes], None]
"""Takes a response that came in."""


class CommitFlow:
    """Takes requests to ``take``, which says later what is to be answered."""

    host = b"127.0.0.1"
    port = 0
    is_reliable = True

    def __init__(
        self,
        take: Callable[[Message, Callable[[int], None]], None],
        *,
        via_host: bytes,
        answered: Callable[[Message, Flow], None],
    ) -> None:
        """``answered`` takes responses as if they had come off the wire."""
        self.via_line = b"Via: SIP/2.0/TCP %b;branch=" % via_host
        self._take = take
        self._answered = answered

    def send(self, data: bytes) -> bool:
        """Take a request; its answer comes once it is on disk."""
        request = parse(data)
        if request.faults or request.method != b"MESSAGE":
            return False

        def answer(status: int) -> None:
            response = build(request, status, to_tag=TAG, host=self.host, port=self.port)
            self._answered(parse(response), self)

        self._take(request, answer)
        return True

    def reply_flow(self, request: Message) -> Flow:
        """Return itself."""
        return self

    def __str__(self) -> str:
        return "api"


class VirtualDevice:
    """A contact of an account that is always there (``messaging.service.Device``)."""

    __slots__ = (
        "account_id",
        "aor",
        "cannot_read",
        "flow",
        "is_silent",
        "name",
        "push",
        "source",
        "uri",
        "used_utc",
    )

    instance = INSTANCE
    routes = b""
    expires = float("inf")
    reg_id = 0
    updated = 0.0
    q = 1.0

    def __init__(self, aor: str, account_id: int, flow: Flow, *, used_utc: float) -> None:
        self.aor = aor
        self.account_id = account_id
        self.uri = aor.encode()
        self.name = b"api " + self.uri
        self.flow = flow
        self.source = flow
        self.is_silent = False
        self.cannot_read: frozenset[bytes] = frozenset()
        self.push: Push | None = None  # It never sleeps.
        self.used_utc = used_utc

    @property
    def features(self) -> Features:
        """It says nothing of its abilities."""
        return {}

    def takes(self, method: bytes) -> bool:
        """Say whether it knows a method."""
        return method == b"MESSAGE"
