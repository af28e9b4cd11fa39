"""The routes of webhooks: made, listed, rotated, removed; what could not be told, told again."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from sipgram.errors import SettingsError
from sipgram.http.caller import Caller, Reader, Sender, allowed
from sipgram.http.paging import cursor_of, id_of
from sipgram.http.problem import Problem
from sipgram.identity import Entropy
from sipgram.services.directory import Directory, Resident
from sipgram.services.webhooks import rules
from sipgram.services.webhooks.rules import OLD_SECRET_S, Webhook
from sipgram.services.webhooks.service import Webhooks
from sipgram.services.webhooks.store import QueuedEvent

Kind = Literal[
    "message.received",
    "message.stored",
    "message.delivered",
    "message.displayed",
    "message.failed",
    "message.expired",
    "message.cancelled",
]
Id = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]
EventId = Annotated[str, Path(pattern="^[0-9]{1,19}$")]
PAGE_MAX: Final = 500


class NewWebhook(BaseModel):
    """A webhook that is wanted."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=rules.URL_CHARS_MAX)]
    account: Annotated[str | None, Field(max_length=256, description="Whose events it hears.")] = (
        None
    )
    kinds: Annotated[list[Kind], Field(min_length=1, max_length=len(rules.KINDS))] = [
        "message.received",
        "message.delivered",
        "message.displayed",
        "message.failed",
        "message.expired",
    ]


class WebhookShown(BaseModel):
    """A webhook."""

    id: str
    account: str
    url: str
    kinds: list[str]
    created: str
    secret: Annotated[str | None, Field(description="Shown when it is new, and only then.")] = None


class WebhookList(BaseModel):
    """Webhooks of the accounts that the key acts for."""

    webhooks: list[WebhookShown]


class DeadEvent(BaseModel):
    """What could not be told."""

    id: str
    webhook: str
    event_id: str
    url: str
    tries: int
    status: int
    reason: str
    created: str


class DeadPage(BaseModel):
    """One page of them, the latest first."""

    events: list[DeadEvent]
    next: str | None


class CallbackSecret(BaseModel):
    """What signs the callbacks of single messages that this key sends."""

    secret: str


def routes(
    webhooks: Webhooks,
    directory: Directory,
    *,
    entropy: Entropy,
    use: Any,
    wall: Any,
    callback: Any,
) -> APIRouter:
    """Return the routes; ``use`` gives an account a listener, ``callback`` a caller's secret."""
    router = APIRouter(tags=["webhooks"])
    _add_changes(router, webhooks, directory, entropy=entropy, use=use, wall=wall)
    _add_dead(router, webhooks)

    @router.get("/v1/webhooks", response_model=WebhookList, summary="List webhooks")
    async def listed(caller: Reader) -> Response:
        mine = [hook for hook in webhooks.of(None) if allowed(caller, hook.aor, hook.account_id)]
        return JSONResponse({"webhooks": [_shown(hook) for hook in mine]})

    @router.get(
        "/v1/callback-secret",
        response_model=CallbackSecret,
        summary="What signs the callbacks of single messages",
    )
    async def callback_secret(caller: Sender) -> Response:
        return JSONResponse({"secret": callback(caller.id)})

    return router


