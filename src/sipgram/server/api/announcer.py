"""What becomes of messages, told to those who listen: streams, webhooks, callbacks."""

import json
from typing import Any

from sipgram.services.directory import Directory
from sipgram.services.listeners.service import Listeners
from sipgram.services.outbox.service import Outbox
from sipgram.services.outbox.store import Outgoing
from sipgram.services.outbox.wire import time_of
from sipgram.services.webhooks.service import Webhooks


class Announcer:
    """Turns changes of state into events; the same fact has the same id each time."""

    def __init__(
        self, listeners: Listeners, webhooks: Webhooks, outbox: Outbox, directory: Directory
    ) -> None:
        self._listeners = listeners
        self._webhooks = webhooks
        self._outbox = outbox
        self._directory = directory

    def on_outgoing(self, message: Outgoing) -> None:
        """A message that came by HTTP is in another state."""
        kind = f"message.{message.state}"
        resident = self._directory.resident(message.sender)
        aor = message.sender if resident is None else resident.aor
        if not message.callback_url and not self._is_wanted(aor, kind):
            return
        fact = f"{message.id}.{message.state}"
        data: dict[str, Any] = {
            "message_id": str(message.id),
            "from": message.sender,
            "to": message.recipient,
            "state": message.state,
            "status": message.status,
            "reason": message.reason,
            "tag": message.tag or None,
        }
        self._listeners.tell(aor, kind, data, id=fact)
        if message.callback_url:
            at = time_of(self._outbox.wall())
            value = {"id": fact, "type": kind, "account": aor, "at": at, "data": data}
            body = json.dumps(value, ensure_ascii=False).encode()
            self._webhooks.call_back(
                message.callback_url,
                caller=message.caller,
                to=message.recipient,
                event_id=fact,
                body=body,
            )

    def on_news(self, id: int, *, aor: str, sender: bytes, state: str) -> None:
        """A stored message has been delivered, or never will be."""
        if self._outbox.on_news(id, state):
            return
        resident = self._directory.resident(sender.decode(errors="replace"))
        if resident is None:
            return
        kind = f"message.{state}"
        if self._is_wanted(resident.aor, kind):
            data = {"message_id": str(id), "from": resident.aor, "to": aor, "state": state}
            self._listeners.tell(resident.aor, kind, data, id=f"{id}.{state}")

    def _is_wanted(self, aor: str, kind: str) -> bool:
        is_heard = self._listeners.device_of(aor) is not None
        return is_heard or self._webhooks.wants(aor, kind)

    def on_receipt(self, id: int, status: str, by: str) -> None:
        """A receipt has come for a message that may have come by HTTP."""
        if status == "displayed":
            reader = self._directory.resident(by)
            self._outbox.on_displayed(id, by if reader is None else reader.aor)
