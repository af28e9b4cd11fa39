"""Path, Outbound and Service-Route in a REGISTER and its answer (RFC 3327 §5.3, RFC 5626 §6, RFC 3608)."""

from collections.abc import Sequence
from typing import Final

from sipgram.errors import ParseError, Refusal, SettingsError
from sipgram.services.registrar.rules import Wish
from sipgram.sip.message.address import Address
from sipgram.sip.message.grammar import split_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.uri import SipUri

PATH_VALUES_MAX: Final = 10
"""More proxies between a phone and its registrar are refused."""
PATH_BYTES_MAX: Final = 2_048
"""A longer Path is refused: it goes into each request to the binding."""
UNDERSTOOD: Final = frozenset((b"path", b"outbound", b"gruu"))
"""What a REGISTER may require of us."""


def path_of(request: Message) -> bytes:
    """Return the Path values joined by commas, empty without any.

    Raises:
        ParseError: one is malformed, or there are too many of them.
    """
    if not request.has(b"path"):
        return b""
    path = b", ".join(request.values(b"path"))
    if len(path) > PATH_BYTES_MAX:
        raise ParseError(f"Path is over {PATH_BYTES_MAX} octets: {len(path)}")
    hops = hops_of(path)
    if len(hops) > PATH_VALUES_MAX:
        raise ParseError(f"more than {PATH_VALUES_MAX} Path values: {len(hops)}")
    return path


def hops_of(path: bytes) -> list[SipUri]:
    """Return the URIs of a Path, that of the proxy next to us first.

    Raises:
        ParseError: one is malformed.
    """
    return [SipUri.parse(Address.parse(value, of="Path").uri) for value in split_list(path)]


def supports(request: Message, tag: bytes) -> bool:
    """Say whether the phone knows an extension, as Supported or Require tell."""
    for name in (b"supported", b"require"):
        if request.has(name):
            for value in request.values(name):
                if tag in value.lower() and tag in map(bytes.lower, split_list(value)):
                    return True
    return False


def with_flows(request: Message, wishes: list[Wish], path: bytes) -> list[Wish]:
    """Return the wishes, with reg-id only where Outbound is spoken (RFC 5626 §6).

    Raises:
        ParseError: a reg-id stands beside another contact.
        Refusal: 439, the phone's first proxy does not keep its flow.
    """
    for wish in wishes:
        if wish.reg_id:
            break
    else:
        return wishes
    if not supports(request, b"outbound"):
        return [wish._replace(reg_id=0) for wish in wishes]
    if sum(1 for wish in wishes if wish.expires_s) > 1:
        # "If the Contact header field contains more than one header field value with a non-zero
        # expiration and any of these header field values contain a 'reg-id' Contact header
        # field parameter, the entire registration SHOULD be rejected with a 400".
        raise ParseError("a contact with reg-id stands beside another")
    first_hop = hops_of(path)[-1] if path else None
    came_direct = sum(len(split_list(value)) for value in request.values(b"via")) == 1
    if not came_direct and (first_hop is None or first_hop.param(b"ob") is None):
        raise Refusal(439, "First Hop Lacks Outbound Support")
    return list(wishes)


def service_routes(uris: Sequence[str]) -> tuple[bytes, ...]:
    """Return the Service-Route lines of a 200 (RFC 3608 §6.3).

    Raises:
        SettingsError: one is no SIP URI with ``;lr``.
    """
    for uri in uris:
        try:
            is_loose = SipUri.parse(uri.encode()).param(b"lr") is not None
        except ParseError:
            is_loose = False
        if not is_loose:
            raise SettingsError(f"registrar.service_routes has no SIP URI with ;lr: {uri!r}")
    return tuple(b"Service-Route: <%b>" % uri.encode() for uri in uris)