def _add_changes(
    router: APIRouter,
    webhooks: Webhooks,
    directory: Directory,
    *,
    entropy: Entropy,
    use: Any,
    wall: Any,
) -> None:
    @router.post(
        "/v1/webhooks", status_code=201, response_model=WebhookShown, summary="Add a webhook"
    )
    async def add(caller: Sender, new: NewWebhook) -> Response:
        resident = _account(directory, caller, new.account)
        secret = rules.new_secret(entropy.secret())
        hook = Webhook(
            id=entropy.secret()[:6].hex(),
            aor=resident.aor,
            account_id=resident.account_id,
            url=new.url,
            kinds=tuple(dict.fromkeys(new.kinds)),
            secret=secret,
            old_secret="",
            old_until_utc=0.0,
            created_utc=wall(),
        )
        try:
            await webhooks.keep(hook)
        except SettingsError as error:
            raise Problem(422, str(error), pointer="/url") from error
        if "message.received" in hook.kinds:
            use(resident.aor, resident.account_id)
        headers = {"Location": f"/v1/webhooks/{hook.id}"}
        return JSONResponse(_shown(hook) | {"secret": secret}, 201, headers=headers)

    @router.get("/v1/webhooks/{id}", response_model=WebhookShown, summary="Show a webhook")
    async def one(caller: Reader, id: Id) -> Response:
        return JSONResponse(_shown(_own(webhooks, caller, id)))

    @router.post(
        "/v1/webhooks/{id}/secret",
        response_model=WebhookShown,
        summary="Give a webhook a new secret; the old one signs for a day, too",
    )
    async def rotate(caller: Sender, id: Id) -> Response:
        hook = _own(webhooks, caller, id)
        secret = rules.new_secret(entropy.secret())
        until = wall() + OLD_SECRET_S
        news = replace(hook, secret=secret, old_secret=hook.secret, old_until_utc=until)
        await webhooks.keep(news)
        return JSONResponse(_shown(news) | {"secret": secret})

    @router.delete("/v1/webhooks/{id}", status_code=204, summary="Remove a webhook")
    async def remove(caller: Sender, id: Id) -> Response:
        await webhooks.remove(_own(webhooks, caller, id))
        return Response(status_code=204)


def _add_dead(router: APIRouter, webhooks: Webhooks) -> None:
    @router.get(
        "/v1/webhooks/{id}/dead",
        response_model=DeadPage,
        summary="List what could not be told within a day",
    )
    async def dead(
        caller: Reader,
        id: Id,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    ) -> Response:
        hook = _own(webhooks, caller, id)
        found = await webhooks.store.dead([hook.id], before=id_of(cursor), at_most=limit + 1)
        more = cursor_of(found[limit - 1].id) if len(found) > limit else None
        return JSONResponse({"events": [_dead(each) for each in found[:limit]], "next": more})

    @router.post(
        "/v1/webhooks/{id}/dead/{event}", status_code=202, summary="Tell one of them again"
    )
    async def again(caller: Sender, id: Id, event: EventId) -> Response:
        hook = _own(webhooks, caller, id)
        found = await webhooks.store.read(min(int(event), 2**63 - 1))
        if found is None or found.webhook_id != hook.id or found.state != "dead":
            raise Problem(404, f"no event of the webhook has this id: {event}", parameter="event")
        await webhooks.again(found)
        return Response(status_code=202)


def _account(directory: Directory, caller: Caller, wanted: str | None) -> Resident:
    if wanted is None:
        if len(caller.aors) != 1:
            raise Problem(422, "say whose events it hears", pointer="/account")
        wanted = caller.aors[0]
    resident = directory.resident(wanted if ":" in wanted else f"sip:{wanted}")
    if resident is None or not allowed(caller, resident.aor, resident.account_id):
        raise Problem(403, f"this key does not act for {wanted}", pointer="/account")
    return resident


def _own(webhooks: Webhooks, caller: Caller, id: str) -> Webhook:
    hook = webhooks.find(id)
    if hook is None or not allowed(caller, hook.aor, hook.account_id):
        raise Problem(404, f"no webhook has this id: {id}", parameter="id")
    return hook


def _shown(hook: Webhook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "account": hook.aor,
        "url": hook.url,
        "kinds": list(hook.kinds),
        "created": _time(hook.created_utc),
    }


def _dead(event: QueuedEvent) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "webhook": event.webhook_id,
        "event_id": event.event_id,
        "url": event.url,
        "tries": event.tries,
        "status": event.status,
        "reason": event.reason,
        "created": _time(event.created_utc),
    }


def _time(utc: float) -> str:
    return datetime.fromtimestamp(utc, UTC).isoformat(timespec="seconds")
