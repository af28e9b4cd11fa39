"""Where chance comes from: tags, branches, nonces and ids are asked of an injected source."""

import random
import secrets
from typing import NewType, Protocol

NodeId = NewType("NodeId", str)
"""Two letters or digits that name this server among its peers; part of each branch (D14)."""

AccountId = NewType("AccountId", int)
"""Names an account for ever: a name made again is another account (D4)."""


class Entropy(Protocol):
    """A source of unpredictable text; tests inject one that counts."""

    def token(self) -> str:
        """Return a new token of 64 bits or more, of characters that every SIP token may hold."""

    def secret(self) -> bytes:
        """Return 32 unpredictable bytes."""

    def fraction(self) -> float:
        """Return a number from 0.0 up to, not including, 1.0; for jitter."""


class SystemEntropy:
    """The operating system's source."""

    def token(self) -> str:
        return secrets.token_hex(8)

    def secret(self) -> bytes:
        return secrets.token_bytes(32)

    def fraction(self) -> float:
        return random.random()  # Jitter is no secret, and each REGISTER asks for some.
