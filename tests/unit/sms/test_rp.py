"""RP messages: what is forgiven, what is refused and with which cause (TS 24.011 §7.3, §9.3)."""

import pytest

from sipgram.errors import UsageError
from sipgram.sms import rp
from sipgram.sms.address import Address
from sipgram.sms.cause import RpCause, SmsFault
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.tpdu.parser import parse_carried

CENTRE = Address.of("+12025550100")
TO_MS, TO_NETWORK = Direction.TO_MS, Direction.TO_NETWORK


def parse(octets: str) -> RpMessage:
    return rp.parse(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "forgiven"),
    [
        ("012a0000150405912143f500004210203040500005c82293f904", "RP-OA is empty"),
        ("002a02912102912101aa", "RP-OA is not empty"),
        ("012a02912102912101aa", "RP-DA is not empty"),
        ("0a2a", "spare bits of the RP-Message-Type are set: 0x0a"),
        ("022a4102", "extraneous octets behind the message: 2"),
        ("022a41", "extraneous octets behind the message: 1"),
        ("042a", "RP-Cause is empty"),
        ("042a00", "RP-Cause is empty"),
    ],
)
def test_what_is_forgiven_is_said(octets: str, forgiven: str) -> None:
    assert parse(octets).forgiven == (forgiven,)


@pytest.mark.parametrize(
    ("octets", "cause", "reference"),
    [
        ("", RpCause.PROTOCOL_ERROR, None),
        ("00", RpCause.PROTOCOL_ERROR, None),
        ("002a", RpCause.INVALID_MANDATORY_INFORMATION, 0x2A),
        ("002a00029121", RpCause.INVALID_MANDATORY_INFORMATION, 0x2A),
        ("002a0002912100", RpCause.INVALID_MANDATORY_INFORMATION, 0x2A),
        ("002a0002912102aa", RpCause.INVALID_MANDATORY_INFORMATION, 0x2A),
        ("002a000191", RpCause.INVALID_MANDATORY_INFORMATION, 0x2A),
        ("072a", RpCause.UNKNOWN_MESSAGE_TYPE, 0x2A),
    ],
)
def test_what_is_refused(octets: str, cause: RpCause, reference: int | None) -> None:
    with pytest.raises(SmsFault) as raised:
        parse(octets)

    assert (raised.value.cause, raised.value.reference) == (cause, reference)
    assert raised.value.status == 400
    answer = RpError.answering(raised.value, direction=TO_MS)
    if reference is None:
        assert answer is None
    else:
        assert bytes(answer or b"") == bytes((5, reference, 1, cause))


@pytest.mark.parametrize(
    ("octets", "cause", "diagnostic"),
    [
        ("042a0116", 22, b""),
        ("042a0196", 22, b""),
        ("042a021603", 22, b"\x03"),
        ("042a0316", 22, b""),
        ("042a03160304", 22, b"\x03\x04"),
    ],
)
def test_cause_of_any_length(octets: str, cause: int, diagnostic: bytes) -> None:
    message = parse(octets)

    assert isinstance(message, RpError)
    assert (message.cause, message.diagnostic) == (cause, diagnostic)


@pytest.mark.parametrize(
    ("direction", "cause", "meaning"),
    [
        (TO_MS, 38, RpCause.NETWORK_OUT_OF_ORDER),
        (TO_MS, 22, RpCause.TEMPORARY_FAILURE),
        (TO_MS, 3, RpCause.TEMPORARY_FAILURE),
        (TO_NETWORK, 22, RpCause.MEMORY_EXCEEDED),
        (TO_NETWORK, 38, RpCause.PROTOCOL_ERROR),
        (TO_NETWORK, 3, RpCause.PROTOCOL_ERROR),
    ],
)
def test_unassigned_cause_counts_as_another(
    direction: Direction, cause: int, meaning: RpCause
) -> None:
    """Unassigned causes are 41 for what a phone sent, 111 for what it got (§8.2.5.4)."""
    assert RpError(direction=direction, reference=1, cause=cause).meaning is meaning


@pytest.mark.parametrize("octets", ["022a", "022a4100", "022a41020000"])
def test_acknowledgement_in_all_forms_that_phones_send(octets: str) -> None:
    message = parse(octets)

    assert isinstance(message, RpAck)
    assert (message.reference, message.direction) == (0x2A, TO_NETWORK)
    assert (parse_carried(message) is None) is (octets != "022a41020000")


def test_elements_that_nobody_knows_are_kept() -> None:
    message = parse("002a0002912101aa90780201024101bb")

    assert isinstance(message, RpData)
    assert message.unknown == ((0x90, b""), (0x78, b"\x01\x02"), (0x41, b"\xbb"))
    assert bytes(message).hex() == "002a0002912101aa90780201024101bb"
    assert parse("062a780101").unknown == ((0x78, b"\x01"),)


def test_memory_available() -> None:
    message = parse("062a")

    assert message == RpSmma(reference=0x2A)
    assert message.direction is TO_NETWORK
    assert parse_carried(message) is None


def test_fault_of_a_tpdu_has_the_reference_of_its_carrier() -> None:
    with pytest.raises(SmsFault) as raised:
        parse_carried(parse("002a000291210100"))
    assert (raised.value.cause, raised.value.reference) == (RpCause.SEMANTICALLY_INCORRECT, 0x2A)

    with pytest.raises(SmsFault) as raised:
        parse_carried(parse("022a4101ff"))
    assert raised.value.reference is None


def test_answer_to_a_fault_carries_a_report() -> None:
    fault = SmsFault("no", cause=RpCause.CONGESTION, reference=3)

    answer = RpError.answering(fault, direction=TO_MS, user_data=b"\x01")

    assert bytes(answer or b"").hex() == "0503012a410101"


@pytest.mark.parametrize(
    "message",
    [
        RpData(direction=TO_NETWORK, reference=0, user_data=b"", destination=CENTRE),
        RpData(direction=TO_NETWORK, reference=0, user_data=bytes(233), destination=CENTRE),
        RpData(direction=TO_NETWORK, reference=256, user_data=b"a", destination=CENTRE),
        RpAck(direction=TO_MS, reference=-1),
        RpAck(direction=TO_MS, reference=0, user_data=bytes(256)),
        RpError(direction=TO_MS, reference=0, cause=128),
        RpError(direction=TO_MS, reference=0, cause=1, diagnostic=bytes(255)),
        RpSmma(reference=256),
    ],
)
def test_value_that_does_not_fit_is_not_written(message: RpMessage) -> None:
    with pytest.raises(UsageError):
        bytes(message)


def test_user_data_of_232_octets_and_no_more() -> None:
    most = RpData(direction=TO_NETWORK, reference=0, user_data=bytes(232), destination=CENTRE)

    assert rp.parse(bytes(most)) == most
