"""What the API refuses: each with a problem that names the field (RFC 9457), and logged once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from .http_house import ALICE, BOB, UDP, Here, client_of, command, new_key, served, served_here

DIGEST = ("--domain", "example.com", "--http", "127.0.0.1:0", *UDP)


@asynccontextmanager
async def asked(tmp_path: Path, **settings: str) -> AsyncIterator[tuple[Here, httpx.AsyncClient]]:
    key = await new_key(tmp_path, ALICE, scope="send,read,admin")
    async with served_here(tmp_path, key=key, environment=settings) as found:
        yield found


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    return found


BODIES: list[tuple[dict[str, Any], int, str]] = [
    ({"text": "x"}, 422, "#/to"),
    ({"to": [], "text": "x"}, 422, "#/to"),
    ({"to": ["bob", "b<b"], "text": "x"}, 422, "#/to/1"),
    ({"to": "bob"}, 422, "#"),
    ({"to": "bob", "text": "x", "body": "eA=="}, 422, "#"),
    ({"to": "bob", "body": "!", "content_type": "a/b"}, 422, "#/body"),
    ({"to": "bob", "body": "eA==", "content_type": "a"}, 422, "#/content_type"),
    ({"to": "bob", "text": "x", "content_type": "text/plain\r\nX: y"}, 422, "#/content_type"),
    ({"to": "bob\r\nX: y", "text": "x"}, 422, "#/to"),
    ({"to": "http://example.com/", "text": "x"}, 422, "#/to"),
    ({"to": "bob", "text": "x", "expires": -1}, 422, "#/expires"),
    ({"to": "bob", "text": "x", "expires": 10**12}, 422, "#/expires"),
    ({"to": "bob", "text": "x", "receipts": ["read"]}, 422, "#/receipts/0"),
    ({"to": "bob", "text": "x", "callback_url": "file:///etc/passwd"}, 422, "#/callback_url"),
    ({"to": "bob", "text": "x", "callback_url": "http://127.0.0.1/"}, 422, "#/callback_url"),
    ({"to": "bob", "text": "x", "send_at": "2030-01-01T00:00:00"}, 422, "#/send_at"),
    ({"to": "bob", "text": "x", "send_at": "9999-12-31T00:00:00Z"}, 422, "#/send_at"),
    ({"to": "bob", "text": "x" * 65_001}, 413, "#/text"),
    ({"to": "bob", "text": "x", "from": BOB}, 403, "#/from"),
    ({"to": "bob", "text": "x", "priority": 1}, 422, "#/priority"),
    ({"to": [f"u{n}" for n in range(1_001)], "text": "x"}, 422, "#/to"),
]


async def test_each_bad_field_of_a_message_is_named(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, client):
        for body, status, pointer in BODIES:
            answer = await client.post("/v1/messages", json=body)

            found = problem_of(answer)
            assert answer.status_code == status, (body, found)
            assert pointer in [error.get("pointer") for error in found["errors"]], (body, found)
        listed = await client.get("/v1/messages")

    assert listed.json()["messages"] == []


REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/send?text=x", {}, 422, "to"),
    ("GET", "/send?to=bob", {}, 422, "text"),
    ("GET", "/send?to=b%00b&text=x", {}, 422, "to"),
    ("GET", "/send?to=bob&text=x&wait=99", {}, 422, "wait"),
    ("GET", "/send?to=bob&text=x&key=sgk_1", {}, 401, "key"),
    ("GET", "/v1/messages?cursor=zzz", {}, 422, "cursor"),
    ("GET", "/v1/messages?limit=0", {}, 422, "limit"),
    ("GET", "/v1/messages?state=lost", {}, 422, "state"),
    ("GET", "/v1/messages/1", {}, 404, "id"),
    ("GET", "/v1/messages/9999999999999999999", {}, 404, "id"),
    ("GET", "/v1/messages/x", {}, 422, "id"),
    ("DELETE", "/v1/messages/1", {}, 404, "id"),
    ("GET", "/v1/webhooks/000000000000", {}, 404, "id"),
    ("GET", "/v1/events?last=x", {}, 422, "last"),
    ("GET", "/v1/accounts/nobody", {}, 404, "aor"),
    ("GET", "/v1/accounts/a@b.c/bindings", {}, 404, "aor"),
    ("DELETE", "/v1/keys/000000000000", {}, 404, "id"),
]


async def test_each_bad_parameter_is_named(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, client):
        for method, path, options, status, name in REQUESTS:
            answer = await client.request(method, path, **options)

            found = problem_of(answer)
            assert answer.status_code == status, (path, found)
            assert name in [error.get("parameter") for error in found["errors"]], (path, found)


ABSENT = (
    ("GET", "/v1/nothing", 404),
    ("GET", "/v1/../../etc/passwd", 404),
    ("GET", "/docs/..%2f..%2f..%2fetc%2fpasswd", 404),
    ("GET", "/docs/%2e%2e/%2e%2e/etc/passwd", 404),
    ("PATCH", "/v1/messages", 405),
    ("POST", "/send", 405),
)


async def test_what_is_not_there_is_a_problem_too(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, client):
        for method, path, status in ABSENT:
            answer = await client.request(method, path)

            assert problem_of(answer)["status"] == status, path


async def test_bodies_are_bounded_also_those_of_unknown_length(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000

    async with asked(tmp_path, SIPGRAM_HTTP__BODY_BYTES_MAX="20000") as (_, client):
        told = await client.post("/v1/messages", content=b"x" * 20_001)
        untold = await client.post(
            "/v1/messages", content=endless(), headers={"Content-Type": "application/json"}
        )
        broken = await client.post(
            "/v1/messages", content=b"{", headers={"Content-Type": "application/json"}
        )

    assert [problem_of(each)["status"] for each in (told, untold, broken)] == [413, 413, 422]


async def test_more_than_the_limit_is_429_with_the_headers(tmp_path: Path) -> None:
    async with asked(tmp_path, SIPGRAM_HTTP__PER_MINUTE="2") as (_, client):
        answers = [await client.get("/v1/key") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert answers[0].headers["ratelimit"].startswith('"key";r=1;')
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    problem_of(answers[2])


async def test_keys_scopes_and_origins_are_checked_and_logged_once(tmp_path: Path) -> None:
    reader = await new_key(tmp_path, ALICE, scope="read")
    async with served(tmp_path, key=reader) as (serve, client):
        stolen = [await client.get("/send", params={"to": BOB, "text": "x"}) for _ in range(3)]
        admin = await client.get("/v1/accounts")
        page = {"Origin": "https://evil.example"}
        foreign = [await client.get("/v1/messages", headers=page) for _ in range(3)]
        async with client_of(serve, "sgk_000000000000_" + "0" * 64) as nobody:
            unknown = [await nobody.get("/v1/messages") for _ in range(3)]
        async with client_of(serve, "") as silent:
            none = await silent.get("/v1/messages")
        log = await serve.stop()

    assert {answer.status_code for answer in stolen} == {403}
    assert admin.status_code == 403
    assert {answer.status_code for answer in foreign} == {403}
    assert "access-control-allow-origin" not in foreign[0].headers
    assert {answer.status_code for answer in unknown} == {401}
    assert none.status_code == 401
    assert "Bearer" in none.headers["www-authenticate"]
    for reason in ("scope send", "scope admin", "evil.example", "unknown key"):
        assert log.count(reason) == 1, log
    assert reader not in log


async def test_a_revoked_key_ends_within_a_second_and_a_text_is_never_markup(
    tmp_path: Path,
) -> None:
    key = await new_key(tmp_path, ALICE)
    async with served_here(tmp_path, key=key) as (_, client):
        sent = await client.post("/v1/messages", json={"to": BOB, "text": "<script>1</script>"})
        found = await client.get(f"/v1/messages/{sent.json()['id']}")
        docs = await client.get("/docs")
        command("key", "revoke", key.split("_")[1], "--data", str(tmp_path))
        await until_unknown(client)

    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "unsafe" not in docs.headers["content-security-policy"]
    assert "<script>" not in docs.text.replace('<script src="/docs/docs.js" defer></script>', "")


async def until_unknown(client: httpx.AsyncClient) -> None:
    """Ask until the key is none any more: within a second, and what a busy machine adds."""
    async with asyncio.timeout(5):
        while True:
            if (await client.get("/v1/key")).status_code == 401:
                return
            await asyncio.sleep(0)


async def test_an_account_shows_its_password_from_this_machine(tmp_path: Path) -> None:
    data = str(tmp_path)
    command("user", "add", "alice@example.com", "--password-stdin", "--data", data, stdin="pw")
    async with served_here(tmp_path, mode="digest") as (_, client):
        right = await client.get("/v1/key", auth=("alice@example.com", "pw"))
        wrong = await client.get("/v1/key", auth=("alice@example.com", "pW"))
        broken = await client.get("/v1/key", headers={"Authorization": "Basic %%%"})

    assert right.json()["accounts"] == [ALICE]
    assert right.json()["scopes"] == ["read", "send"]
    assert wrong.status_code == broken.status_code == 401


async def test_d36_an_account_that_is_removed_takes_its_keys_with_it(tmp_path: Path) -> None:
    data = str(tmp_path)
    command("user", "add", "alice@example.com", "--password-stdin", "--data", data, stdin="pw")
    key = command("key", "add", "k", "--account", "alice@example.com", "--data", data)
    admin = command("key", "add", "a", "--scope", "admin,read,send", "--data", data)
    async with (
        served_here(tmp_path, key=key, mode="digest") as (serve, client),
        client_of(serve, admin) as operator,
    ):
        before = await client.get("/v1/key")
        removed = await operator.delete("/v1/accounts/alice@example.com")
        body = {"aor": "alice@example.com", "password": "x"}
        made = await operator.post("/v1/accounts", json=body)
        after = await client.get("/v1/key")
        refused = await client.post("/v1/messages", json={"to": ALICE, "text": "x"})

    assert before.json()["accounts"] == [ALICE]
    assert (removed.status_code, made.status_code) == (204, 201)
    assert after.json()["accounts"] == []
    assert refused.status_code == 422
