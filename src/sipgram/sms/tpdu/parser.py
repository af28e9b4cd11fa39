"""Which TPDU it is: by direction, carrier and TP-MTI (TS 23.040 §9.2.3.1)."""

from dataclasses import replace
from typing import Final

from sipgram.sms.cause import FailureCause, RpCause, SmsFault
from sipgram.sms.octets import Octets
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit

Tpdu = Submit | Deliver | StatusReport | Command | SubmitReport | DeliverReport
Carrier = type[RpData] | type[RpAck] | type[RpError]

_TYPES: Final[dict[Direction, tuple[type[Tpdu] | None, ...]]] = {
    Direction.TO_NETWORK: (DeliverReport, Submit, Command, None),
    # "If an MS receives a TPDU with a reserved value in the TP-MTI it shall process the message
    # as if it were an SMS-DELIVER" (§9.2.3.1).
    Direction.TO_MS: (Deliver, SubmitReport, StatusReport, Deliver),
}
_REPORTS: Final = (SubmitReport, DeliverReport)


def parse(data: bytes, *, direction: Direction, carrier: Carrier | None = None) -> Tpdu:
    """Read a TPDU that goes in ``direction``.

    ``carrier`` is the type of the RP message around it. Without, every type is taken, and a
    report has a TP-FCS when its second octet looks like one.

    Raises:
        SmsFault: cause 95 for a type that does not go there, 111 for broken octets.
    """
    return read(Octets(data), direction=direction, carrier=carrier)


def read(octets: Octets, *, direction: Direction, carrier: Carrier | None = None) -> Tpdu:
    """Read as ``parse`` does, to the end of ``octets``.

    Raises:
        SmsFault: as ``parse``.
    """
    first = octets.peek()
    if first is None:
        raise SmsFault("TPDU is empty")
    kind = _TYPES[direction][first & 3]
    is_report = kind in _REPORTS
    if kind is None or (carrier is not None and is_report is (carrier is RpData)):
        raise SmsFault(
            f"TP-MTI {first & 3} does not go {direction.value} in this RP message",
            cause=RpCause.SEMANTICALLY_INCORRECT,
            failure=FailureCause.TPDU_NOT_SUPPORTED,
        )
    if kind is SubmitReport or kind is DeliverReport:
        found: Tpdu = kind.read(octets, may_fail=carrier is not RpAck)
    else:
        found = kind.read(octets)
    if octets.left == 0:
        return found
    note = f"extraneous octets behind the TPDU: {octets.left}"
    octets.take(octets.left, "extraneous octets")
    return replace(found, forgiven=(*found.forgiven, note))


def parse_carried(message: RpMessage) -> Tpdu | None:
    """Read the TPDU in an RP message; None when it carries none.

    An RP-ACK whose report is broken still is an acknowledgement: catch the fault there.

    Raises:
        SmsFault: as ``parse``; ``reference`` is that of an RP-DATA.
    """
    if not isinstance(message, RpData | RpAck | RpError) or not message.user_data:
        return None
    try:
        return parse(message.user_data, direction=message.direction, carrier=type(message))
    except SmsFault as fault:
        if isinstance(message, RpData):
            fault.reference = message.reference
        raise
