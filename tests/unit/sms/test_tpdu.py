"""TPDUs: which one it is, and what senders get wrong (TS 23.040 §9.2)."""

import pytest

from sipgram.errors import UsageError
from sipgram.sms.address import Address
from sipgram.sms.cause import FailureCause, RpCause, SmsFault
from sipgram.sms.coding import Alphabet
from sipgram.sms.rp import Direction, RpAck, RpData, RpError
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu import status_report
from sipgram.sms.tpdu.command import Command, CommandType
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parameters import Parameters
from sipgram.sms.tpdu.parser import Carrier, Tpdu, parse
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import Outcome, StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData

TO_MS, TO_NETWORK = Direction.TO_MS, Direction.TO_NETWORK
BOB = Address.of("+4930123")
NOON = Timestamp.of(1_735_732_800)
HI = UserData(Alphabet.GSM7, b"hi")
DELIVER = bytes(Deliver(originator=BOB, timestamp=NOON, user_data=HI))
SUBMIT = bytes(Submit(destination=BOB, user_data=HI))
STATUS_REPORT = StatusReport(
    reference=1, recipient=BOB, timestamp=NOON, discharge=NOON, status=0x46
)
COMMAND = Command(destination=BOB, command=CommandType.DELETE, message_number=7)


@pytest.mark.parametrize(
    ("data", "direction", "carrier", "kind"),
    [
        (SUBMIT, TO_NETWORK, RpData, Submit),
        (bytes(COMMAND), TO_NETWORK, RpData, Command),
        (DELIVER, TO_MS, RpData, Deliver),
        (bytes((DELIVER[0] | 3,)) + DELIVER[1:], TO_MS, RpData, Deliver),
        (bytes(STATUS_REPORT), TO_MS, RpData, StatusReport),
        (b"\0\0", TO_NETWORK, RpAck, DeliverReport),
        (b"\0\xd3\0", TO_NETWORK, RpError, DeliverReport),
        (b"\1\0" + NOON.octets, TO_MS, RpAck, SubmitReport),
        (b"\1\xc5\0" + NOON.octets, TO_MS, RpError, SubmitReport),
    ],
)
def test_direction_and_carrier_tell_what_it_is(
    data: bytes, direction: Direction, carrier: Carrier, kind: type[Tpdu]
) -> None:
    assert type(parse(data, direction=direction, carrier=carrier)) is kind
    assert type(parse(data, direction=direction)) is kind


@pytest.mark.parametrize(
    ("data", "direction", "carrier"),
    [
        (b"\0\0", TO_NETWORK, RpData),
        (b"\3\0", TO_NETWORK, None),
        (SUBMIT, TO_NETWORK, RpAck),
        (b"\1\0" + NOON.octets, TO_MS, RpData),
        (DELIVER, TO_MS, RpError),
    ],
)
def test_tpdu_that_does_not_go_there(
    data: bytes, direction: Direction, carrier: Carrier | None
) -> None:
    with pytest.raises(SmsFault, match=r"does not go") as raised:
        parse(data, direction=direction, carrier=carrier)

    assert raised.value.cause is RpCause.SEMANTICALLY_INCORRECT
    assert raised.value.failure is FailureCause.TPDU_NOT_SUPPORTED


def test_empty_tpdu() -> None:
    with pytest.raises(SmsFault, match=r"TPDU is empty"):
        parse(b"", direction=TO_MS)


@pytest.mark.parametrize("data", [SUBMIT, bytes(COMMAND)])
def test_each_cut_of_what_a_phone_sends_is_refused(data: bytes) -> None:
    for length in range(len(data) - (data[0] & 3 == 2)):
        with pytest.raises(SmsFault):
            parse(data[:length], direction=TO_NETWORK)


def test_command_without_a_data_length_is_taken() -> None:
    assert parse(bytes(COMMAND)[:-1], direction=TO_NETWORK) == COMMAND


def test_octets_behind_a_tpdu_are_forgiven() -> None:
    submit = parse(SUBMIT + b"\0\0", direction=TO_NETWORK)

    assert bytes(submit) == SUBMIT
    assert submit.forgiven == ("extraneous octets behind the TPDU: 2",)


def test_name_that_is_wrong_in_both_readings_is_refused_as_the_strict_one() -> None:
    with pytest.raises(SmsFault, match=r"TP-SCTS is cut short: 3 of 7 octets"):
        parse(bytes.fromhex("0405d0d6f7304c07000042"), direction=TO_MS)


def test_report_of_an_error_without_a_failure_cause_is_taken() -> None:
    report = parse(b"\1\0" + NOON.octets, direction=TO_MS, carrier=RpError)

    assert isinstance(report, SubmitReport)
    assert (report.failure, report.timestamp) == (None, NOON)


def test_parameter_indicator_may_be_missing_and_may_go_on() -> None:
    missing = parse(b"\0", direction=TO_NETWORK, carrier=RpAck)
    assert missing.forgiven == ("TP-PI is missing",)

    longer = parse(b"\0\x81\x80\x00\x2c", direction=TO_NETWORK, carrier=RpAck)
    assert isinstance(longer, DeliverReport)
    assert longer.parameters.protocol == 0x2C


def test_user_data_of_a_report_is_gsm_7_bit_without_a_coding() -> None:
    report = parse(b"\0\x04\x02\xe8\x34", direction=TO_NETWORK, carrier=RpAck)

    assert isinstance(report, DeliverReport)
    assert report.parameters == Parameters(user_data=HI)


@pytest.mark.parametrize(
    ("status", "outcome", "said"),
    [
        (0x00, Outcome.COMPLETED, "delivered"),
        (0x02, Outcome.COMPLETED, "replaced"),
        (0x20, Outcome.TRYING, "congestion"),
        (0x46, Outcome.FAILED, "validity expired"),
        (0x65, Outcome.GIVEN_UP, "error in recipient"),
        (0x10, Outcome.UNKNOWN, "reserved or of this service centre"),
        (0x4A, Outcome.UNKNOWN, "reserved or of this service centre"),
        (0xFF, Outcome.UNKNOWN, "reserved or of this service centre"),
    ],
)
def test_outcomes_of_a_status(status: int, outcome: Outcome, said: str) -> None:
    assert status_report.outcome_of(status) is outcome
    assert status_report.described(status) == said


def test_last_message_says_so() -> None:
    """Wireshark takes a first octet of 00 for a DELIVER-REPORT (SMS.md §1.3)."""
    assert DELIVER[0] == 0x04


@pytest.mark.parametrize(
    "tpdu",
    [
        Submit(destination=BOB, user_data=HI, reference=256),
        Submit(destination=BOB, user_data=HI, protocol=-1),
        Deliver(originator=BOB, timestamp=NOON, user_data=HI, protocol=256),
        Command(destination=BOB, command=256, message_number=0),
        Command(destination=BOB, command=0, message_number=0, data=bytes(158)),
        SubmitReport(timestamp=NOON, failure=256),
        DeliverReport(parameters=Parameters(protocol=256)),
    ],
)
def test_value_that_does_not_fit_is_not_written(tpdu: Tpdu) -> None:
    with pytest.raises(UsageError):
        bytes(tpdu)
