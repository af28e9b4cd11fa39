"""What every HTTP answer has and every request must keep to, as plain ASGI."""

from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sipgram.http.problem import document

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
DRAIN_BYTES_MAX: Final = 4_194_304
"""Of a body that is refused; who sends more is cut off."""
POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"
"""Of answers that are no pages."""


class Edge:
    """Bounds bodies, and adds the headers that keep browsers from mistakes."""

    def __init__(self, app: ASGIApp, *, limit_of: Callable[[str], int]) -> None:
        """``limit_of`` tells how many octets the body of a request to a path may have."""
        self._app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        length = dict(scope["headers"]).get(b"content-length", b"0")
        count = 0
        detail = f"the body is over {limit} octets"

        async def bounded() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > limit:
                await _drain(receive, message)
                raise HTTPException(413, detail, {"Connection": "close"})
            return message

        async def adorned(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _adorned(message.get("headers", []), scope)
            await send(message)

        if length.isdigit() and int(length) > limit:
            close = {"Connection": "close"}
            await _drain(receive, await receive())
            await document(413, detail, headers=close)(scope, receive, adorned)
        else:
            await self._app(scope, bounded, adorned)


async def _drain(receive: Receive, message: Message) -> None:
    """Read what is still on its way: who sends without listening would miss the answer."""
    count = 0
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        count += len(message.get("body", b""))
        if count > DRAIN_BYTES_MAX:
            return


def _adorned(headers: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in headers}
    more = [*headers, *HEADERS]
    if b"content-security-policy" not in names:
        more.append((b"content-security-policy", POLICY))
    if b"cache-control" not in names:
        more.append((b"cache-control", b"no-store"))
    limits = scope.get("state", {}).get("headers")
    if limits:
        more += [
            (name.lower().encode(), value.encode())
            for name, value in limits.items()
            if name.lower().encode() not in names
        ]
    return more
