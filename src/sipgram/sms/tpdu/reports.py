"""SMS-SUBMIT-REPORT and SMS-DELIVER-REPORT, in RP-ACK and RP-ERROR (TS 23.040 §9.2.2.1a, §9.2.2.2a)."""

from dataclasses import dataclass, field
from typing import Final

from sipgram.sms.octets import Octets, octet_of
from sipgram.sms.timestamp import LENGTH, Timestamp
from sipgram.sms.tpdu.parameters import NONE, Parameters, read_indicator, read_parameters

SUBMIT_REPORT_TYPE: Final = 1
DELIVER_REPORT_TYPE: Final = 0
_HEADER: Final = 0x40
_FAILURE_FIRST: Final = 0x80
"TP-FCS below are reserved, and a TP-PI as high says that another one follows."


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitReport:
    """The service centre's word on a SUBMIT or COMMAND.

    ``failure`` is TP-FCS, only and always there in an RP-ERROR; ``timestamp`` is TP-SCTS.
    """

    timestamp: Timestamp
    failure: int | None = None
    parameters: Parameters = NONE
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets, *, may_fail: bool = True) -> "SubmitReport":
        """Read one from the first octet on; ``may_fail`` is False in an RP-ACK.

        Raises:
            SmsFault: cut short, or user data that cannot be.
        """
        first = octets.octet("first octet")
        failure = _read_failure(octets, may_fail=may_fail)
        indicator = read_indicator(octets)
        timestamp = Timestamp(octets.take(LENGTH, "TP-SCTS"))
        parameters = read_parameters(octets, indicator, has_header=bool(first & _HEADER))
        return cls(
            timestamp=timestamp,
            failure=failure,
            parameters=parameters,
            forgiven=tuple(octets.forgiven),
        )

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        head = _head(SUBMIT_REPORT_TYPE, self.failure, self.parameters)
        return head + self.timestamp.octets + bytes(self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverReport:
    """The phone's word on a DELIVER or STATUS-REPORT; ``failure`` is TP-FCS, for an RP-ERROR."""

    failure: int | None = None
    parameters: Parameters = NONE
    forgiven: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def read(cls, octets: Octets, *, may_fail: bool = True) -> "DeliverReport":
        """Read one from the first octet on; ``may_fail`` is False in an RP-ACK.

        Raises:
            SmsFault: cut short, or user data that cannot be.
        """
        first = octets.octet("first octet")
        failure = _read_failure(octets, may_fail=may_fail)
        indicator = read_indicator(octets)
        parameters = read_parameters(octets, indicator, has_header=bool(first & _HEADER))
        return cls(failure=failure, parameters=parameters, forgiven=tuple(octets.forgiven))

    def __bytes__(self) -> bytes:
        """Write it.

        Raises:
            UsageError: a value does not fit its field.
        """
        return _head(DELIVER_REPORT_TYPE, self.failure, self.parameters) + bytes(self.parameters)


def _read_failure(octets: Octets, *, may_fail: bool) -> int | None:
    """Read TP-FCS where there is one: a sender was seen to leave it out of an RP-ERROR."""
    following = octets.peek()
    if not may_fail or following is None or following < _FAILURE_FIRST:
        return None
    return octets.octet("TP-FCS")


def _head(message_type: int, failure: int | None, parameters: Parameters) -> bytes:
    first = message_type | _HEADER * parameters.has_header
    if failure is None:
        return bytes((first, parameters.indicator))
    return bytes((first, octet_of(failure, "TP-FCS"), parameters.indicator))
