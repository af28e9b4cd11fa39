"""The binding of an account to where the client is (RFC 3261 §10.2)."""

from dataclasses import dataclass, replace

from sipgram.client.account import Account
from sipgram.client.link import Line, Link
from sipgram.client.messages import Rejected
from sipgram.client.settings import ClientSettings
from sipgram.client.uac import Uac
from sipgram.errors import ParseError
from sipgram.identity import Entropy
from sipgram.sip.message.address import Address, parse_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of the account, as the registrar listed it."""

    contact: str
    expires_s: int


class Registration:
    """One account's binding: made, refreshed, taken back."""

    def __init__(
        self,
        account: Account,
        *,
        uac: Uac,
        line: Line,
        settings: ClientSettings,
        entropy: Entropy,
    ) -> None:
        self._account = account
        self._uac = uac
        self._line = line
        self._settings = settings
        self._entropy = entropy
        self._expires_s = settings.expires_s
        registrar = b"sip:" + account.domain
        # §10.2.4: "A UA SHOULD use the same Call-ID for all registrations during a single boot
        # cycle."
        self._outgoing = uac.outgoing(b"REGISTER", registrar, to=account.uri)
        self._contact = SipUri.parse(registrar)
        self._link: Link | None = None
        self.bindings: tuple[Binding, ...] = ()
        "All contacts of the account, as the last 200 listed them."

    async def register(self) -> int:
        """Make or refresh the binding; return for how many seconds it was granted.

        Raises:
            Rejected: the registrar refused.
            NoAnswer: it did not answer.
        """
        response = await self._ask(self._expires_s)
        if response.status == 423:  # Interval Too Brief, §10.2.8: again with what it wants.
            least_s = _seconds(response.value(b"min-expires"))
            if least_s is not None and least_s > self._expires_s:
                self._expires_s = least_s
                response = await self._ask(least_s)
        if response.status >= 300:
            raise Rejected.by(response)
        return self._read(response)

    async def remove(self) -> None:
        """Take the binding back (§10.2.2).

        Raises:
            NoAnswer: the registrar did not answer; the binding ends when it expires.
        """
        await self._ask(0)

    async def flow_broke_within(self, wait_s: float) -> bool:
        """Wait for the flow of the binding to break; False when it has not after ``wait_s``."""
        return self._link is None or await self._link.broke_within(wait_s)

    def refresh_after_s(self, granted_s: int) -> float:
        """Return when to refresh, 5 % sooner or later so that clients do not come all at once."""
        spread = 0.95 + 0.1 * self._entropy.fraction()
        return max(granted_s, 1) * self._settings.refresh_share * spread

    def retry_after_s(self, failures: int, *, least_s: int | None = None) -> float:
        """Return when to try again after so many failures in a row.

        As in RFC 5626 §4.5: doubled each time up to a bound, then 50 to 100 % of that.
        """
        first_s, max_s = self._settings.retry_first_s, self._settings.retry_max_s
        wait_s = min(first_s * 2.0 ** min(failures - 1, 20), max_s)
        return max(wait_s * (0.5 + 0.5 * self._entropy.fraction()), least_s or 0)

    async def _ask(self, expires_s: int) -> Message:
        self._link = await self._line.link()
        contact = self._link.contact(self._account.user)
        self._contact = SipUri.parse(contact)
        headers = (b"Contact: <%b>" % contact, b"Expires: %d" % expires_s)
        return await self._uac.ask(replace(self._outgoing, headers=headers))

    def _read(self, response: Message) -> int:
        """Take the bindings from a 200 (§10.2.4); ours is the one that says how long."""
        try:
            contacts = parse_list(response.values(b"contact"), of="Contact")
        except ParseError:
            contacts = []
        default_s = _seconds(response.value(b"expires"))
        if default_s is None:
            default_s = self._expires_s
        granted_s = default_s
        found = []
        for contact in contacts:
            expires_s = _seconds(contact.params.get(b"expires"))
            if expires_s is None:
                expires_s = default_s
            found.append(Binding(contact.uri.decode("utf-8", "replace"), expires_s))
            if self._is_ours(contact):
                granted_s = expires_s
        self.bindings = tuple(found)
        return granted_s

    def _is_ours(self, contact: Address) -> bool:
        try:
            return SipUri.parse(contact.uri).is_equivalent(self._contact)
        except ParseError:
            return False


def _seconds(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 10 else None
