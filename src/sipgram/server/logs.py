"""Log lines to standard error, for people or as JSON."""

import logging
import sys
from typing import Literal

import structlog

SECRET_FIELDS = frozenset(("password", "authorization", "nonce", "response", "ha1"))
"""Never written, whatever a caller binds."""


def configure(*, log_format: Literal["console", "json"], level: str) -> None:
    """Send structlog and the standard library's logging to standard error."""
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_secrets,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr)
            if log_format == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=max(least, logging.WARNING))


def _without_secrets(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for field in SECRET_FIELDS & event.keys():
        event[field] = "***"
    return event
