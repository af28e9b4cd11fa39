"""The routes of bindings: who is reachable where."""

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from sipgram.errors import PeerError, Refusal
from sipgram.http.caller import Reader, allowed
from sipgram.http.problem import Problem
from sipgram.services.registrar.location import AorEntry, Locations

Aor = Annotated[str, Path(min_length=1, max_length=340, description="alice@example.com")]


class BindingShown(BaseModel):
    """A contact of an account."""

    contact: str
    instance: str
    flow: str
    expires_in: float
    path: str


class BindingList(BaseModel):
    """The contacts of an account that are bound now."""

    bindings: list[BindingShown]


class DeviceShown(BaseModel):
    """A device that is away, and waited for (D7)."""

    aor: str
    device: str
    is_page: bool
    seen_utc: float


class DeviceList(BaseModel):
    """The devices of an account that are away."""

    devices: list[DeviceShown]


class Devices(Protocol):
    """Who knows the devices that are away."""

    async def devices(self, aor: str | None = None) -> list[dict[str, Any]]:
        """Return them."""


def routes(locations: Locations, devices: Devices, clock: Callable[[], float]) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["accounts"])

    @router.get(
        "/v1/accounts/{aor}/bindings",
        response_model=BindingList,
        summary="Show where an account is reachable",
    )
    async def bindings(caller: Reader, aor: Aor) -> Response:
        entry = _entry(locations, aor)
        if not allowed(caller, str(entry.aor), entry.account_id):
            raise Problem(403, f"this key does not act for {aor}", parameter="aor")
        now = clock()
        shown = [
            {
                "contact": binding.uri.decode(errors="replace"),
                "instance": binding.instance.decode(errors="replace"),
                "flow": str(binding.flow),
                "expires_in": round(binding.expires - now, 1),
                "path": binding.path.decode(errors="replace"),
            }
            for binding in entry.bindings
            if binding.expires > now
        ]
        return JSONResponse({"bindings": shown})

    @router.get(
        "/v1/accounts/{aor}/devices",
        response_model=DeviceList,
        summary="Show the devices of an account that are away",
    )
    async def away(caller: Reader, aor: Aor) -> Response:
        entry = _entry(locations, aor)
        if not allowed(caller, str(entry.aor), entry.account_id):
            raise Problem(403, f"this key does not act for {aor}", parameter="aor")
        return JSONResponse({"devices": await devices.devices(str(entry.aor))})

    return router


def _entry(locations: Locations, aor: str) -> AorEntry:
    uri = aor if aor.startswith(("sip:", "tel:")) else f"sip:{aor}"
    try:
        return locations.find(uri.encode("utf-8", "surrogateescape"))
    except (Refusal, PeerError) as error:
        raise Problem(404, f"no account is called {aor}", parameter="aor") from error
