"""The routes of keys: what ``sipgram key`` does, for keys with the scope admin."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sipgram.errors import SettingsError
from sipgram.http.caller import Admin, Reader
from sipgram.http.problem import Problem
from sipgram.services.keys import rules
from sipgram.services.keys.service import KeyRing
from sipgram.services.keys.shown import shown

AOR_CHARS_MAX: Final = 340
Id = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]


class NewKey(BaseModel):
    """A key that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=rules.NAME_CHARS_MAX)]
    scopes: Annotated[list[Literal["send", "read", "admin"]], Field(min_length=1, max_length=3)]
    accounts: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=AOR_CHARS_MAX)]],
        Field(max_length=rules.ACCOUNTS_MAX),
    ] = []
    all_accounts: bool = False
    per_minute: Annotated[int, Field(ge=0, le=rules.PER_MINUTE_MAX)] = 0
    expires: AwareDatetime | None = None


class KeyShown(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    accounts: list[str]
    all_accounts: bool
    per_minute: int
    is_good: bool
    created: str | None
    expires: str | None
    revoked: str | None
    key: Annotated[str | None, Field(description="Shown when it is new, and only then.")] = None


class KeyList(BaseModel):
    """All keys, the oldest first."""

    keys: list[KeyShown]


class Myself(BaseModel):
    """Who asks, as the server sees it."""

    id: str
    scopes: list[str]
    accounts: list[str]
    all_accounts: bool


def routes(keys: KeyRing) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["keys"])

    @router.get("/v1/keys", response_model=KeyList, summary="List keys")
    async def listed(caller: Admin) -> Response:
        found = await keys.rows.all()
        return JSONResponse({"keys": [shown(key, keys.wall()) for key in found]})

    @router.post("/v1/keys", status_code=201, response_model=KeyShown, summary="Make a key")
    async def add(caller: Admin, new: NewKey) -> Response:
        try:
            record, key = await keys.make(
                new.name,
                scopes=tuple(dict.fromkeys(new.scopes)),
                aors=new.accounts,
                is_for_all=new.all_accounts,
                per_minute=new.per_minute,
                expires_utc=None if new.expires is None else new.expires.timestamp(),
            )
        except SettingsError as error:
            about = "name" if str(error).startswith("name") else "accounts"
            raise Problem(422, str(error), pointer=f"/{about}") from error
        return JSONResponse(shown(record, keys.wall()) | {"key": key}, 201)

    @router.delete("/v1/keys/{id}", status_code=204, summary="End a key for good")
    async def revoke(caller: Admin, id: Id) -> Response:
        try:
            await keys.rows.revoke(id, keys.wall())
        except SettingsError as error:
            raise Problem(404, str(error), parameter="id") from error
        await keys.refresh()
        return Response(status_code=204)

    @router.get("/v1/key", response_model=Myself, summary="Show what the key that asks may do")
    async def myself(caller: Reader) -> Response:
        return JSONResponse(
            {
                "id": caller.id,
                "scopes": sorted(caller.scopes),
                "accounts": list(caller.aors),
                "all_accounts": caller.is_for_all,
            }
        )

    return router
