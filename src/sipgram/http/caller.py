"""Who asks by HTTP, what it may do, and how often (RFC 6750, RFC 7617)."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Final, Literal, Protocol

import structlog
from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from sipgram.http.problem import Problem

log = structlog.get_logger("sipgram.http")

Scope = Literal["send", "read", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("send", "read", "admin")
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="sipgram"'}
REFUSALS_MAX: Final = 10_000
"""Sources of refused requests that are remembered."""
REFUSAL_LOG_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, or an account that showed its password."""

    id: str
    scopes: frozenset[str]
    aors: tuple[str, ...]
    "Leading names of the accounts that it acts for; the first is who it sends as."
    account_ids: tuple[int, ...]
    "Of the same accounts in the same order; 0 under ``--auth none``."
    is_for_all: bool
    per_minute: int
    "Requests; 0 for the setting's."


class Callers(Protocol):
    """Who knows keys and passwords."""

    def caller_of(self, authorization: str, query_key: str, peer: str) -> Caller | None:
        """Return who it is, None when nobody."""


class Buckets:
    """Requests left of each caller: ``per_minute`` of them, spent at once or one by one."""

    def __init__(self, clock: Callable[[], float], *, per_minute: int, callers_max: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._callers_max = callers_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: int = 0) -> tuple[int, int, int]:
        """Take one; return the limit, what is left (-1: none was), and when there is more."""
        limit = per_minute or self._per_minute
        now = self._clock()
        left, at = self._left.pop(name, (float(limit), now))
        left = min(float(limit), left + (now - at) * limit / 60) - 1
        is_over = left < 0
        self._left[name] = (left + 1 if is_over else left, now)
        if len(self._left) > self._callers_max:
            self._left.popitem(last=False)
        wait_s = max(1, ceil(-left * 60 / limit)) if is_over else 60
        return limit, -1 if is_over else int(left), wait_s


class Guard:
    """Knows the caller of each request, and refuses who must not."""

    def __init__(
        self,
        callers: Callers,
        *,
        buckets: Buckets,
        refusals: Buckets,
        clock: Callable[[], float],
        query_key: bool,
        origins: tuple[str, ...],
    ) -> None:
        """``refusals`` bounds how often one address may show what is wrong."""
        self._callers = callers
        self._buckets = buckets
        self._refusals = refusals
        self._clock = clock
        self._query_key = query_key
        self._origins = origins
        self._logged: OrderedDict[tuple[str, str], float] = OrderedDict()

    def caller(self, request: HTTPConnection, scope: Scope) -> Caller:
        """Return who asks; ``Problem`` 401, 403 or 429."""
        peer = request.client.host if request.client else ""
        self._check_origin(request, peer)
        authorization = request.headers.get("authorization", "")
        key = request.query_params.get("key", "")
        if key and not self._query_key:
            raise Problem(401, "a key belongs into the header", parameter="key", headers=CHALLENGE)
        caller = self._callers.caller_of(authorization, key, peer)
        if caller is None:
            self._refuse(peer, "" if not authorization and not key else "unknown key or password")
            raise Problem(401, "no valid key or password", headers=CHALLENGE)
        limit, left, wait_s = self._buckets.take(caller.id, caller.per_minute)
        headers = {
            "RateLimit-Policy": f'"key";q={limit};w=60',
            "RateLimit": f'"key";r={max(0, left)};t={wait_s}',
        }
        if left < 0:
            headers["Retry-After"] = str(wait_s)
            raise Problem(429, f"more than {limit} requests in a minute", headers=headers)
        request.state.headers = headers
        if scope not in caller.scopes:
            self.log(caller.id, f"scope {scope} is not the key's", request.url.path)
            raise Problem(403, f"this needs the scope {scope}")
        return caller

    def still(self, request: HTTPConnection, caller: Caller) -> bool:
        """Say whether a caller may go on with what takes long: its key may have ended since."""
        authorization = request.headers.get("authorization", "")
        peer = request.client.host if request.client else ""
        key = request.query_params.get("key", "") if self._query_key else ""
        return self._callers.caller_of(authorization, key, peer) == caller

    def log(self, who: str, reason: str, path: str) -> None:
        """Log a refusal, the same one once a minute."""
        now = self._clock()
        last = self._logged.pop((who, reason), -REFUSAL_LOG_S)
        if now - last >= REFUSAL_LOG_S:
            log.warning("refused", who=who, reason=reason, path=path)
            last = now
        self._logged[who, reason] = last
        if len(self._logged) > REFUSALS_MAX:
            self._logged.popitem(last=False)

    def _check_origin(self, request: HTTPConnection, peer: str) -> None:
        """Refuse what a page of another origin asks: a browser may add credentials by itself."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        if origin is None and site in ("none", "same-origin"):
            return
        own = request.headers.get("host", "").lower()
        is_own = origin is not None and origin.lower().partition("://")[2] == own
        if is_own or (origin is not None and origin in self._origins):
            return
        self.log(peer, f"origin is {origin or site}", request.url.path)
        raise Problem(403, "a page of another origin asks", parameter="Origin")

    def _refuse(self, peer: str, reason: str) -> None:
        if not reason:
            return
        self.log(peer, reason, "")
        limit, left, wait_s = self._refusals.take(peer)
        if left < 0:
            after = {"Retry-After": str(wait_s)}
            raise Problem(429, f"more than {limit} wrong keys in a minute", headers=after)


def allowed(caller: Caller, aor: str, account_id: int) -> bool:
    """Say whether a caller acts for an account; its names are many and its id is one."""
    if caller.is_for_all or aor in caller.aors:
        return True
    return account_id != 0 and account_id in caller.account_ids


def needs(scope: Scope) -> Any:
    """Return a dependency of a route: the caller, who has the scope."""

    async def caller(request: Request) -> Caller:
        guard: Guard = request.app.state.guard
        return guard.caller(request, scope)

    return Depends(caller)


Sender = Annotated[Caller, needs("send")]
Reader = Annotated[Caller, needs("read")]
Admin = Annotated[Caller, needs("admin")]
