"""Problem documents that name the field (RFC 9457); the one place where errors become HTTP."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from sipgram.errors import PeerError, Refusal, SettingsError, Unavailable

log = structlog.get_logger("sipgram.http")

MEDIA_TYPE: Final = "application/problem+json"
FAULTS_SHOWN_MAX: Final = 20


class Problem(Exception):
    """An answer that says what is wrong.

    ``pointer`` is the JSON pointer of a field of the body, as ``/to/0``; ``parameter`` the name
    of one of the query, the path or a header.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.errors: list[dict[str, str]] = []
        if pointer is not None:
            self.errors.append({"detail": detail, "pointer": f"#{pointer}"})
        elif parameter is not None:
            self.errors.append({"detail": detail, "parameter": parameter})


def document(
    status: int,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem document."""
    value: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        value["errors"] = list(errors)
    return JSONResponse(value, status, headers=headers, media_type=MEDIA_TYPE)


def of_error(error: Exception) -> Response:
    """Return what an error of ours means to a client of the API."""
    if isinstance(error, Problem):
        return document(error.status, error.detail, errors=error.errors, headers=error.headers)
    if isinstance(error, Unavailable):
        after = {"Retry-After": str(error.retry_after_s)}
        return document(503, error.reason, headers=after)
    if isinstance(error, PeerError | Refusal):
        status = error.status if 400 <= error.status < 500 else 422
        return document(status, error.reason or HTTPStatus(status).phrase)
    if isinstance(error, SettingsError):
        return document(422, str(error))
    if isinstance(error, HTTPException):
        return document(error.status_code, str(error.detail), headers=error.headers)
    log.error("request failed", exc_info=error)
    return document(500, "the server made a mistake; its log says more")


def install(app: FastAPI) -> None:
    """Have every error of the application answered by a problem document."""

    async def answered(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            allowed = ", ".join(_allowed(request))
            return document(405, f"the path knows {allowed}", headers={"Allow": allowed})
        return of_error(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [_fault(each) for each in error.errors()[:FAULTS_SHOWN_MAX]]
        shown = "; ".join(f"{_name(fault)}: {fault['detail']}" for fault in found)
        return document(422, shown, errors=found)

    for kind in (Problem, Unavailable, PeerError, Refusal, SettingsError, HTTPException):
        app.add_exception_handler(kind, answered)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, answered)


def _allowed(request: Request) -> list[str]:
    """Return the methods of a path; several routes may share it."""
    known = request.app.openapi()["paths"]
    path = request.scope["path"].split("/")
    found: set[str] = set()
    for template, methods in known.items():
        parts = template.split("/")
        if len(parts) == len(path) and all(
            ours == theirs or ours.startswith("{") for ours, theirs in zip(parts, path, strict=True)
        ):
            found.update(method.upper() for method in methods)
    return sorted(found)


def _name(fault: Mapping[str, str]) -> str:
    return fault.get("pointer") or fault.get("parameter") or "request"


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    place, *path = error["loc"]
    detail = str(error["msg"]).removeprefix("Value error, ")
    if place != "body":
        return {"detail": detail, "parameter": ".".join(map(str, path))}
    if error["type"] == "json_invalid":
        return {"detail": f"not JSON at character {path[0] if path else 0}", "pointer": "#"}
    return {"detail": detail, "pointer": pointer_of(path)}


def pointer_of(path: Sequence[object]) -> str:
    """Return a JSON pointer as a URI fragment (RFC 6901)."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{part}" for part in escaped)
