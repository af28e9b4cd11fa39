"""The routes of accounts: what ``sipgram user`` does, for keys with the scope admin."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from sipgram.errors import SettingsError
from sipgram.http.caller import Admin
from sipgram.http.paging import cursor_of, id_of
from sipgram.http.problem import Problem
from sipgram.services.auth.rules import PASSWORD_CHARS_MAX, Name, check_password, parse_name
from sipgram.services.auth.sql import PAGE_ROWS, AccountRows
from sipgram.services.auth.store import AccountRecord

AOR_CHARS_MAX: Final = 340

Aor = Annotated[str, Path(min_length=1, max_length=AOR_CHARS_MAX, description="alice@example.com")]


class NewAccount(BaseModel):
    """An account that is wanted."""

    model_config = ConfigDict(extra="forbid")

    aor: Annotated[str, Field(min_length=1, max_length=AOR_CHARS_MAX)]
    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARS_MAX)]


class NewPassword(BaseModel):
    """Another password."""

    model_config = ConfigDict(extra="forbid")

    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARS_MAX)]


class NewAlias(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid")

    alias: Annotated[str, Field(min_length=1, max_length=AOR_CHARS_MAX)]


class AccountShown(BaseModel):
    """An account."""

    aor: str
    aliases: list[str]
    disabled: bool
    created: str


class AccountPage(BaseModel):
    """Accounts in the order of their making."""

    accounts: list[AccountShown]
    next: str | None


def routes(
    rows: AccountRows, *, refresh: Callable[[], Awaitable[object]], wall: Callable[[], float]
) -> APIRouter:
    """Return the routes; ``refresh`` lets the running server know what changed."""
    router = APIRouter(tags=["accounts"])
    _add_reading(router, rows)
    _add_changes(router, rows, refresh, wall)
    return router


def _add_reading(router: APIRouter, rows: AccountRows) -> None:
    @router.get("/v1/accounts", response_model=AccountPage, summary="List accounts")
    async def listed(
        caller: Admin,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ROWS)] = 50,
    ) -> Response:
        found = await rows.page(id_of(cursor) or 0)
        page = found[:limit]
        is_more = len(found) > limit or len(found) == PAGE_ROWS
        more = cursor_of(page[-1].account.id) if is_more else None
        return JSONResponse({"accounts": [_shown(each) for each in page], "next": more})

    @router.get("/v1/accounts/{aor}", response_model=AccountShown, summary="Show an account")
    async def one(caller: Admin, aor: Aor) -> Response:
        _, record = await _found(rows, aor)
        return JSONResponse(_shown(record))


def _add_changes(
    router: APIRouter,
    rows: AccountRows,
    refresh: Callable[[], Awaitable[object]],
    wall: Callable[[], float],
) -> None:
    @router.post(
        "/v1/accounts", status_code=201, response_model=AccountShown, summary="Make an account"
    )
    async def add(caller: Admin, new: NewAccount) -> Response:
        name = _named(new.aor, pointer="/aor")
        _check(lambda: check_password(new.password), pointer="/password")
        try:
            await rows.add(name, password=new.password, now_utc=wall())
        except SettingsError as error:
            raise Problem(409, str(error), pointer="/aor") from error
        await refresh()
        _, record = await _found(rows, str(name))
        headers = {"Location": f"/v1/accounts/{record.account.aors[0].removeprefix('sip:')}"}
        return JSONResponse(_shown(record), 201, headers=headers)

    @router.put("/v1/accounts/{aor}/password", status_code=204, summary="Change a password")
    async def password(caller: Admin, aor: Aor, new: NewPassword) -> Response:
        name, _ = await _found(rows, aor)
        _check(lambda: check_password(new.password), pointer="/password")
        await rows.set_password(name, new.password)
        await refresh()
        return Response(status_code=204)

    @router.post(
        "/v1/accounts/{aor}/aliases",
        status_code=201,
        response_model=AccountShown,
        summary="Give an account another name",
    )
    async def alias(caller: Admin, aor: Aor, new: NewAlias) -> Response:
        name, _ = await _found(rows, aor)
        other = _named(new.alias, pointer="/alias")
        try:
            await rows.add_alias(name, other)
        except SettingsError as error:
            raise Problem(409, str(error), pointer="/alias") from error
        await refresh()
        _, record = await _found(rows, aor)
        return JSONResponse(_shown(record), 201)

    @router.delete(
        "/v1/accounts/{aor}", status_code=204, summary="Remove an account and all that is its own"
    )
    async def remove(caller: Admin, aor: Aor) -> Response:
        name, _ = await _found(rows, aor)
        await rows.remove(name)
        await refresh()
        return Response(status_code=204)


async def _found(rows: AccountRows, aor: str) -> tuple[Name, AccountRecord]:
    missing = Problem(404, f"no account is called {aor}", parameter="aor")
    try:
        name = parse_name(aor)
    except SettingsError as error:
        raise missing from error
    record = await rows.find(name)
    if record is None:
        raise missing
    return name, record


def _named(text: str, *, pointer: str) -> Name:
    try:
        return parse_name(text)
    except SettingsError as error:
        raise Problem(422, str(error), pointer=pointer) from error


def _check(check: Callable[[], None], *, pointer: str) -> None:
    try:
        check()
    except SettingsError as error:
        raise Problem(422, str(error), pointer=pointer) from error


def _shown(record: AccountRecord) -> dict[str, Any]:
    created = datetime.fromtimestamp(record.created_utc, UTC).isoformat(timespec="seconds")
    return {
        "aor": record.account.aors[0],
        "aliases": list(record.account.aors[1:]),
        "disabled": record.disabled,
        "created": created,
    }
