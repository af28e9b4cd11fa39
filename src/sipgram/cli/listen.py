"""``sipgram listen``: registers and prints what comes in, an event a line."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from sipgram.cli import session
from sipgram.client.client import Client
from sipgram.client.events import ConnectionState, Event, Receipt, Typing
from sipgram.client.messages import Message, NoAnswer
from sipgram.client.settings import ClientSettings
from sipgram.client.trace import printable


def listen(
    aor: session.From,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End after so many messages.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="S", min=0.001, help="End after so many seconds."),
    ] = None,
    as_json: session.Json = False,
    trace: session.Trace = False,
) -> None:
    """Register and print what comes in, until Ctrl-C.

    Exit code: 0, or 4 when the registration was refused, 5 when there was no answer or fewer
    than --count messages came in time, 2 bad usage. What --count leaves stays on the server.
    """

    async def work() -> int:
        me = session.client(
            aor,
            server=server,
            password_env=password_env,
            trace=trace,
            register=True,
            settings=ClientSettings(messages_max=count),
        )
        return await _listen(me, count=count, timeout_s=timeout, as_json=as_json)

    session.run("listen", work)


async def _listen(me: Client, *, count: int | None, timeout_s: float | None, as_json: bool) -> int:
    printer = _Printer(count, as_json=as_json)
    loop = asyncio.get_running_loop()
    deadline = asyncio.timeout(timeout_s)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: deadline.reschedule(loop.time()))
    is_registered = False
    try:
        async with deadline, me:
            is_registered = True
            await printer.print(me.events())
    except TimeoutError:
        if not is_registered:
            raise NoAnswer("not registered yet when the time was over") from None
    # What was answered with 200 in the last moment is not lost.
    await printer.print(me.events())
    if not printer.left:
        return session.DELIVERED
    what = f"{printer.left} of {count} messages did not come"
    session.say("listen", what, hint="the time was over")
    return session.NO_ANSWER


class _Printer:
    """Prints events until as many messages came as were asked for."""

    def __init__(self, count: int | None, *, as_json: bool) -> None:
        self.left = count
        self._show = _show_json if as_json else _show_line

    async def print(self, events: AsyncIterator[Event]) -> None:
        """Print until none is left to wait for, or the events end."""
        if self.left == 0:
            return
        async for event in events:
            self._show(event)
            if isinstance(event, Message) and self.left is not None:
                self.left -= 1
                if not self.left:
                    return


def _show_json(event: Event) -> None:
    match event:
        case Message():
            session.show(
                {
                    "event": "message",
                    "id": event.id,
                    "from": event.sender,
                    "to": event.to,
                    "text": event.text,
                    "content_type": event.content_type,
                    "sent_at": event.sent_at.isoformat(timespec="seconds"),
                    "delayed": event.delayed,
                    "call_id": event.call_id,
                }
            )
        case Receipt():
            session.show(
                {
                    "event": "receipt",
                    "message_id": event.message_id,
                    "status": event.status,
                    "from": event.sender,
                    "sent_at": event.sent_at.isoformat(timespec="seconds"),
                }
            )
        case Typing():
            session.show({"event": "typing", "from": event.sender, "active": event.active})
        case ConnectionState():
            session.show({"event": "connection", "state": event.state, "reason": event.reason})


def _show_line(event: Event) -> None:
    match event:
        case Message():
            shown = event.text or f"({len(event.data)} bytes of {event.content_type})"
            line = f"{event.sent_at.astimezone():%H:%M:%S} {event.sender}: {shown}"
        case Receipt():
            line = f"+ {event.sender} {event.status} {event.message_id}"
        case Typing():
            line = f"+ {event.sender} {'writes' if event.active else 'writes no more'}"
        case ConnectionState():
            line = f"= {event.state} {event.reason}".rstrip()
    print(printable(line.replace("\n", " ")), flush=True)
