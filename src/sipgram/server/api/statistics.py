"""``GET /v1/statistics``: the figures of this node that operators ask for first."""

from collections.abc import Callable, Mapping

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from sipgram.http.caller import Admin


class Statistics(BaseModel):
    """Counts since the start, and of what is there now."""

    figures: dict[str, int]


def routes(figures: Callable[[], Mapping[str, int]]) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["statistics"])

    @router.get("/v1/statistics", response_model=Statistics, summary="Show this node's figures")
    async def statistics(caller: Admin) -> Response:
        return JSONResponse({"figures": dict(figures())})

    return router
