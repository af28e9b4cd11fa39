"""The routes of messages: ``GET /send``, ``/v1/messages`` and ``/v1/messages:batch``."""

from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from sipgram.http.caller import Caller, Reader, Sender, allowed
from sipgram.http.paging import cursor_of, id_of
from sipgram.http.problem import Problem
from sipgram.services.outbox import batch
from sipgram.services.outbox.desk import Desk, Reply, digest_of
from sipgram.services.outbox.store import STATES, Filter, Outgoing
from sipgram.services.outbox.wire import (
    Answer,
    MessageState,
    NewMessage,
    Page,
    of_record,
    shown,
    with_copies,
)

Stored = Literal["waiting", "delivered", "failed", "expired", "cancelled"]
WAIT_MAX_S: Final = 30.0
ID_MAX: Final = 2**63 - 1
PAGE_MAX: Final = 500
TEXT_CHARS_MAX: Final = 4_000
"""Of a GET: escaped, its line stays under the 64 KiB that the HTTP parser takes."""
OUTCOMES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": Answer, "description": "With wait: all have their outcome."}
}

Wait = Annotated[float, Query(ge=0, le=WAIT_MAX_S, description="Seconds to wait for the outcome.")]
Key = Annotated[
    str, Header(alias="Idempotency-Key", max_length=255, description="Remembered 24 h.")
]
Id = Annotated[str, Path(pattern="^[0-9]{1,19}$")]


class Records(Protocol):
    """What the message store knows."""

    async def page(
        self,
        *,
        before: int | None = None,
        aor: str | None = None,
        state: Stored | None = None,
        at_most: int = 50,
    ) -> list[dict[str, Any]]:
        """Return the latest messages that were stored."""

    async def find(self, id: int) -> dict[str, Any] | None:
        """Return a message with its copies and failed attempts."""


def routes(desk: Desk, records: Records) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["messages"])
    _add_get(router, desk)
    _add_posts(router, desk)
    _add_reading(router, desk, records)
    _add_stored(router, desk, records)
    return router


def _add_get(router: APIRouter, desk: Desk) -> None:
    @router.get(
        "/send",
        status_code=202,
        response_model=Answer,
        summary="Send a text by a plain GET",
        responses=OUTCOMES,
    )
    async def send(
        caller: Sender,
        to: Annotated[str, Query(min_length=1, max_length=256)],
        text: Annotated[str, Query(max_length=TEXT_CHARS_MAX)],
        sender: Annotated[str | None, Query(alias="from", min_length=1, max_length=256)] = None,
        id: Annotated[
            str, Query(max_length=200, description="Makes a GET that is sent twice harmless.")
        ] = "",
        wait: Wait = 0,
    ) -> Response:
        if to.startswith(" ") and to[1:].isdigit():
            to = f"+{to[1:]}"  # A plus in a query means a blank.
        values: dict[str, Any] = {"to": to, "text": text}
        if sender is not None:
            values["from"] = sender
        parts = (b"GET", to.encode(), text.encode(), (sender or "").encode())
        try:
            new = NewMessage.model_validate(values)
            key = f"GET {id}" if id else ""
            reply = await desk.take(new, caller, key=key, digest=digest_of(*parts))
        except Problem as problem:
            raise _of_query(problem) from problem
        return await _answered(desk, reply, wait)


def _add_posts(router: APIRouter, desk: Desk) -> None:
    @router.post(
        "/v1/messages",
        status_code=202,
        response_model=Answer,
        summary="Send a message to one or many",
        responses=OUTCOMES,
    )
    async def post(
        request: Request,
        caller: Sender,
        new: NewMessage,
        wait: Wait = 0,
        idempotency_key: Key = "",
    ) -> Response:
        digest = digest_of(b"POST", await request.body()) if idempotency_key else b""
        reply = await desk.take(new, caller, key=idempotency_key, digest=digest)
        return await _answered(desk, reply, wait)

    @router.post(
        "/v1/messages:batch",
        status_code=202,
        response_model=batch.BatchAnswer,
        summary="Send many messages, one JSON object a line",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            }
        },
    )
    async def post_batch(request: Request, caller: Sender, idempotency_key: Key = "") -> Response:
        reply = await batch.take(desk, request.stream(), caller, key=idempotency_key)
        return await _answered(desk, reply, 0)


async def _answered(desk: Desk, reply: Reply, wait: float) -> Response:
    status, body = reply.status, reply.body
    if wait and reply.ids:
        ended = await desk.wait(reply.ids, wait)
        for message in body["messages"]:
            found = ended.get(int(message["id"]))
            if found is not None:
                message |= {"state": found.state, "status": found.status, "reason": found.reason}
        status = 200 if len(ended) == len(reply.ids) else 202
    several = "messages" not in body or len(body["messages"]) != 1
    place = f"/v1/messages?submission={body['id']}" if several else f"/v1/messages/{body['id']}"
    headers = {"Location": place}
    if reply.is_repeated:
        headers["Idempotency-Replayed"] = "true"
    return JSONResponse(body, status, headers=headers)


