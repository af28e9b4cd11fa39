"""``sipgram publish``, ``watch`` and ``winfo``: presence from a shell (RFC 3903, RFC 3856, RFC 3857)."""

import asyncio
import signal
from typing import Annotated

import typer

from sipgram.cli import session
from sipgram.client.client import Client
from sipgram.client.presence import Presence, PresenceUpdate, Watch, WatcherUpdate
from sipgram.client.trace import printable

Count = Annotated[int | None, typer.Option(metavar="N", min=1, help="End after so many updates.")]
Span = Annotated[
    float | None, typer.Option(metavar="S", min=0.001, help="End after so many seconds.")
]


def publish(
    aor: session.From,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    is_closed: Annotated[bool, typer.Option("--closed", help="Say that you are offline.")] = False,
    activity: Annotated[
        str, typer.Option(metavar="NAME", help="away, busy, meal, on-the-phone, … (RFC 4480).")
    ] = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="A line for people to read.")] = "",
    lasts: Annotated[
        float | None,
        typer.Option("--for", metavar="S", min=0.001, help="Take it back after so many seconds."),
    ] = None,
    trace: session.Trace = False,
) -> None:
    """Publish how you are, until Ctrl-C or for --for seconds.

    Exit code: 0, or 4 refused, 5 no answer, 2 bad usage.
    """

    async def work() -> int:
        me = session.client(aor, server=server, password_env=password_env, trace=trace)
        async with me:
            await me.publish(Presence(open=not is_closed, activity=activity, note=note))
            print(f"published {me.aor}", flush=True)
            await _until(lasts)
        return session.DELIVERED

    session.run("publish", work)


def watch(
    who: Annotated[str, typer.Argument(metavar="WHO", help="bob, bob@example.com or a sip: URI.")],
    aor: session.From,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    count: Count = None,
    timeout: Span = None,
    as_json: session.Json = False,
    trace: session.Trace = False,
) -> None:
    """Watch somebody's presence, an update a line.

    Exit code: 0, or 4 refused, 5 no answer or fewer than --count updates in time, 2 bad usage.
    """

    async def work() -> int:
        me = session.client(aor, server=server, password_env=password_env, trace=trace)
        async with me:
            return await _follow(me, me.watch(who), "watch", count, timeout, as_json=as_json)

    session.run("watch", work)


def winfo(
    aor: session.From,
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    count: Count = None,
    timeout: Span = None,
    as_json: session.Json = False,
    trace: session.Trace = False,
) -> None:
    """Watch who watches you, all of them at each change.

    Exit code: 0, or 4 refused, 5 no answer or fewer than --count updates in time, 2 bad usage.
    """

    async def work() -> int:
        me = session.client(aor, server=server, password_env=password_env, trace=trace)
        async with me:
            return await _follow(me, me.watchers(), "winfo", count, timeout, as_json=as_json)

    session.run("winfo", work)


async def _follow(
    me: Client,
    news: Watch,
    command: str,
    count: int | None,
    timeout_s: float | None,
    *,
    as_json: bool,
) -> int:
    left = count
    deadline = asyncio.timeout(timeout_s)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: deadline.reschedule(loop.time()))
    async with news:
        try:
            async with deadline:
                async for update in news:
                    _show(update, as_json=as_json)
                    if left is not None:
                        left -= 1
                        if not left:
                            return session.DELIVERED
        except TimeoutError:
            pass
    if not left:
        return session.DELIVERED
    session.say(command, f"{left} of {count} updates did not come", hint="the time was over")
    return session.NO_ANSWER


def _show(update: PresenceUpdate | WatcherUpdate, *, as_json: bool) -> None:
    if isinstance(update, WatcherUpdate):
        watchers = [w._asdict() for w in update.watchers]
        if as_json:
            session.show({"event": "watchers", "watchers": watchers})
            return
        for watcher in update.watchers:
            print(printable(f"{watcher.status:8}  {watcher.uri}"), flush=True)
        if not watchers:
            print("nobody watches", flush=True)
        return
    seen = update.presence
    if as_json:
        session.show(
            {
                "event": "presence",
                "who": update.who,
                "state": update.state,
                "open": None if seen is None else seen.open,
                "activity": "" if seen is None else seen.activity,
                "note": "" if seen is None else seen.note,
                "reason": update.reason,
            }
        )
        return
    words = [update.who, "unknown" if seen is None else "online" if seen.open else "offline"]
    words += [w for w in ("" if seen is None else seen.activity, update.reason) if w]
    note = f': "{seen.note}"' if seen is not None and seen.note else ""
    pending = " (not confirmed yet)" if update.state == "pending" else ""
    print(printable(" ".join(words) + note + pending), flush=True)


async def _until(after_s: float | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        async with asyncio.timeout(after_s):
            await ended.wait()
    except TimeoutError:
        return
