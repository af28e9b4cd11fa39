"""A registrar's part of waking phones (RFC 8599 §5.6): 555, and Feature-Caps in the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sipgram.errors import Refusal
from sipgram.services.registrar.rules import Wish
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import quote, split_list
from sipgram.sip.message.uri import SipUri
from sipgram.sip.push import Push


@dataclass(frozen=True, slots=True)
class PushTerms:
    """Which push services are told here, each with what its phones must know besides.

    ``services`` is empty where nothing is set up: the parameters are kept and hidden then, no
    phone is promised anything, and none is refused. ``takes_any`` is for a webhook to which every
    service is told.
    """

    services: Mapping[bytes, bytes] = field(default_factory=dict)
    takes_any: bool = False
    refresh_s: int = 130
    "A phone that wakes by itself refreshes this long before its end; more than 120 (§8.2)."

    def check(self, wishes: Sequence[Wish]) -> None:
        """Refuse a push service that nobody here tells.

        §5.6.1.1: it responds "with a 555 (Push Notification Service Not Supported) response".

        Raises:
            Refusal: 555, with the services that there are.
        """
        if not self.services and not self.takes_any:
            return
        for wish in wishes:
            provider = b"" if wish.push is None else wish.push.provider
            if provider and wish.expires_s and not self._knows(provider):
                known = tuple(self._line(name) for name in self.services)
                raise Refusal(555, "Push Notification Service Not Supported", known)

    def capabilities(self, contacts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the Feature-Caps lines for a phone that told of its push service (§5.6.1.1)."""
        if not any(b"pn-provider" in contact.lower() for contact in contacts):
            return ()
        lines: list[bytes] = []
        for value in (part for contact in contacts for part in split_list(contact)):
            address = Address.parse(value, of="Contact")
            push = Push.of(SipUri.parse(address.uri))
            if push is None:
                continue
            wakes_itself = b"+sip.pnsreg" in address.params
            # Without a value it asks which there are (§4.1.3).
            names = [push.provider] if push.provider else list(self.services)
            lines += [
                self._line(name, wakes_itself=wakes_itself) for name in names if self._knows(name)
            ]
        return tuple(dict.fromkeys(lines))

    def _knows(self, provider: bytes) -> bool:
        return provider in self.services or self.takes_any

    def _line(self, name: bytes, *, wakes_itself: bool = False) -> bytes:
        line = b"Feature-Caps: *;+sip.pns=" + quote(name)
        if more := self.services.get(name):
            line += b";" + more
        if wakes_itself:
            line += b';+sip.pnsreg="%d"' % self.refresh_s
        return line


def own_uri(value: bytes) -> bytes:
    """Return a Contact's URI as its phone wrote it, for that phone's own ears."""
    return Address.parse(value, of="Contact").uri
