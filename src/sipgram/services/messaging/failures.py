"""Messages that nobody took and whose senders asked to be told (DELIVERY.md D15)."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from sipgram.services.messaging.ledger import After, Ledger
from sipgram.services.messaging.store import MessageState, MessageStore, StoredMessage

AT_ONCE: Final = 25
"""Messages read and told of in one turn: 5 ms at most."""


class Failures:
    """Tells of each, then closes it: its row, which says that it is owed, is there until then.

    Both changes go to the disk in one commit, as a rule; a crash between two of them makes the
    same receipt once more, with the same Call-ID, CSeq and From tag.
    """

    def __init__(
        self, ledger: Ledger, store: MessageStore, *, report: Callable[[StoredMessage], None]
    ) -> None:
        """``report`` is called with each message while its body is still there."""
        self._ledger = ledger
        self._store = store
        self._report = report
        self._owed: dict[int, tuple[MessageState, After | None]] = {}
        self._is_reading = False

    def __contains__(self, id: int) -> bool:
        return id in self._owed

    def begin(self, id: int, state: MessageState, after: After | None = None) -> None:
        """The last copy of a message has ended; ``after`` is called once its row is closed."""
        self._owed[id] = state, after
        self.go_on()

    def go_on(self) -> None:
        """Read some of those that are owed; a database that does not answer is asked again."""
        if self._owed and not self._is_reading:
            self._is_reading = True
            ids = list(islice(self._owed, AT_ONCE))
            self._store.read(ids, lambda messages: self._read(ids, messages))

    def _read(self, ids: Sequence[int], messages: Sequence[StoredMessage] | None) -> None:
        self._is_reading = False
        if messages is None:
            return  # ``go_on`` is called again within a second.
        for message in messages:
            self._report(message)
        for id in ids:
            self._ledger.finish(id, *self._owed.pop(id))
        self.go_on()
