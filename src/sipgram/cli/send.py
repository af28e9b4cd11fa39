"""``sipgram send``: one message, and what became of it as exit code and JSON."""

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from sipgram.cli import session
from sipgram.client.client import Client
from sipgram.client.messages import NoAnswer, Outcome, Rejected, Sent, is_text

To = Annotated[
    str,
    typer.Argument(
        metavar="TO", help="bob, bob@example.com, a sip: or tel: URI; with --csv: the text."
    ),
]
Text = Annotated[
    str, typer.Argument(metavar="TEXT", help="The text; - reads it from standard input.")
]
ContentType = Annotated[str, typer.Option(metavar="T", help="Type of the text.")]
Expires = Annotated[
    int | None, typer.Option(metavar="S", min=0, help="Worth delivering for so many seconds.")
]
Want = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RECEIPT",
        help="Ask for a receipt: delivered, displayed or failed; may be given several times. "
        "It comes to whoever listens as the account.",
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Send the text, with its {columns}, to each line."),
]
ApiUrl = Annotated[
    str, typer.Option("--api", metavar="URL", help="With --csv: the server's HTTP API.")
]
KeyEnv = Annotated[
    str, typer.Option("--key-env", metavar="VAR", help="With --csv: what holds the API key.")
]


def send(
    to: To,
    text: Text = "",
    aor: session.From = "",
    server: session.Server = None,
    password_env: session.PasswordEnv = None,
    content_type: ContentType = "text/plain",
    expires: Expires = None,
    want: Want = None,
    as_json: session.Json = False,
    trace: session.Trace = False,
    timeout: session.Timeout = None,
    to_many: Csv = None,
    api: ApiUrl = "http://127.0.0.1:8080",
    key_env: KeyEnv = "SIPGRAM_API_KEY",
) -> None:
    """Send a message and say what became of it.

    Exit code: 0 delivered, 3 stored, 4 refused, 5 no answer, 2 bad usage.
    """

    if to_many is not None:
        from sipgram.cli.api.bulk import send_csv

        send_csv(to_many, text or to, sender=aor or None, api=api, key_env=key_env)
        return
    if not text or not aor:
        raise typer.BadParameter("TEXT and --from are needed")

    async def work() -> int:
        me = session.client(aor, server=server, password_env=password_env, trace=trace)
        return await _send(
            me,
            to,
            _body(text, content_type),
            content_type=content_type,
            expires_s=expires,
            want=want or (),
            timeout_s=timeout,
            as_json=as_json,
        )

    session.run("send", work)


async def _send(
    me: Client,
    to: str,
    body: bytes,
    *,
    content_type: str,
    expires_s: int | None,
    want: Collection[str],
    timeout_s: float | None,
    as_json: bool,
) -> int:
    started = asyncio.get_running_loop().time()
    async with me:
        try:
            sent = await me.send(
                to,
                body,
                content_type=content_type,
                expires_s=expires_s,
                want=want,
                timeout_s=timeout_s,
            )
        except (Rejected, NoAnswer) as error:
            if as_json:
                elapsed_s = asyncio.get_running_loop().time() - started
                session.show(_failure(error, ms=round(elapsed_s * 1000, 1)))
            raise
    if as_json:
        session.show(_success(sent))
    else:
        print(f"{sent.outcome.value} ({sent.status} {sent.reason}) in {sent.ms:g} ms")
    return session.STORED if sent.outcome is Outcome.STORED else session.DELIVERED


def _success(sent: Sent) -> dict[str, object]:
    return {
        "id": sent.id,
        "outcome": sent.outcome.value,
        "status": sent.status,
        "reason": sent.reason,
        "call_id": sent.call_id,
        "ms": sent.ms,
    }


def _failure(error: Rejected | NoAnswer, *, ms: float) -> dict[str, object]:
    is_refused = isinstance(error, Rejected)
    return {
        "id": error.call_id,
        "outcome": "refused" if is_refused else "no-answer",
        "status": error.status if isinstance(error, Rejected) else None,
        "reason": error.reason,
        "call_id": error.call_id,
        "ms": ms,
    }


def _body(text: str, content_type: str) -> bytes:
    """Return the bytes to send: those of the command line, or of standard input.

    The line end that a shell's echo leaves behind a text is not part of it.
    """
    if text != "-":
        return text.encode("utf-8", "surrogateescape")
    data = sys.stdin.buffer.read()
    if is_text(content_type):
        return data.removesuffix(b"\n").removesuffix(b"\r")
    return data
