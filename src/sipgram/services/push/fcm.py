"""Firebase Cloud Messaging, HTTP v1: RFC 8599's provider ``fcm``."""

from collections.abc import Callable
from typing import Any

import httpx

from sipgram.services.push.provider import PushFailed, Wake, check
from sipgram.services.push.tokens import load_key, signed

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN_S = 3_600
EARLY_S = 60.0
"""A new access token is fetched so long before the old one ends."""


class Fcm:
    """Wakes Android phones with a data message of high priority, without any text."""

    def __init__(
        self,
        account: dict[str, Any],
        *,
        client: httpx.AsyncClient,
        wall: Callable[[], float],
        url: str = "https://fcm.googleapis.com",
    ) -> None:
        """``account`` is the service account's JSON file, as Google gives it out."""
        self._account = account
        self._key = load_key(str(account["private_key"]).encode(), of="fcm.service_account")
        self._client = client
        self._wall = wall
        self._send_url = f"{url}/v1/projects/{account['project_id']}/messages:send"
        self._token = ""
        self._token_until = 0.0

    async def tell(self, wake: Wake) -> None:
        message = {
            "token": wake.push.prid.decode("utf-8", "replace"),
            "data": {"reason": wake.why},
            "android": {"priority": "HIGH"},
        }
        try:
            headers = {"Authorization": f"Bearer {await self._access_token()}"}
            answer = await self._client.post(
                self._send_url, json={"message": message}, headers=headers
            )
        except httpx.HTTPError as error:
            raise PushFailed(type(error).__name__, is_temporary=True) from error
        if answer.status_code == 401:
            self._token_until = 0.0  # Withdrawn before its time: the next attempt fetches another.
            raise PushFailed("401", is_temporary=True)
        check(answer.status_code, "", retry_after=answer.headers.get("retry-after", ""))

    async def _access_token(self) -> str:
        """Trade a signed assertion for an access token (RFC 7523)."""
        now = self._wall()
        if now < self._token_until - EARLY_S:
            return self._token
        account = self._account
        claims = {
            "iss": account["client_email"],
            "scope": SCOPE,
            "aud": account["token_uri"],
            "iat": int(now),
            "exp": int(now) + TOKEN_S,
        }
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": signed(self._key, claims),
        }
        answer = await self._client.post(str(account["token_uri"]), data=form)
        check(answer.status_code, "for an access token")
        granted = answer.json()
        self._token = str(granted["access_token"])
        self._token_until = now + float(granted.get("expires_in", TOKEN_S))
        return self._token

    async def close(self) -> None:
        await self._client.aclose()
