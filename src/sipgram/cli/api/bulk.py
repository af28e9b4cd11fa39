"""``sipgram send --csv FILE``: one text to many, each with its own words, by the HTTP API.

The report beside the file says what became of each line. A run that was cut off goes on where it
was: a batch is sent under a key that follows from the file, and the server takes each key once.
"""

import csv
import http.client
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import typer

from sipgram.errors import SettingsError

BATCH: Final = 1_000
"""Lines in one request."""
TIMEOUT_S: Final = 60.0
BAD_USAGE: Final = 2
REFUSED: Final = 4
NO_ANSWER: Final = 5
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
TO: Final = ("to", "phone", "address", "recipient")
"""What the column of addresses may be called."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file, ready to be sent."""

    number: int
    to: str
    text: str


def send_csv(file: Path, text: str, *, sender: str | None, api: str, key_env: str) -> None:
    """Send a text to everybody in a CSV file; ends the process when that fails."""
    key = os.environ.get(key_env, "")
    try:
        if not key:
            raise SettingsError(f"environment variable {key_env} holds no API key")
        lines = list(read_lines(file, text))
        report = Report(file)
        with Api(api, key) as server:
            rejected = _send(lines, report, server, sender=sender, salt=f"{text}\n{sender}")
    except (SettingsError, OSError, csv.Error, UnicodeDecodeError) as error:
        typer.echo(f"sipgram send: {error}", err=True)
        is_away = isinstance(error, ConnectionError | http.client.HTTPException | TimeoutError)
        raise typer.Exit(NO_ANSWER if is_away else BAD_USAGE) from None
    typer.echo(f"{len(lines) - rejected} accepted, {rejected} rejected: see {report.path}")
    if rejected:
        raise typer.Exit(REFUSED)


def read_lines(file: Path, text: str) -> Iterator[Line]:
    """Yield the lines of a CSV file whose first line names its columns.

    Raises:
        SettingsError: a column is missing.
    """
    with open(file, newline="", encoding="utf-8-sig") as source:
        rows = csv.DictReader(source)
        names = rows.fieldnames or []
        column = next((name for name in names if name.strip().lower() in TO), None)
        if column is None:
            raise SettingsError(f"{file} has no column called {', '.join(TO)}")
        unknown = [name for name in _FIELD.findall(text) if name not in names]
        if unknown:
            raise SettingsError(f"{file} has no column called {unknown[0]}, which the text uses")
        for row in rows:
            yield Line(rows.line_num, (row[column] or "").strip(), filled(text, row))


def filled(text: str, row: dict[str, Any]) -> str:
    """Put the words of a line in the place of ``{name}``."""
    return _FIELD.sub(lambda match: str(row.get(match[1]) or ""), text)


class Report:
    """A CSV file beside the other one: line, address, id, what was wrong."""

    def __init__(self, file: Path) -> None:
        self.path = file.with_suffix(".report.csv")
        self._rows: list[tuple[object, ...]] = []

    def add(self, lines: Sequence[Line], answer: dict[str, Any]) -> None:
        """Note what became of a batch."""
        faults = {error["line"]: error for error in answer.get("errors", ())}
        for place, line in enumerate(lines, 1):
            fault = faults.get(place)
            state = "rejected" if fault else "accepted"
            detail = f"{fault['pointer']}: {fault['detail']}" if fault else ""
            self._rows.append((line.number, line.to, state, answer.get("id", ""), detail))

    def write(self) -> None:
        """Write it whole: what was there is of an earlier run of the same file."""
        half = self.path.with_suffix(".tmp")
        with open(half, "w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(("line", "to", "state", "submission", "detail"))
            writer.writerows(self._rows)
        half.replace(self.path)


class Api:
    """One connection to a server's API."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"--api is not http: or https: with a host: {url}")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._path = parts.path.rstrip("/") + "/v1/messages:batch"
        self._key = key

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, body: bytes, *, idempotency_key: str) -> dict[str, Any]:
        """Send a batch.

        Raises:
            SettingsError: the server refuses it as a whole.
        """
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": idempotency_key,
        }
        self._connection.request("POST", self._path, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        try:
            value: dict[str, Any] = json.loads(data)
        except ValueError:
            raise SettingsError(f"no API answers there: {answer.status}") from None
        if answer.status == 422 and value.get("errors") and "line" in value["errors"][0]:
            errors = [{**error, "line": int(error["line"])} for error in value["errors"]]
            return {"id": "", "errors": errors, "rejected": len(errors)}
        if answer.status != 202:
            raise SettingsError(f"{answer.status} {value.get('detail', '')}")
        return value


def _send(
    lines: Sequence[Line], report: Report, server: Api, *, sender: str | None, salt: str
) -> int:
    from rich.console import Console
    from rich.progress import Progress

    rejected = 0
    with Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("sending", total=len(lines))
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            body = b"\n".join(_json(line, sender) for line in batch)
            digest = blake2b(salt.encode() + b"%d" % start + body, digest_size=16).hexdigest()
            answer = server.post(body, idempotency_key=f"csv {digest}")
            rejected += answer["rejected"]
            report.add(batch, answer)
            report.write()
            progress.advance(task, len(batch))
    return rejected


def _json(line: Line, sender: str | None) -> bytes:
    value = {"to": line.to, "text": line.text, "tag": f"line {line.number}"}
    if sender is not None:
        value["from"] = sender
    return json.dumps(value).encode()
