"""Branches of the requests that we send, tags of our answers (RFC 3261 §8.1.1.7, §19.3; D3, D14)."""

from hashlib import blake2b
from typing import Final, Literal

from sipgram.errors import UsageError
from sipgram.identity import NodeId
from sipgram.sip.message.message import Message

Kind = Literal["l", "s", "d"]
"""Of a live relay, of a stored copy, of our own request in a dialog."""

COOKIE: Final = b"z9hG4bK"


class Brancher:
    """Makes branches and tags that another node, or this one after a restart, makes again alike.

    A retransmission that reaches another node after a fail-over so reaches the device as a
    retransmission. Nobody without the secret can guess one.
    """

    def __init__(self, secret: bytes, *, node: NodeId) -> None:
        if len(node) != 2 or not node.isalnum() or not node.isascii():
            raise UsageError(f"node name is not two letters or digits: {node!r}")
        self._keyed = blake2b(key=secret[:32], digest_size=8)
        self._live = COOKIE + node.encode() + b"l"
        self._stored = COOKIE + node.encode() + b"s"
        self._dialog = COOKIE + node.encode() + b"d"

    def live(self, request: Message, target: bytes) -> bytes:
        """Return the branch for relaying ``request`` to the contact ``target``."""
        keyed = self._keyed.copy()
        keyed.update(b"%b\n%d\n%b" % (request.key, request.cseq, target))
        return self._live + keyed.hexdigest().encode()

    def stored(self, copy_id: int, target: bytes, epoch: int) -> bytes:
        """Return the branch of a stored message to a contact: it costs no write (D14, D18)."""
        keyed = self._keyed.copy()
        keyed.update(b"%d\n%b\n%d" % (copy_id, target, epoch))
        return self._stored + keyed.hexdigest().encode()

    def in_dialog(self, tag: bytes, cseq: int) -> bytes:
        """Return the branch of our own request in a dialog: our tag is keyed already."""
        return b"%b%b.%x" % (self._dialog, tag, cseq)

    def tag(self, request: Message) -> bytes:
        """Return the To tag of our own answers to ``request``: the same for each repetition.

        RFC 3261 §8.2.7 asks a stateless UAS for just that; the ACK of a stateless answer is
        known by it.
        """
        keyed = self._keyed.copy()
        keyed.update(b"%b\n%b\n%b" % (request.call_id, request.from_tag, request.branch))
        return keyed.hexdigest().encode()
