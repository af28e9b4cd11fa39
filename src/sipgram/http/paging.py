"""Cursors of lists: opaque to clients, and steady while new things come in."""

import base64
import binascii

from sipgram.http.problem import Problem


def cursor_of(id: int) -> str:
    """Return the cursor behind which the next page begins."""
    return base64.urlsafe_b64encode(b"b%d" % id).decode().rstrip("=")


def id_of(cursor: str | None) -> int | None:
    """Return what a cursor of ours stands for; ``Problem`` for another's."""
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        text = b""
    if text[:1] != b"b" or not text[1:].isdigit() or len(text) > 20:
        raise Problem(422, "the cursor is not one of ours", parameter="cursor")
    return int(text[1:])
