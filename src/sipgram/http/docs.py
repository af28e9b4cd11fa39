"""``/docs``: the API for people, served from here alone, under a policy that allows no more."""

from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from fastapi.responses import Response

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES: Final = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
}


def install(app: FastAPI) -> None:
    """Serve the page and its two files; all of them are in memory."""
    folder = files("sipgram.http") / "pages"
    for path, (name, media_type) in PAGES.items():
        _add(app, path, (folder / name).read_bytes(), media_type)


def _add(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}

    async def page() -> Response:
        return Response(content, media_type=media_type, headers=headers)

    app.add_api_route(path, page, include_in_schema=False)
