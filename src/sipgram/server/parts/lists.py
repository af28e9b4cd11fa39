"""The list service wired to the delivery path that every MESSAGE takes (RFC 5365)."""

from collections.abc import Callable
from typing import Protocol

from sipgram.services.lists.service import Lists
from sipgram.services.messaging.injection import Handle, Injector
from sipgram.services.messaging.mailroom import Mailroom
from sipgram.services.messaging.service import Messaging
from sipgram.services.registrar.location import Locations
from sipgram.settings import Settings
from sipgram.sip.message.uri import Aor
from sipgram.sip.proxy import Proxy


class _Account(Protocol):
    @property
    def takes_lists(self) -> bool | None: ...


class _Accounts(Protocol):
    def account_of(self, user: str, domain: str) -> _Account | None: ...


class Base(Protocol):
    """What the service is built on."""

    @property
    def settings(self) -> Settings:
        """All of them."""

    @property
    def accounts(self) -> _Accounts | None:
        """None when everybody has one."""

    @property
    def locations(self) -> Locations:
        """Who lives here."""

    @property
    def mailroom(self) -> Mailroom:
        """Whose ids the copies have."""


class Draining(Protocol):
    """Who knows that nothing new is taken."""

    is_draining: bool


def build_lists(
    base: Base,
    messaging: Messaging,
    proxy: Proxy,
    dispatcher: Draining,
    *,
    clock: Callable[[], float],
    rearm: Callable[[], None],
    handle: Handle | None = None,
) -> Lists:
    """Let ``messaging`` know the service, whose copies go by ``handle``, else straight to it."""
    settings, accounts, mailroom = base.settings.lists, base.accounts, base.mailroom

    def takes_lists(aor: Aor) -> bool:
        account = None if accounts is None else accounts.account_of(aor.user, aor.domain)
        if account is None or account.takes_lists is None:
            return settings.consent == "given"
        return account.takes_lists

    injector = Injector(handle or messaging.handle, ids=mailroom.ids, clock=clock)
    injector.attach(proxy, rearm=rearm, is_closed=lambda: dispatcher.is_draining)
    lists = Lists(
        base.locations.find,
        takes_lists=takes_lists,
        injects=injector,
        next_id=mailroom.ids.next,
        settings=settings,
        clock=clock,
    )
    messaging.lists = lists
    return lists
