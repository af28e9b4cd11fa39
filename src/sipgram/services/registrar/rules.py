"""What a REGISTER asks for, and whether it may have it (RFC 3261 §10.3, DELIVERY.md D5, D29)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sipgram.errors import ParseError, Refusal
from sipgram.settings import RegistrarSettings
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import quote, shown, split_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri
from sipgram.sip.push import Push, without_push

REG_ID_MAX: Final = 2**31 - 1
"""RFC 5626 §11."""
CONTACTS_MAX: Final = 32
"""More contacts in one REGISTER are refused."""
ANY_METHOD: Final[frozenset[bytes]] = frozenset()
"""Of a contact that names no methods."""
SPREAD_ABOVE_S: Final = 600
"""D29: only longer registrations are shortened."""

REBOOT_AFTER_S: Final = 32.0
"""D29: a lower CSeq this long after the last is a phone that was started again."""


class Wish(NamedTuple):
    """One Contact of a REGISTER, checked."""

    value: bytes
    "As it came."
    uri: bytes
    parsed: SipUri
    expires_s: int
    instance: bytes
    methods: frozenset[bytes]
    params: bytes
    "To give back in the 200, without expires."
    q: float
    reg_id: int = 0
    "Tells the flows of one device apart (RFC 5626 §4.2); 0 for none."
    push: Push | None = None
    "How it is woken (RFC 8599); not in ``uri`` any more, nor in ``parsed``."


def asks_to_clear(contacts: Sequence[bytes], request: Message) -> bool:
    """Say whether this REGISTER removes all bindings (§10.2.2).

    Raises:
        ParseError: ``*`` with another contact, or without ``Expires: 0``.
    """
    if b"*" not in contacts:
        return False
    if len(contacts) > 1 or request.value(b"expires") != b"0":
        raise ParseError("Contact * stands alone and with Expires: 0")
    return True


def wishes(contacts: Sequence[bytes], request: Message, settings: RegistrarSettings) -> list[Wish]:
    """Read the contacts of a REGISTER; ``contacts`` are the values of its Contact lines.

    Raises:
        ParseError: a contact is malformed, or there are too many.
        Refusal: 423 when one asks for less time than is granted here.
    """
    header = expires_of(request)
    if len(contacts) == 1 and b"," not in contacts[0]:
        return [wish(contacts[0], header, settings)]
    values = [part for value in contacts for part in split_list(value)]
    if len(values) > CONTACTS_MAX:
        raise ParseError(f"more than {CONTACTS_MAX} contacts: {len(values)}")
    return [wish(value, header, settings) for value in values]


def expires_of(request: Message) -> int | None:
    """Return the Expires header in seconds, None without one.

    Raises:
        ParseError: it is no number. (RFC 3261 §20.19 would take a malformed one for 3600; a
            number that is too large for its grammar, as in RFC 4475 scalar02, is an error.)
    """
    value = request.value(b"expires")
    if value is None:
        return None
    if len(value) < 10 and value.isdigit():
        return int(value)
    return _seconds(value, "Expires")


def grant(wished_s: int, settings: RegistrarSettings, *, fraction: float) -> int:
    """Return the seconds granted; ``fraction`` is a chance from 0 to 1 (D29)."""
    longest = settings.expires_max_s
    granted = wished_s if wished_s < longest else longest
    if settings.spread and granted > SPREAD_ABOVE_S:
        granted -= int(granted * 0.1 * fraction)
    return granted


def wish(value: bytes, header: int | None, settings: RegistrarSettings) -> Wish:
    """Read one Contact; ``header`` is the Expires header's value in seconds.

    Raises:
        ParseError: it is malformed.
        Refusal: 423 when it asks for less time than is granted here.
    """
    expires_s = header if header is not None else settings.expires_s
    usual = SipUri.usual(value[1:-1]) if value[:1] == b"<" and value[-1:] == b">" else None
    if usual is not None:
        _check_interval(expires_s, settings)
        return Wish(value, value[1:-1], usual, expires_s, b"", ANY_METHOD, b"", 1.0)
    address = Address.parse(value, of="Contact")
    parsed = SipUri.parse(address.uri)
    if parsed.headers is not None:
        # RFC 4475 §3.3.4 (regbadct): a Contact with embedded headers in addr-spec form.
        raise ParseError(f"Contact has headers in its URI: {shown(address.uri)}")
    uri, push = address.uri, None
    if parsed.params:
        push = Push.of(parsed)
        if push is not None:
            uri = without_push(parsed)
            parsed = SipUri.parse(uri)
    params = dict(address.params)
    own = params.pop(b"expires", None)
    if own is not None:
        expires_s = _seconds(own, "expires of Contact")
    _check_interval(expires_s, settings)
    methods = params.get(b"methods") or b""
    return Wish(
        value=value,
        uri=uri,
        parsed=parsed,
        expires_s=expires_s,
        instance=params.get(b"+sip.instance") or b"",
        methods=frozenset(m.strip().upper() for m in methods.split(b",") if m.strip()),
        params=_written(params),
        q=_quality(params.get(b"q")),
        reg_id=_reg_id(params),
        push=push,
    )


def _check_interval(expires_s: int, settings: RegistrarSettings) -> None:
    if 0 < expires_s < settings.expires_min_s:
        line = b"Min-Expires: %d" % settings.expires_min_s
        raise Refusal(423, f"Interval Too Brief: {expires_s}", (line,))


def _seconds(value: bytes, name: str) -> int:
    if not value.isdigit() or len(value) > 20:
        raise ParseError(f"{name} is not a number of seconds: {shown(value)}")
    return min(int(value), 2**32 - 1)


def _reg_id(params: dict[bytes, bytes | None]) -> int:
    """Return reg-id; RFC 5626 §6: without an instance it MUST be ignored."""
    if b"reg-id" not in params or not params.get(b"+sip.instance"):
        return 0
    value = params[b"reg-id"] or b""
    if not value.isdigit() or len(value) > 10 or not 0 < int(value) <= REG_ID_MAX:
        raise ParseError(f"reg-id of Contact is not a number from 1: {shown(value)}")
    return int(value)


def _quality(value: bytes | None) -> float:
    if value is None:
        return 1.0
    try:
        q = float(value)
    except ValueError:
        raise ParseError(f"q of Contact is not a number: {shown(value)}") from None
    if not 0.0 <= q <= 1.0:
        raise ParseError(f"q of Contact is not from 0 to 1: {shown(value)}")
    return q


def _written(params: dict[bytes, bytes | None]) -> bytes:
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
    text = b""
    for name, value in params.items():
        if value is None:
            text += b";" + name
        else:
            text += (
                b";" + name + b"=" + (quote(value) if value.strip(plain) or not value else value)
            )
    return text
