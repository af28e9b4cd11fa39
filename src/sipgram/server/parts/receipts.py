"""Receipts wired to the message store: what failed is told, what was read as text is confirmed."""

from collections.abc import Callable

from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.receipts.plain_forms import PlainForms
from sipgram.services.receipts.service import Receipts


def build_receipts(
    mailroom: Mailroom, *, clock: Callable[[], float], wall: Callable[[], float]
) -> PlainForms:
    """Return who adapts bodies for devices; negative receipts are told from here on."""
    receipts = Receipts(mailroom.post, clock=clock, wall=wall)
    mailroom.report_failures(receipts.on_failed)
    adapter = PlainForms(receipts.on_delivered)
    mailroom.drainer.adapter = adapter
    return adapter
