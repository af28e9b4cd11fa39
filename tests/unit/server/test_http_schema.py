"""The OpenAPI document against the server: schemathesis finds no 5xx and no other answer."""

import asyncio
import sys
from pathlib import Path

import pytest

from .http_house import new_key, served

EXAMPLES = "4"
"""Of each operation and phase: enough to find what is plainly wrong, within seconds."""
LAXER = {
    "SIPGRAM_HTTP__WRONG_KEYS_PER_MINUTE": "100000",
    "SIPGRAM_HTTP__BODY_BYTES_MAX": "200000",
}


@pytest.mark.timeout(180)
async def test_no_answer_differs_from_the_document(tmp_path: Path) -> None:
    """An endless stream cannot be asked, and a line of a batch is no type of its own.

    What a schema cannot say, as that either text or body is there, is refused with 422 although
    the schema allows it: that check stays out.
    """
    key = await new_key(tmp_path, scope="send,read,admin")
    async with served(tmp_path, key=key, environment=LAXER) as (serve, client):
        document = await client.get("/openapi.json")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{serve.port('http')}/openapi.json",
            *("-H", f"Authorization: Bearer {key}"),
            *("--max-examples", EXAMPLES, "--seed", "7", "--no-color"),
            *("--exclude-path", "/v1/events", "--exclude-path", "/v1/messages:batch"),
            *("--exclude-checks", "positive_data_acceptance"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        out, _ = await process.communicate()
        log = await serve.stop()

    shown = "\n".join(line[:300] for line in out.decode(errors="replace").splitlines()[-150:])
    assert process.returncode == 0, shown
    assert "request failed" not in log
    assert document.json()["openapi"].startswith("3.1")
