"""RP-DATA, RP-ACK, RP-ERROR and RP-SMMA: the body of application/vnd.3gpp.sms (TS 24.011 §7.3)."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from sipgram.errors import UsageError
from sipgram.sms.address import Address
from sipgram.sms.cause import CAUSES_TO_MS, CAUSES_TO_NETWORK, RpCause, SmsFault
from sipgram.sms.octets import Octets, octet_of

USER_DATA_OCTETS_MAX: Final = 232
_USER_DATA: Final = 0x41
_ACK_TYPE: Final = 2
_ERROR_TYPE: Final = 4
_SMMA_TYPE: Final = 6
_TYPE_MASK: Final = 7
_SINGLE_OCTET: Final = 0x80


class Direction(Enum):
    """Which way a message goes; the RP message type says it too."""

    TO_NETWORK = "MS to network"
    TO_MS = "network to MS"


Unknown = tuple[int, bytes]
"Identifier and value of an information element that is none of ours."


@dataclass(frozen=True, slots=True, kw_only=True)
class RpData:
    """A TPDU on its way (§7.3.1).

    To the network ``destination`` is the service centre and ``originator`` None, to the phone
    the other way round. ``user_data`` is the TPDU, ``reference`` the RP-MR.
    """

    direction: Direction
    reference: int
    user_data: bytes
    originator: Address | None = None
    destination: Address | None = None
    unknown: tuple[Unknown, ...] = ()
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        size = len(self.user_data)
        if not 0 < size <= USER_DATA_OCTETS_MAX:
            raise UsageError(f"RP-User-Data is not 1 to {USER_DATA_OCTETS_MAX} octets: {size}")
        return b"".join(
            (
                _head(0, self.direction, self.reference),
                _written(self.originator),
                _written(self.destination),
                bytes((size,)),
                self.user_data,
                _tail(None, self.unknown),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RpAck:
    """The other side has it (§7.3.3); ``user_data`` is its report, None without the element."""

    direction: Direction
    reference: int
    user_data: bytes | None = None
    unknown: tuple[Unknown, ...] = ()
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        head = _head(_ACK_TYPE, self.direction, self.reference)
        return head + _tail(self.user_data, self.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpError:
    """The other side refuses it (§7.3.4).

    ``cause`` is the number that came; ``meaning`` what it counts as. ``user_data`` is the
    report, None without the element.
    """

    direction: Direction
    reference: int
    cause: int
    diagnostic: bytes = b""
    user_data: bytes | None = None
    unknown: tuple[Unknown, ...] = ()
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def answering(
        cls, fault: SmsFault, *, direction: Direction, user_data: bytes | None = None
    ) -> "RpError | None":
        """Make the answer to a fault, going in ``direction``; None when nothing is answered."""
        if fault.reference is None:
            return None
        return cls(
            direction=direction,
            reference=fault.reference,
            cause=fault.cause,
            user_data=user_data,
        )

    @property
    def meaning(self) -> RpCause:
        """The cause, with unassigned ones as §8.2.5.4 wants them taken: 41 or 111."""
        is_to_ms = self.direction is Direction.TO_MS
        known = CAUSES_TO_MS if is_to_ms else CAUSES_TO_NETWORK
        if self.cause in known:
            return RpCause(self.cause)
        return RpCause.TEMPORARY_FAILURE if is_to_ms else RpCause.PROTOCOL_ERROR

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        if not 0 <= self.cause <= 0x7F or len(self.diagnostic) > 0xFE:
            raise UsageError(f"RP-Cause does not fit: {self.cause}, {self.diagnostic.hex()}")
        head = _head(_ERROR_TYPE, self.direction, self.reference)
        cause = bytes((1 + len(self.diagnostic), self.cause)) + self.diagnostic
        return head + cause + _tail(self.user_data, self.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpSmma:
    """The phone has memory again (§7.3.2)."""

    reference: int
    unknown: tuple[Unknown, ...] = ()
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @property
    def direction(self) -> Direction:
        """Always to the network."""
        return Direction.TO_NETWORK

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: the reference is not an octet.
        """
        return _head(_SMMA_TYPE, self.direction, self.reference) + _tail(None, self.unknown)


RpMessage = RpData | RpAck | RpError | RpSmma


def parse(data: bytes) -> RpMessage:
    """Read one RP message.

    Raises:
        SmsFault: cause 96 for mandatory parts that are missing or broken, 97 for a reserved
            type; ``reference`` is set where TS 24.011 §9.3 wants an RP-ERROR.
    """
    return read(Octets(data))


