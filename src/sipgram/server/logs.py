"""Log lines to standard error, for people or as JSON."""

import io
import logging
import sys
from contextlib import suppress
from typing import Literal, TextIO, cast

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
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=max(least, logging.WARNING))


class Unfailing(io.TextIOBase):
    """Writes what can be written: a full disk behind the log must not end what was being done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        with suppress(OSError):
            self._stream.flush()


def _without_secrets(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for field in SECRET_FIELDS & event.keys():
        event[field] = "***"
    return event
