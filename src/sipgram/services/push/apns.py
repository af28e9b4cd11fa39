"""Apple's push service over HTTP/2 with a provider token: RFC 8599's provider ``apns``."""

from collections.abc import Callable
from typing import Final

import httpx

from sipgram.services.push.provider import PushFailed, Wake, check
from sipgram.services.push.tokens import SigningKey, signed

TOKEN_S: Final = 2_400.0
"""Apple takes a token for an hour, and refuses a new one within 20 minutes of the last."""


class Apns:
    """Wakes Apple's phones; ``pn-param`` is TEAM.TOPIC, and a topic ending in .voip rings (§4.1)."""

    def __init__(
        self,
        key: SigningKey,
        *,
        key_id: str,
        team_id: str,
        client: httpx.AsyncClient,
        wall: Callable[[], float],
        url: str = "https://api.push.apple.com",
    ) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._client = client
        self._wall = wall
        self._url = url
        self._token = ""
        self._token_until = 0.0

    async def tell(self, wake: Wake) -> None:
        team, _, topic = wake.push.param.decode("utf-8", "replace").partition(".")
        if not topic or team != self._team_id:
            raise PushFailed("pn-param is not of our team", is_temporary=False)
        token = wake.push.prid.decode("utf-8", "replace")
        if not token.isalnum():
            raise PushFailed("pn-prid is no device token", is_temporary=False)
        is_voip = topic.endswith(".voip")
        headers = {
            "authorization": f"bearer {self._provider_token()}",
            "apns-topic": topic,
            "apns-push-type": "voip" if is_voip else "background",
            "apns-priority": "10" if is_voip else "5",
        }
        body = {"aps": {"content-available": 1}, "reason": wake.why}
        try:
            answer = await self._client.post(
                f"{self._url}/3/device/{token}", json=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise PushFailed(type(error).__name__, is_temporary=True) from error
        if answer.status_code == 403:
            self._token_until = 0.0
        check(answer.status_code, "", retry_after=answer.headers.get("retry-after", ""))

    def _provider_token(self) -> str:
        now = self._wall()
        if now >= self._token_until:
            claims = {"iss": self._team_id, "iat": int(now)}
            self._token = signed(self._key, claims, header={"kid": self._key_id})
            self._token_until = now + TOKEN_S
        return self._token

    async def close(self) -> None:
        await self._client.aclose()