def read(octets: Octets) -> RpMessage:
    """Read as ``parse`` does, to the end of ``octets``.

    Raises:
        SmsFault: as ``parse``.
    """
    kind = octets.octet("RP-Message-Type")
    if kind & ~_TYPE_MASK:
        octets.forgive(f"spare bits of the RP-Message-Type are set: {kind:#04x}")
    reference = octets.octet("RP-Message-Reference")
    direction = Direction.TO_MS if kind & 1 else Direction.TO_NETWORK
    match kind & _TYPE_MASK:
        case 0 | 1:
            return _read_data(octets, direction, reference)
        case 2 | 3:
            user_data, unknown = _read_tail(octets)
            return RpAck(
                direction=direction,
                reference=reference,
                user_data=user_data,
                unknown=unknown,
                forgiven=tuple(octets.forgiven),
            )
        case 4 | 5:
            return _read_error(octets, direction, reference)
        case 6:
            _, unknown = _read_tail(octets)
            return RpSmma(reference=reference, unknown=unknown, forgiven=tuple(octets.forgiven))
        case _:
            raise SmsFault(
                "RP-Message-Type is reserved: 7",
                cause=RpCause.UNKNOWN_MESSAGE_TYPE,
                reference=reference,
            )


def _read_data(octets: Octets, direction: Direction, reference: int) -> RpData:
    try:
        originator = Address.read_rp(octets, "RP-OA")
        destination = Address.read_rp(octets, "RP-DA")
        _check_addresses(octets, direction, originator, destination)
        size = octets.octet("RP-User-Data length")
        if size == 0:
            raise SmsFault("RP-User-Data is empty")
        user_data = octets.take(size, "RP-User-Data")
    except SmsFault as fault:
        raise SmsFault(
            fault.reason, cause=RpCause.INVALID_MANDATORY_INFORMATION, reference=reference
        ) from fault
    report, unknown = _read_tail(octets)
    if report is not None:
        unknown = (*unknown, (_USER_DATA, report))
    return RpData(
        direction=direction,
        reference=reference,
        user_data=user_data,
        originator=originator,
        destination=destination,
        unknown=unknown,
        forgiven=tuple(octets.forgiven),
    )


def _check_addresses(
    octets: Octets, direction: Direction, originator: Address | None, destination: Address | None
) -> None:
    """Refuse an RP-DATA without the service centre's address where it is needed (§7.3.1).

    A phone needs a destination. Networks leave the originator out, and phones take it.
    """
    if direction is Direction.TO_NETWORK:
        if destination is None:
            raise SmsFault("RP-DA is empty")
        if originator is not None:
            octets.forgive("RP-OA is not empty")
        return
    if originator is None:
        octets.forgive("RP-OA is empty")
    if destination is not None:
        octets.forgive("RP-DA is not empty")


def _read_error(octets: Octets, direction: Direction, reference: int) -> RpError:
    """Read an RP-ERROR; whatever it lacks, it is a refusal, with cause 111 (§9.3)."""
    size = min(octets.peek() or 0, max(octets.left - 1, 0))
    if octets.left:
        octets.octet("RP-Cause length")
    if size == 0:
        octets.forgive("RP-Cause is empty")
    cause = octets.octet("RP-Cause") & 0x7F if size else RpCause.PROTOCOL_ERROR
    diagnostic = octets.take(max(size - 1, 0), "RP-Cause diagnostic")
    user_data, unknown = _read_tail(octets)
    return RpError(
        direction=direction,
        reference=reference,
        cause=int(cause),
        diagnostic=diagnostic,
        user_data=user_data,
        unknown=unknown,
        forgiven=tuple(octets.forgiven),
    )


def _read_tail(octets: Octets) -> tuple[bytes | None, tuple[Unknown, ...]]:
    """Read the optional elements: RP-User-Data, and those that nobody knows (TS 24.007 §11.2.4).

    What is broken here takes nothing from the message before it.
    """
    user_data = None
    unknown: list[Unknown] = []
    while octets.left:
        identifier = octets.octet("element identifier")
        if identifier & _SINGLE_OCTET:
            unknown.append((identifier, b""))
            continue
        size = octets.peek()
        if size is None or size > octets.left - 1:
            octets.forgive(f"extraneous octets behind the message: {1 + octets.left}")
            octets.take(octets.left, "extraneous octets")
            break
        octets.octet("element length")
        name = "RP-User-Data" if identifier == _USER_DATA else "element value"
        value = octets.take(size, name)
        if identifier == _USER_DATA:
            user_data = value
        else:
            unknown.append((identifier, value))
    return user_data, tuple(unknown)


def _head(kind: int, direction: Direction, reference: int) -> bytes:
    return bytes((kind | (direction is Direction.TO_MS), octet_of(reference, "RP-MR")))


def _written(address: Address | None) -> bytes:
    return b"\0" if address is None else address.write_rp()


def _tail(user_data: bytes | None, unknown: tuple[Unknown, ...]) -> bytes:
    """Write the optional elements."""
    parts = [] if user_data is None else [_element(_USER_DATA, user_data)]
    parts += [_element(identifier, value) for identifier, value in unknown]
    return b"".join(parts)


def _element(identifier: int, value: bytes) -> bytes:
    if identifier & _SINGLE_OCTET:
        return bytes((identifier,))
    if len(value) > 0xFF:
        raise UsageError(f"element {identifier:#04x} is over 255 octets: {len(value)}")
    return bytes((identifier, len(value))) + value
