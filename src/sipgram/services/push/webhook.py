"""Push by a plain HTTP POST, for every service that has no class of its own."""

import hashlib
import hmac
import json

import httpx

from sipgram.services.push.provider import PushFailed, Wake, check


class Webhook:
    """POSTs one JSON object a wake-up; signed with HMAC-SHA256 when there is a secret."""

    def __init__(self, url: str, *, secret: str = "", client: httpx.AsyncClient) -> None:
        self._url = url
        self._secret = secret.encode()
        self._client = client

    async def tell(self, wake: Wake) -> None:
        push = wake.push
        body = json.dumps(
            {
                "provider": _text(push.provider),
                "prid": _text(push.prid),
                "param": _text(push.param),
                "aor": wake.aor,
                "reason": wake.why,
            }
        ).encode()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            digest = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            headers["X-Sipgram-Signature"] = f"sha256={digest}"
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise PushFailed(type(error).__name__, is_temporary=True) from error
        check(answer.status_code, "", retry_after=answer.headers.get("retry-after", ""))

    async def close(self) -> None:
        await self._client.aclose()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
