"""What each push service is asked, on the wire."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sipgram.errors import SettingsError
from sipgram.services.push.apns import Apns
from sipgram.services.push.credentials import load_providers
from sipgram.services.push.fcm import Fcm
from sipgram.services.push.provider import PushFailed, Wake
from sipgram.services.push.service import ANY
from sipgram.services.push.webhook import Webhook
from sipgram.services.push.webpush import WebPush
from sipgram.sip.push import Push

from .http_server import PushServer

BOB = "sip:bob@example.com"
NOW = 1_700_000_000.0


def now() -> float:
    return NOW


@pytest.fixture
async def service() -> AsyncIterator[PushServer]:
    async with PushServer() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(token: str, key: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check a token's signature; return its header and claims."""
    head, body, signature = token.split(".")
    signed = f"{head}.{body}".encode()
    if isinstance(key, rsa.RSAPrivateKey):
        key.public_key().verify(decoded(signature), signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        raw = decoded(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return json.loads(decoded(head)), json.loads(decoded(body))


# ---- webhook -----------------------------------------------------------------------------------


async def test_d25_a_webhook_gets_the_parameters_and_a_signature(
    service: PushServer, client: httpx.AsyncClient
) -> None:
    hook = Webhook(f"{service.url}/wake", secret="s3", client=client)

    await hook.tell(Wake(Push(b"acme", b"token", b"extra"), BOB, "message"))

    (asked,) = service.asked
    assert asked.path == "/wake"
    assert asked.json == {
        "provider": "acme",
        "prid": "token",
        "param": "extra",
        "aor": BOB,
        "reason": "message",
    }
    digest = hmac.new(b"s3", asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["x-sipgram-signature"] == f"sha256={digest}"


@pytest.mark.parametrize(
    ("status", "is_temporary"), [(500, True), (503, True), (429, True), (400, False), (410, False)]
)
async def test_what_a_status_means(
    service: PushServer, client: httpx.AsyncClient, status: int, is_temporary: bool
) -> None:
    service.answer(status, retry_after="7")

    with pytest.raises(PushFailed) as failed:
        await Webhook(service.url, client=client).tell(Wake(Push(b"a", b"b"), BOB, "message"))

    assert (failed.value.is_temporary, failed.value.retry_after_s) == (is_temporary, 7.0)


async def test_a_service_that_is_not_there_is_tried_again(client: httpx.AsyncClient) -> None:
    async with PushServer() as gone:
        url = gone.url
    with pytest.raises(PushFailed) as failed:
        await Webhook(url, client=client).tell(Wake(Push(b"a", b"b"), BOB, "message"))
    assert failed.value.is_temporary


# ---- FCM ---------------------------------------------------------------------------------------


async def test_d25_fcm_gets_a_data_message_with_an_access_token(
    service: PushServer, client: httpx.AsyncClient, rsa_key: rsa.RSAPrivateKey
) -> None:
    account = {
        "private_key": pem(rsa_key).decode(),
        "client_email": "sip@project.example",
        "token_uri": f"{service.url}/token",
        "project_id": "p1",
    }
    service.answer(200, b'{"access_token": "at", "expires_in": 3600}')
    fcm = Fcm(account, client=client, wall=now, url=service.url)

    for _ in range(2):  # One access token for both.
        await fcm.tell(Wake(Push(b"fcm", b"device-token", b"sender"), BOB, "message"))

    token, message, _ = service.asked
    form = httpx.QueryParams(token.body.decode())
    head, claims = claims_of(form["assertion"], rsa_key)
    assert (head["alg"], claims["iss"]) == ("RS256", "sip@project.example")
    assert claims["exp"] - claims["iat"] == 3600
    assert message.path == "/v1/projects/p1/messages:send"
    assert message.headers["authorization"] == "Bearer at"
    assert message.json["message"]["token"] == "device-token"
    assert BOB not in message.body.decode()


async def test_an_fcm_token_that_was_withdrawn_is_fetched_again(
    service: PushServer, client: httpx.AsyncClient, rsa_key: rsa.RSAPrivateKey
) -> None:
    account = {
        "private_key": pem(rsa_key).decode(),
        "client_email": "e",
        "token_uri": f"{service.url}/token",
        "project_id": "p1",
    }
    service.answer(200, b'{"access_token": "old"}')
    service.answer(401)
    service.answer(200, b'{"access_token": "new"}')
    fcm = Fcm(account, client=client, wall=now, url=service.url)
    wake = Wake(Push(b"fcm", b"t"), BOB, "message")

    with pytest.raises(PushFailed) as failed:
        await fcm.tell(wake)
    assert failed.value.is_temporary
    await fcm.tell(wake)

    assert service.asked[-1].headers["authorization"] == "Bearer new"


# ---- APNs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "kind", "priority"),
    [(b"TEAM1.org.example.app", "background", "5"), (b"TEAM1.org.example.app.voip", "voip", "10")],
)
async def test_d25_apns_gets_topic_and_provider_token(
    service: PushServer,
    client: httpx.AsyncClient,
    ec_key: ec.EllipticCurvePrivateKey,
    param: bytes,
    kind: str,
    priority: str,
) -> None:
    apns = Apns(ec_key, key_id="K1", team_id="TEAM1", client=client, wall=now, url=service.url)

    await apns.tell(Wake(Push(b"apns", b"00fc13adff", param), BOB, "message"))

    (asked,) = service.asked
    assert asked.path == "/3/device/00fc13adff"
    assert asked.headers["apns-topic"] == param.decode().partition(".")[2]
    assert asked.headers["apns-push-type"] == kind
    assert asked.headers["apns-priority"] == priority
    head, claims = claims_of(asked.headers["authorization"].removeprefix("bearer "), ec_key)
    assert (head["alg"], head["kid"]) == ("ES256", "K1")
    assert claims == {"iss": "TEAM1", "iat": int(NOW)}


@pytest.mark.parametrize(
    ("prid", "param"), [(b"00/../x", b"TEAM1.a"), (b"00", b"OTHER.a"), (b"00", b"")]
)
async def test_apns_is_not_asked_for_what_is_not_ours(
    service: PushServer,
    client: httpx.AsyncClient,
    ec_key: ec.EllipticCurvePrivateKey,
    prid: bytes,
    param: bytes,
) -> None:
    apns = Apns(ec_key, key_id="K1", team_id="TEAM1", client=client, wall=now, url=service.url)
    with pytest.raises(PushFailed) as failed:
        await apns.tell(Wake(Push(b"apns", prid, param), BOB, "message"))
    assert not failed.value.is_temporary
    assert service.asked == []


# ---- Web Push ----------------------------------------------------------------------------------


def web_push(key: ec.EllipticCurvePrivateKey, **more: Any) -> WebPush:
    options: dict[str, Any] = {"hosts": ("127.0.0.1",), "with_http": True, **more}
    return WebPush(key, subject="mailto:a@example.com", timeout_s=2.0, wall=now, **options)


async def test_d25_webpush_is_told_by_vapid_and_without_payload(
    service: PushServer, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    service.answer(201)
    provider = web_push(ec_key)

    url = f"{service.url}/wpush/v2/abc"
    await provider.tell(Wake(Push(b"webpush", url.encode()), BOB, "message"))
    await provider.close()

    (asked,) = service.asked
    assert (asked.path, asked.body) == ("/wpush/v2/abc", b"")
    assert asked.headers["ttl"] == "86400"
    scheme, _, rest = asked.headers["authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, fields["k"].encode()) == ("vapid", provider.public_key)
    _, claims = claims_of(fields["t"], ec_key)
    assert (claims["aud"], claims["sub"]) == (service.url, "mailto:a@example.com")


@pytest.mark.parametrize(
    "url", [b"http://10.0.0.1/x", b"https://internal.example/x", b"file:///etc/passwd", b"token"]
)
async def test_webpush_goes_to_known_hosts_alone(
    ec_key: ec.EllipticCurvePrivateKey, url: bytes
) -> None:
    """An account names the URL: this server must not ask whomever it likes."""
    provider = web_push(ec_key, hosts=("*.push.example",), with_http=False)
    with pytest.raises(PushFailed) as failed:
        await provider.tell(Wake(Push(b"webpush", url), BOB, "message"))
    assert not failed.value.is_temporary
    await provider.close()


async def test_webpush_follows_no_redirect(
    service: PushServer, ec_key: ec.EllipticCurvePrivateKey
) -> None:
    service.answer(307, location=f"{service.url}/elsewhere")
    provider = web_push(ec_key)
    with pytest.raises(PushFailed):
        await provider.tell(Wake(Push(b"webpush", service.url.encode()), BOB, "message"))
    await provider.close()
    assert len(service.asked) == 1


# ---- the file ----------------------------------------------------------------------------------


def write(folder: Path, text: str) -> Path:
    file = folder / "push.toml"
    file.write_text(text)
    return file


async def test_a_file_names_services_and_their_keys(
    tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey, rsa_key: rsa.RSAPrivateKey
) -> None:
    (tmp_path / "ec.pem").write_bytes(pem(ec_key))
    account = {"private_key": pem(rsa_key).decode(), "project_id": "p"}
    (tmp_path / "fcm.json").write_text(json.dumps(account))
    file = write(
        tmp_path,
        """
        [webpush]
        key = "ec.pem"
        subject = "mailto:a@example.com"
        [fcm]
        service_account = "fcm.json"
        [apns]
        key = "ec.pem"
        key_id = "K"
        team_id = "T"
        [webhook]
        url = "http://127.0.0.1:1/"
        """,
    )

    providers, services = load_providers(file, timeout_s=1.0, wall=now)

    assert set(providers) == {b"webpush", b"fcm", b"apns", ANY}
    assert set(services) == {b"webpush", b"fcm", b"apns"}
    assert services[b"webpush"].startswith(b'+sip.vapid="B')
    for provider in providers.values():
        await provider.close()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "is not valid TOML"),
        ("[acme]\n", "no push service section: acme"),
        ('[webhook]\nurl = "x"\npassword = "top"\n', r"webhook\.password is unknown"),
        ('[webhook]\nsecret = "x"\n', "lacks url"),
        ('[apns]\nkey = "gone.p8"\nkey_id = "a"\nteam_id = "b"\n', "cannot read .*gone.p8"),
        ('[apns]\nkey = "push.toml"\nkey_id = "a"\nteam_id = "b"\n', "no private key"),
        ('[fcm]\nservice_account = "push.toml"\n', "no JSON file"),
    ],
)
def test_what_is_wrong_is_named_without_a_value(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault) as failed:
        load_providers(write(tmp_path, text), timeout_s=1.0, wall=now)
    assert "top" not in str(failed.value).replace(str(tmp_path), "")
