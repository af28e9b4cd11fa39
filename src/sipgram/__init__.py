"""sipgram: SIP SIMPLE messaging, a server, an asyncio client and a command line.

The names of the client are here, imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipgram.client.client import Client
    from sipgram.client.events import ConnectionState, Receipt, Typing
    from sipgram.client.messages import Message, NoAnswer, Outcome, Rejected, Sent
    from sipgram.client.presence import Presence, PresenceUpdate, WatcherUpdate

    __version__: str

_HOMES = {
    "Client": "sipgram.client.client",
    "ConnectionState": "sipgram.client.events",
    "Message": "sipgram.client.messages",
    "NoAnswer": "sipgram.client.messages",
    "Outcome": "sipgram.client.messages",
    "Presence": "sipgram.client.presence",
    "PresenceUpdate": "sipgram.client.presence",
    "Receipt": "sipgram.client.events",
    "Rejected": "sipgram.client.messages",
    "Sent": "sipgram.client.messages",
    "Typing": "sipgram.client.events",
    "WatcherUpdate": "sipgram.client.presence",
}

__all__ = [
    "Client",
    "ConnectionState",
    "Message",
    "NoAnswer",
    "Outcome",
    "Presence",
    "PresenceUpdate",
    "Receipt",
    "Rejected",
    "Sent",
    "Typing",
    "WatcherUpdate",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'sipgram' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sipgram")
    except PackageNotFoundError:  # Run from a source tree that nobody installed.
        return "0+source"
