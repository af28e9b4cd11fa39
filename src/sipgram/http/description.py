"""The OpenAPI document: how to show a key, and that every error is a problem document."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

ABOUT: Final = """Send messages to SIP phones and hear what becomes of them.

Show a key as `Authorization: Bearer sgk_…` (`sipgram key add` makes one), or from this machine an
account's name and password. Errors are problem documents (RFC 9457) that name the field."""
PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string"},
                    "parameter": {"type": "string"},
                    "line": {"type": "string"},
                },
            },
        },
    },
}
ANSWER: Final = {
    "description": "What is wrong, and with which field.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
OPEN: Final = ("/healthz", "/readyz", "/metrics")
"""Paths that need no key."""


def describe(app: FastAPI) -> None:
    """Have the application tell the truth about its errors and its keys."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # As FastAPI's manual says.


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title="sipgram", version=app.version, description=ABOUT, routes=app.routes)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "account": {"type": "http", "scheme": "basic"},
    }
    if "/metrics" in found["paths"]:
        text = {"text/plain": {"schema": {"type": "string"}}}
        found["paths"]["/metrics"]["get"]["responses"]["200"]["content"] = text
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if path not in OPEN:
                operation["responses"]["default"] = ANSWER
                operation["security"] = [{"key": []}, {"account": []}]
    return found
