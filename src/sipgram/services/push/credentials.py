"""Push services as their settings file names them (``push.file``); what is in it is never logged.

    [webpush]                     # RFC 8030; the key as `openssl ecparam -name prime256v1 -genkey` makes it
    key = "vapid.pem"
    subject = "mailto:admin@example.com"

    [fcm]
    service_account = "firebase.json"

    [apns]
    key = "AuthKey_ABC.p8"
    key_id = "ABC"
    team_id = "DEF"

    [webhook]                     # every other service, or those that it names
    url = "https://push.example.com/wake"
    secret = "…"
    services = ["acme"]

Files are beside it, unless their paths are absolute.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from sipgram.errors import SettingsError
from sipgram.services.push.provider import Provider
from sipgram.services.push.service import ANY
from sipgram.services.push.tokens import load_key

WEBPUSH_HOSTS: Final = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""Where browsers have their subscriptions."""
APNS_SANDBOX: Final = "https://api.sandbox.push.apple.com"
_SECTIONS: Final = {
    "webpush": {"key", "subject", "hosts", "with_http"},
    "fcm": {"service_account", "url"},
    "apns": {"key", "key_id", "team_id", "sandbox", "url"},
    "webhook": {"url", "secret", "services"},
}

Section = dict[str, Any]


def load_providers(
    file: Path, *, timeout_s: float, wall: Callable[[], float]
) -> tuple[dict[bytes, Provider], dict[bytes, bytes]]:
    """Return the push services by name, and what phones must know of each (``PushTerms``).

    Raises:
        SettingsError: one line naming what is wrong, never a value.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML") from error
    _check(tree, file)
    try:
        return _Builder(tree, file.parent, timeout_s=timeout_s, wall=wall).providers()
    except ImportError as error:
        raise SettingsError(f"push needs {error.name}: pip install 'sipgram[push]'") from error
    except KeyError as error:
        raise SettingsError(f"{file} lacks {error.args[0]}") from error


def _check(tree: Mapping[str, Any], file: Path) -> None:
    for section, values in tree.items():
        if section not in _SECTIONS or not isinstance(values, dict):
            raise SettingsError(f"{file}: no push service section: {section}")
        for name in values.keys() - _SECTIONS[section]:
            raise SettingsError(f"{file}: {section}.{name} is unknown")


class _Builder:
    def __init__(
        self,
        tree: dict[str, Section],
        folder: Path,
        *,
        timeout_s: float,
        wall: Callable[[], float],
    ) -> None:
        self._tree = tree
        self._folder = folder
        self._timeout_s = timeout_s
        self._wall = wall

    def providers(self) -> tuple[dict[bytes, Provider], dict[bytes, bytes]]:
        found: dict[bytes, Provider] = {}
        terms: dict[bytes, bytes] = {}
        if webpush := self._tree.get("webpush"):
            found[b"webpush"], public_key = self._webpush(webpush)
            terms[b"webpush"] = b'+sip.vapid="%b"' % public_key
        if fcm := self._tree.get("fcm"):
            found[b"fcm"] = self._fcm(fcm)
        if apns := self._tree.get("apns"):
            found[b"apns"] = self._apns(apns)
        if webhook := self._tree.get("webhook"):
            from sipgram.services.push.webhook import Webhook

            hook = Webhook(
                str(webhook["url"]), secret=str(webhook.get("secret", "")), client=self._client()
            )
            for name in webhook.get("services", ["*"]):
                found.setdefault(str(name).encode(), hook)
        return found, {name: terms.get(name, b"") for name in found if name != ANY}

    def _webpush(self, section: Section) -> tuple[Provider, bytes]:
        from sipgram.services.push.webpush import WebPush

        key = load_key(self._file(section["key"]), of="webpush.key")
        if not isinstance(key, EllipticCurvePrivateKey):
            raise SettingsError("webpush.key: VAPID wants a key of the curve P-256")
        provider = WebPush(
            key,
            subject=str(section["subject"]),
            hosts=section.get("hosts", WEBPUSH_HOSTS),
            timeout_s=self._timeout_s,
            wall=self._wall,
            with_http=bool(section.get("with_http")),
        )
        return provider, provider.public_key

    def _fcm(self, section: Section) -> Provider:
        from sipgram.services.push.fcm import Fcm

        try:
            account = json.loads(self._file(section["service_account"]))
        except ValueError as error:
            raise SettingsError("fcm.service_account is no JSON file") from error
        url = str(section.get("url", "https://fcm.googleapis.com"))
        return Fcm(account, client=self._client(), wall=self._wall, url=url)

    def _apns(self, section: Section) -> Provider:
        from sipgram.services.push.apns import Apns

        usual = APNS_SANDBOX if section.get("sandbox") else "https://api.push.apple.com"
        return Apns(
            load_key(self._file(section["key"]), of="apns.key"),
            key_id=str(section["key_id"]),
            team_id=str(section["team_id"]),
            client=self._client(http2=True),
            wall=self._wall,
            url=str(section.get("url", usual)),
        )

    def _client(self, *, http2: bool = False) -> Any:
        import httpx

        return httpx.AsyncClient(timeout=self._timeout_s, http2=http2, follow_redirects=False)

    def _file(self, name: object) -> bytes:
        path = self._folder / str(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise SettingsError(f"cannot read {path}: {error.strerror}") from error
