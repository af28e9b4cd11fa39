"""``GET /v1/events``: server-sent events, and a WebSocket at the same path."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import Response, StreamingResponse

from sipgram.errors import Error
from sipgram.http.caller import Caller, Guard, Reader, allowed
from sipgram.http.problem import Problem, of_error
from sipgram.services.directory import Directory
from sipgram.services.listeners.hub import Stream
from sipgram.services.listeners.service import Listeners
from sipgram.services.listeners.store import Event

HEARTBEAT_S: Final = 15.0
RETRY: Final = b"retry: 2000\n\n"
ID_MAX: Final = 2**63 - 1

Account = Annotated[
    list[str] | None, Query(description="Of these accounts; else of all that the key acts for.")
]
LastId = Annotated[str | None, Header(alias="Last-Event-ID", pattern="^[0-9]{1,19}$")]
LastQuery = Annotated[str | None, Query(pattern="^[0-9]{1,19}$", description="As Last-Event-ID.")]


def routes(listeners: Listeners, directory: Directory) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["events"])

    @router.get(
        "/v1/events",
        summary="Hear what happens, without a gap",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(
        request: Request,
        caller: Reader,
        account: Account = None,
        last_event_id: LastId = None,
        last: LastQuery = None,
    ) -> Response:
        aors = _accounts(listeners, directory, caller, account)
        after = _number(last_event_id or last)
        stream = listeners.hub.open(aors)  # Before the inbox is read: there is no gap between.
        guard: Guard = request.app.state.guard
        hearing = Hearing(listeners, stream, aors, lambda: guard.still(request, caller))
        return StreamingResponse(_lines(hearing, after), media_type="text/event-stream")

    @router.websocket("/v1/events")
    async def events_ws(websocket: WebSocket) -> None:
        guard: Guard = websocket.app.state.guard
        query = websocket.query_params
        try:
            caller = guard.caller(websocket, "read")
            aors = _accounts(listeners, directory, caller, query.getlist("account") or None)
            text = websocket.headers.get("last-event-id") or query.get("last")
            if text is not None and not (text.isascii() and text.isdigit() and len(text) < 20):
                raise Problem(422, "not the id of an event", parameter="last")
            stream = listeners.hub.open(aors)
        except (Problem, Error) as error:
            await websocket.send_denial_response(of_error(error))
            return
        hearing = Hearing(listeners, stream, aors, lambda: guard.still(websocket, caller))
        await _serve(websocket, hearing, _number(text))

    return router


def _accounts(
    listeners: Listeners, directory: Directory, caller: Caller, wanted: list[str] | None
) -> tuple[str, ...] | None:
    """Return whose events a caller hears, and let them have a listener (D8)."""
    if wanted is None and caller.is_for_all:
        return None
    names = []
    for name in wanted or caller.aors:
        uri = name if name.startswith(("sip:", "tel:")) else f"sip:{name}"
        resident = directory.resident(uri)
        if resident is None or not allowed(caller, resident.aor, resident.account_id):
            raise Problem(403, f"this key does not act for {name}", parameter="account")
        listeners.use(resident.aor, resident.account_id)
        names.append(resident.aor)
    return tuple(dict.fromkeys(names))


class Hearing:
    """One listener's stream, and the inbox behind it."""

    def __init__(
        self,
        listeners: Listeners,
        stream: Stream,
        aors: tuple[str, ...] | None,
        may_go_on: Callable[[], bool],
    ) -> None:
        """``may_go_on`` says whether its key is still good."""
        self._listeners = listeners
        self._stream = stream
        self._aors = aors
        self._may_go_on = may_go_on

    async def events(self, after: int | None) -> AsyncIterator[Event | None]:
        """Yield the kept events after one, then those that happen; None when nothing does."""
        last = after or 0
        if after is not None:
            async for event in self._listeners.store.since(after, self._aors):
                last = event.id
                yield event
        while not self._stream.is_cut:
            has_some = await self._stream.wait(HEARTBEAT_S)
            if not self._may_go_on():
                return
            if not has_some:
                yield None
                continue
            for event in self._stream.take():
                if event.id == 0 or event.id > last:
                    last = max(last, event.id)
                    yield event

    def close(self) -> None:
        """Nobody listens any more."""
        self._listeners.hub.close(self._stream, self._aors)


async def _lines(hearing: Hearing, after: int | None) -> AsyncIterator[bytes]:
    try:
        yield RETRY
        async for event in hearing.events(after):
            if event is None:
                yield b":\n\n"
                continue
            id_line = b"id: %d\n" % event.id if event.id else b""
            yield b"%bevent: %b\ndata: %b\n\n" % (id_line, event.kind.encode(), event.data)
    finally:
        hearing.close()


async def _serve(websocket: WebSocket, hearing: Hearing, after: int | None) -> None:
    async def send() -> None:
        async for event in hearing.events(after):
            if event is not None:
                value = {"event_id": str(event.id) if event.id else None}
                await websocket.send_text(json.dumps(value | json.loads(event.data)))
        await websocket.close(1013)

    async def receive() -> None:
        while True:  # What a listener says is of no interest, but that it goes is.
            await websocket.receive_text()

    await websocket.accept()
    tasks = [asyncio.create_task(send()), asyncio.create_task(receive())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not isinstance(error := task.exception(), WebSocketDisconnect) and error:
                raise error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        hearing.close()


def _number(text: str | None) -> int | None:
    return None if text is None else min(int(text), ID_MAX)
