"""``sipgram send --csv``: a text for each line, a report, and a second run that sends nothing."""

import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sipgram.cli.api.bulk import Line, filled, read_lines
from sipgram.errors import SettingsError

from .conftest import Run

KEY = "sgk_1"


class Batches(BaseHTTPRequestHandler):
    """An API that takes every line but those to nobody."""

    keys: list[str] = []
    lines: list[dict[str, str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Idempotency-Key"]
        found = [json.loads(line) for line in body.splitlines()]
        if key not in self.keys:
            self.keys.append(key)
            self.lines.extend(found)
        faults = [
            {"line": place, "pointer": "#/to", "detail": "the address is empty"}
            for place, line in enumerate(found, 1)
            if not line["to"]
        ]
        answer = {
            "id": "7",
            "accepted": len(found) - len(faults),
            "rejected": len(faults),
            "errors": faults,
        }
        data = json.dumps(answer).encode()
        self.send_response(202 if self.headers["Authorization"] == f"Bearer {KEY}" else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    Batches.keys.clear()
    Batches.lines.clear()
    with HTTPServer(("127.0.0.1", 0), Batches) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_each_line_gets_its_own_words_and_a_second_run_sends_nothing(
    run: Run, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,to\nBob,bob\nNobody,\nÉva,sip:eva@example.com\n", encoding="utf-8")
    monkeypatch.setenv("SIPGRAM_API_KEY", KEY)
    arguments = ("send", "Hello {name}", "--csv", str(file), "--api", api, "--from", "sip:a@b.c")

    first, again = run(*arguments), run(*arguments)

    assert first.code == again.code == 4
    assert [(line["to"], line["text"]) for line in Batches.lines] == [
        ("bob", "Hello Bob"),
        ("", "Hello Nobody"),
        ("sip:eva@example.com", "Hello Éva"),
    ]
    with open(tmp_path / "people.report.csv", encoding="utf-8", newline="") as report:
        rows = list(csv.DictReader(report))
    assert [(row["line"], row["state"]) for row in rows] == [
        ("2", "accepted"),
        ("3", "rejected"),
        ("4", "accepted"),
    ]


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("to\nbob\n")

    with pytest.raises(SettingsError, match="column called name"):
        list(read_lines(file, "Hi {name}"))
    assert list(read_lines(file, "Hi {to}")) == [Line(2, "bob", "Hi bob")]
    assert filled("{to}{to}", {"to": "x"}) == "xx"


def test_without_a_key_nothing_is_sent(
    run: Run, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("to\nbob\n")
    monkeypatch.delenv("SIPGRAM_API_KEY", raising=False)

    ran = run("send", "Hi", "--csv", str(file), "--api", api)

    assert ran.code == 2
    assert "SIPGRAM_API_KEY" in ran.err
    assert not Batches.lines