def _of_query(problem: Problem) -> Problem:
    """Name the parameter where a body would have had a field."""
    for error in problem.errors:
        if "pointer" in error:
            error["parameter"] = error.pop("pointer").removeprefix("#/")
    return problem


def _add_reading(router: APIRouter, desk: Desk, records: Records) -> None:
    @router.get("/v1/messages", response_model=Page, summary="List messages, the newest first")
    async def listed(
        caller: Reader,
        sender: Annotated[str | None, Query(alias="from", max_length=256)] = None,
        to: Annotated[str | None, Query(max_length=256)] = None,
        state: Annotated[str | None, Query(pattern=f"^({'|'.join(STATES)})$")] = None,
        submission: Annotated[str | None, Query(pattern="^[0-9]{1,19}$")] = None,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> Response:
        if sender is not None:
            senders: tuple[str, ...] | None = (desk.sender(sender, caller)[0],)
        else:
            senders = None if caller.is_for_all else desk.names_of(caller)
        wanted = Filter(
            senders=senders,
            recipient=None if to is None else desk.recipient(to, parameter="to"),
            state=state,
            submission=None if submission is None else _number(submission),
            before=id_of(cursor),
            at_most=limit + 1,
        )
        found = await desk.outbox.store.page(wanted)
        more = cursor_of(found[limit - 1].id) if len(found) > limit else None
        return JSONResponse({"messages": [shown(each) for each in found[:limit]], "next": more})

    @router.get(
        "/v1/messages/{id}", response_model=MessageState, summary="What became of a message"
    )
    async def one(caller: Reader, id: Id) -> Response:
        message = await _own(desk, caller, id)
        record = await records.find(_number(id))
        if message is not None:
            return JSONResponse(with_copies(shown(message), record))
        if record is None or not _may_see(desk, caller, record):
            raise Problem(404, f"no message has this id: {id}", parameter="id")
        return JSONResponse(with_copies(of_record(record), record))

    @router.delete(
        "/v1/messages/{id}", status_code=204, summary="Take a message back before it is delivered"
    )
    async def cancel(caller: Sender, id: Id) -> Response:
        message = await _own(desk, caller, id)
        if message is None:
            raise Problem(404, f"no message has this id: {id}", parameter="id")
        if message.state != "cancelled" and not await desk.outbox.cancel(message):
            raise Problem(409, f"the message is past taking back: {message.state}", parameter="id")
        return Response(status_code=204)


def _add_stored(router: APIRouter, desk: Desk, records: Records) -> None:
    @router.get(
        "/v1/stored-messages",
        response_model=Page,
        summary="List messages that were stored for an account, by whomever they were sent",
    )
    async def stored(
        caller: Reader,
        account: Annotated[str | None, Query(max_length=256)] = None,
        state: Annotated[Stored | None, Query()] = None,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> Response:
        aor = _account(desk, caller, account)
        found = await records.page(before=id_of(cursor), aor=aor, state=state, at_most=limit + 1)
        more = cursor_of(found[limit - 1]["id"]) if len(found) > limit else None
        return JSONResponse({"messages": [of_record(each) for each in found[:limit]], "next": more})


def _account(desk: Desk, caller: Caller, wanted: str | None) -> str | None:
    """Return whose stored messages are wanted; None for everybody's."""
    if wanted is None:
        if caller.is_for_all:
            return None
        if len(caller.aors) != 1:
            raise Problem(422, "say for which account", parameter="account")
        wanted = caller.aors[0]
    resident = desk.directory.resident(desk.recipient(wanted, parameter="account"))
    if resident is None or not allowed(caller, resident.aor, resident.account_id):
        raise Problem(403, f"this key does not act for {wanted}", parameter="account")
    return resident.aor


async def _own(desk: Desk, caller: Caller, id: str) -> Outgoing | None:
    """Return a message that came by HTTP, if the caller acts for its sender."""
    message = await desk.outbox.store.find(_number(id))
    if message is None:
        return None
    resident = desk.directory.resident(message.sender)
    aor = message.sender if resident is None else resident.aor
    return message if allowed(caller, aor, message.account_id) else None


def _may_see(desk: Desk, caller: Caller, record: dict[str, Any]) -> bool:
    parties = [desk.directory.resident(record[name]) for name in ("aor", "sender")]
    return caller.is_for_all or any(
        party is not None and allowed(caller, party.aor, party.account_id) for party in parties
    )


def _number(id: str) -> int:
    return min(int(id), ID_MAX)
