"""Web Push (RFC 8030) with VAPID (RFC 8292), by pywebpush: RFC 8599's provider ``webpush``.

``pn-prid`` is the subscription's URL, which an account chooses: requests go to the hosts of known
push services alone, so that nobody makes this server ask others for anything.
"""

import asyncio
import base64
import fnmatch
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sipgram.services.push.provider import PushFailed, Wake, check

TTL_S = 86_400
"""How long the service keeps it for a browser that is off."""
CLAIM_S = 43_200


class WebPush:
    """Wakes browsers; no payload, since what waits is fetched by SIP."""

    def __init__(
        self,
        key: EllipticCurvePrivateKey,
        *,
        subject: str,
        hosts: Sequence[str],
        timeout_s: float,
        wall: Callable[[], float],
        with_http: bool = False,
    ) -> None:
        """``hosts`` may hold ``*``; ``with_http`` is for tests."""
        import requests
        from py_vapid import Vapid02
        from pywebpush import WebPusher

        self._vapid = Vapid02(key)
        self._pusher: Callable[[dict[str, str], Any], Any] = WebPusher
        self._session = requests.Session()
        self._session.max_redirects = 0  # They would lead to hosts that nobody checked.
        self._subject = subject
        self._hosts = tuple(hosts)
        self._timeout_s = timeout_s
        self._wall = wall
        self._schemes = ("https", "http") if with_http else ("https",)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key = base64.urlsafe_b64encode(point).rstrip(b"=")
        "What a browser subscribes with, told in Feature-Caps as ``+sip.vapid``."

    async def tell(self, wake: Wake) -> None:
        url = wake.push.prid.decode("utf-8", "replace")
        parts = urlsplit(url)
        is_known = any(fnmatch.fnmatchcase(parts.hostname or "", host) for host in self._hosts)
        if parts.scheme not in self._schemes or not is_known:
            raise PushFailed("pn-prid is no URL of a known push service", is_temporary=False)
        claims = {
            "sub": self._subject,
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(self._wall()) + CLAIM_S,
        }
        headers = self._vapid.sign(claims)
        headers["Urgency"] = "high"
        # pywebpush waits for its answer in the thread; the claims are ours, and no payload is.
        status, retry_after = await asyncio.to_thread(self._send, url, headers)
        check(status, "", retry_after=retry_after)

    def _send(self, url: str, headers: dict[str, str]) -> tuple[int, str]:
        try:
            answer = self._pusher({"endpoint": url}, self._session).send(
                data=None, headers=headers, ttl=TTL_S, timeout=self._timeout_s
            )
        except OSError as error:  # Those of requests are.
            raise PushFailed(type(error).__name__, is_temporary=True) from error
        return answer.status_code, answer.headers.get("retry-after", "")

    async def close(self) -> None:
        self._session.close()
