"""Many messages in one request, one JSON object a line, read while they come."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import blake2b
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from sipgram.http.caller import Caller
from sipgram.http.problem import Problem, pointer_of
from sipgram.services.outbox.desk import Desk, Reply
from sipgram.services.outbox.store import Outgoing
from sipgram.services.outbox.wire import NewMessage

TURN_S: Final = 0.004
"""Lines read in one turn of the loop take no longer."""
LINE_BYTES_MAX: Final = 262_144
ERRORS_MAX: Final = 1_000
"""Faulty lines that are told; more are counted."""


class LineError(BaseModel):
    """What is wrong with a line."""

    line: int
    pointer: str
    detail: str


class BatchAnswer(BaseModel):
    """What was accepted of a batch; ``GET /v1/messages?submission=`` lists it."""

    id: str
    accepted: Annotated[int, Field(description="Messages, one a recipient.")]
    rejected: Annotated[int, Field(description="Lines.")]
    errors: list[LineError]


class _Reading:
    """The lines of one batch, as far as they were read."""

    def __init__(self, desk: Desk, caller: Caller, submission: int) -> None:
        self.messages: list[Outgoing] = []
        self.rejected = 0
        self.errors: list[dict[str, Any]] = []
        self.digest = blake2b(b"batch", digest_size=16)
        self._desk = desk
        self._caller = caller
        self._submission = submission
        self._line = 0

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        rest = b""
        ends = time.monotonic() + TURN_S
        async for data in stream:
            self.digest.update(data)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Problem(413, f"a line is over {LINE_BYTES_MAX} octets")
            for line in lines:
                self._take(line)
                if time.monotonic() > ends:
                    await asyncio.sleep(0)
                    ends = time.monotonic() + TURN_S
        self._take(rest)

    def _take(self, line: bytes) -> None:
        self._line += 1
        if not line.strip():
            return
        try:
            new = NewMessage.model_validate_json(line)
            self.messages += self._desk.messages(new, self._caller, submission=self._submission)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_input=False)[:1]:
                detail = str(fault["msg"]).removeprefix("Value error, ")
                self._reject(pointer_of(fault["loc"]), detail)
        except Problem as problem:
            pointer = problem.errors[0].get("pointer", "#") if problem.errors else "#"
            self._reject(pointer, problem.detail)
        if len(self.messages) > self._desk.outbox.settings.batch_messages_max:
            limit = self._desk.outbox.settings.batch_messages_max
            raise Problem(413, f"more than {limit} messages in one batch")

    def _reject(self, pointer: str, detail: str) -> None:
        self.rejected += 1
        if len(self.errors) < ERRORS_MAX:
            self.errors.append({"line": self._line, "pointer": pointer, "detail": detail})


async def take(desk: Desk, stream: AsyncIterator[bytes], caller: Caller, *, key: str) -> Reply:
    """Accept the good lines of a batch, all or none of them."""
    submission = desk.outbox.ids.next()
    reading = _Reading(desk, caller, submission)
    await reading.read(stream)
    digest = reading.digest.digest()
    async with desk.alone(caller.id, key):
        known = await desk.recall(caller.id, key, digest) if key else None
        if known is not None:
            return known
        if not reading.messages:
            problem = Problem(422, "no line of the batch is a message")
            problem.errors = [{k: str(v) for k, v in error.items()} for error in reading.errors]
            raise problem
        body = {
            "id": str(submission),
            "accepted": len(reading.messages),
            "rejected": reading.rejected,
            "errors": reading.errors,
        }
        whole = desk.submission(reading.messages, caller, key, digest, body)
        await desk.outbox.accept(reading.messages, whole)
    return Reply(202, body, ())
