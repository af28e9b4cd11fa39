"""Real PDUs of other people's products, with what they mean (tests/data/sms/vectors.jsonl)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from sipgram.sms import gsm, rp
from sipgram.sms.address import Address
from sipgram.sms.cause import FailureCause, RpCause, SmsFault
from sipgram.sms.coding import DataCoding
from sipgram.sms.header import Element, Header
from sipgram.sms.octets import Octets
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu import parser
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parser import Tpdu
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData
from sipgram.sms.validity import AbsoluteValidity, EnhancedValidity, RelativeValidity, format_of

FILE: Final = Path(__file__).parents[2] / "data" / "sms" / "vectors.jsonl"
VECTORS: Final = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
Wanted = Mapping[str, Any]


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    """Run a test for each vector of these kinds."""
    chosen = [vector for vector in VECTORS if vector["kind"] in kinds]
    assert chosen
    return pytest.mark.parametrize("vector", chosen, ids=lambda vector: vector["name"])


def octets_of(vector: Wanted) -> bytes:
    return bytes.fromhex(vector["hex"])


def direction_of(vector: Wanted) -> Direction:
    return Direction.TO_MS if "-mt" in vector["kind"] else Direction.TO_NETWORK


def address(found: Address | None) -> dict[str, str] | None:
    if found is None:
        return None
    return {"ton": found.type_of_number.name.lower(), "addr": found.value}


def rp_fields(message: RpMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rp": type(message).__name__.removeprefix("Rp").upper(),
        "dir": "n->ms" if message.direction is Direction.TO_MS else "ms->n",
        "mr": message.reference,
        "unknown_ie": [[identifier, value.hex()] for identifier, value in message.unknown],
    }
    match message:
        case RpData():
            fields |= {
                "rp_oa": address(message.originator),
                "rp_da": address(message.destination),
                "ud": message.user_data.hex(),
            }
        case RpError():
            fields |= {"cause": message.cause, "diag": message.diagnostic.hex()}
    if isinstance(message, RpAck | RpError) and message.user_data is not None:
        fields["ud"] = message.user_data.hex()
    return fields


def tpdu_fields(tpdu: Tpdu) -> dict[str, Any]:
    match tpdu:
        case Submit():
            return {
                "type": "SUBMIT",
                "mr": tpdu.reference,
                "da": address(tpdu.destination),
                "pid": tpdu.protocol,
                "srr": tpdu.wants_status_report,
                "rp": tpdu.has_reply_path,
                "vpf": format_of(tpdu.validity),
                "dcs": tpdu.coding.octet,
                **validity_fields(tpdu),
                **user_data_fields(tpdu.user_data),
            }
        case Deliver():
            return {
                "type": "DELIVER",
                "oa": address(tpdu.originator),
                "pid": tpdu.protocol,
                "dcs": tpdu.coding.octet,
                "comp": tpdu.coding.is_compressed,
                "scts": str(tpdu.timestamp),
                "no_more": not tpdu.has_more,
                "sri": tpdu.has_status_report,
                "rp": tpdu.has_reply_path,
                **user_data_fields(tpdu.user_data),
            }
        case StatusReport():
            return {
                "type": "STATUS-REPORT",
                "mr": tpdu.reference,
                "ra": address(tpdu.recipient),
                "scts": str(tpdu.timestamp),
                "dt": str(tpdu.discharge),
                "st": tpdu.status,
            }
        case Command():
            return {
                "type": "COMMAND",
                "mr": tpdu.reference,
                "pid": tpdu.protocol,
                "ct": tpdu.command,
                "mn": tpdu.message_number,
                "da": address(tpdu.destination),
                "data": tpdu.data.hex(),
            }
        case SubmitReport():
            return {"type": "SUBMIT-REPORT", "scts": str(tpdu.timestamp), **report_fields(tpdu)}
        case DeliverReport():
            return {"type": "DELIVER-REPORT", **report_fields(tpdu)}


def report_fields(report: SubmitReport | DeliverReport) -> dict[str, Any]:
    parameters = report.parameters
    fields = {"fcs": report.failure, "pi": parameters.indicator, "pid": parameters.protocol}
    if parameters.user_data is not None:
        fields |= user_data_fields(parameters.user_data)
    return fields


def validity_fields(submit: Submit) -> dict[str, Any]:
    match submit.validity:
        case RelativeValidity(seconds=seconds):
            return {"vp_minutes": seconds // 60}
        case AbsoluteValidity(timestamp=timestamp):
            return {"vp_abs": str(timestamp)}
        case EnhancedValidity(octets=octets):
            return {"vp_enh": octets.hex()}
        case None:
            return {}


def user_data_fields(user_data: UserData) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "udl": user_data.length,
        "udhi": user_data.header is not None,
        "text": user_data.text,
        "data": user_data.body.hex(),
    }
    if user_data.header is not None:
        elements = user_data.header.elements
        fields["udh"] = {"ies": [[each.identifier, each.data.hex()] for each in elements]}
    if concatenation := user_data.concatenation:
        fields["udh"]["concat"] = {
            "ref": concatenation.reference,
            "total": concatenation.total,
            "seq": concatenation.number,
            "bits": 16 if concatenation.is_wide else 8,
        }
    return fields


def assert_has(found: Any, wanted: Any, path: str = "") -> None:
    """``wanted`` is a subset of ``found``, all the way down."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{path}/{key}"
            assert_has(found[key], value, f"{path}/{key}")
        return
    assert found == wanted, path


@of_kind("rpdu", "rpdu-raw")
def test_rp_message(vector: Wanted) -> None:
    message = rp.parse(octets_of(vector))
    fields = rp_fields(message)
    if vector["kind"] == "rpdu":
        tpdu = parser.parse_carried(message)
        if tpdu is not None:
            fields["tpdu"] = tpdu_fields(tpdu)
            assert bytes(tpdu) == getattr(message, "user_data", b"")

    assert_has(fields, vector["expect"])
    assert rp.parse(bytes(message)) == message
    # Elements that nobody knows are written behind those that one knows.
    assert sorted(bytes(message)) == sorted(octets_of(vector))


@of_kind("tpdu-mo", "tpdu-mt", "pdumode-mo", "pdumode-mt", "tpdu-mt-dcs")
def test_tpdu(vector: Wanted) -> None:
    octets = octets_of(vector)
    fields: dict[str, Any] = {}
    if vector["kind"].startswith("pdumode"):
        size = octets[0] + 1
        fields["sca"] = address(Address.parse_rp(octets[1:size]) if size > 1 else None)
        octets = octets[size:]

    tpdu = parser.parse(octets, direction=direction_of(vector))

    assert_has({**fields, **tpdu_fields(tpdu)}, vector["expect"])
    again = parser.parse(bytes(tpdu), direction=direction_of(vector))
    assert again == tpdu


NOT_AS_IT_CAME: Final = {
    "submit-udh-smsc-control": "fill bits of ones",
    "submit-udh-0x22-reply-address": "fill bits of ones",
    "deliver-alpha-eKit": "TP-OA length 8, where 7 semi-octets are useful",
}
EXACT: Final = [
    vector
    for vector in VECTORS
    if vector["kind"] in ("tpdu-mo", "tpdu-mt") and vector["name"] not in NOT_AS_IT_CAME
]


@pytest.mark.parametrize("vector", EXACT, ids=lambda vector: vector["name"])
def test_tpdu_is_written_as_it_came(vector: Wanted) -> None:
    tpdu = parser.parse(octets_of(vector), direction=direction_of(vector))

    assert bytes(tpdu).hex() == vector["hex"]


REFUSED: Final[dict[str, tuple[RpCause, int | None]]] = {
    "rp-data-mo-truncated-addr": (RpCause.INVALID_MANDATORY_INFORMATION, 1),
    "rp-data-mo-no-destination": (RpCause.INVALID_MANDATORY_INFORMATION, 1),
    "rp-mti-7-reserved": (RpCause.UNKNOWN_MESSAGE_TYPE, 1),
    "rp-ud-shorter-than-tpdu": (RpCause.INVALID_MANDATORY_INFORMATION, 0x9C),
    "rp-data-mt-wrong-mti": (RpCause.INVALID_MANDATORY_INFORMATION, 0x9C),
}


@of_kind("rpdu-negative")
def test_broken_rp_message(vector: Wanted) -> None:
    if vector["name"] not in REFUSED:
        assert vector["name"] == "rp-error-empty-cause"
        message = rp.parse(octets_of(vector))
        assert isinstance(message, RpError)
        assert (message.cause, message.reference) == (RpCause.PROTOCOL_ERROR, 1)
        assert message.forgiven == ("RP-Cause is empty",)
        return
    cause, reference = REFUSED[vector["name"]]

    with pytest.raises(SmsFault) as raised:
        rp.parse(octets_of(vector))

    assert (raised.value.cause, raised.value.reference) == (cause, reference)
    answer = RpError.answering(raised.value, direction=Direction.TO_MS)
    assert bytes(answer or b"") == bytes((5, reference or 0, 1, cause))


def test_truncated_user_data_is_refused() -> None:
    (vector,) = (vector for vector in VECTORS if vector["kind"] == "tpdu-mo-negative")

    with pytest.raises(SmsFault, match=r"TP-UD is cut short: 9 of 10 octets") as raised:
        parser.parse(octets_of(vector), direction=Direction.TO_NETWORK)

    assert raised.value.cause is RpCause.PROTOCOL_ERROR


def test_length_of_a_name_in_septets_is_forgiven_and_said() -> None:
    (vector,) = (vector for vector in VECTORS if vector["kind"] == "tpdu-mt-negative")

    deliver = parser.parse(octets_of(vector), direction=Direction.TO_MS)

    assert isinstance(deliver, Deliver)
    assert deliver.originator.value == "VoCat"
    assert deliver.forgiven == ("TP-OA length counts septets",)


def test_compressed_text_is_refused_by_its_coding() -> None:
    (vector,) = (vector for vector in VECTORS if vector["kind"] == "tpdu-mt-dcs")
    deliver = parser.parse(octets_of(vector), direction=Direction.TO_MS)
    assert isinstance(deliver, Deliver)

    with pytest.raises(SmsFault, match=r"text is compressed: TP-DCS 0x20") as raised:
        deliver.coding.check()

    assert raised.value.failure is FailureCause.ALPHABET_NOT_SUPPORTED
    assert deliver.user_data.text is None


def test_lone_surrogate_is_shown() -> None:
    (vector,) = (vector for vector in VECTORS if vector["kind"] == "tpdu-mt-surrogate")

    deliver = parser.parse(octets_of(vector), direction=Direction.TO_MS)

    assert isinstance(deliver, Deliver)
    assert deliver.user_data.text == "\ufffd"


@of_kind("gsm7-pack")
def test_packed_septets(vector: Wanted) -> None:
    text, count = vector["expect"]["text"], vector["expect"]["septets"]

    assert gsm.decode(gsm.unpack(octets_of(vector), count)) == text
    assert gsm.pack(gsm.encode(text) or b"").hex() == vector["hex"]


@of_kind("tp-ud-udhi")
def test_user_data_with_header(vector: Wanted) -> None:
    octets = Octets(bytes((vector["expect"]["udl"],)) + octets_of(vector))
    user_data = UserData.read(octets, DataCoding.of(0), has_header=True)

    concatenation = user_data_fields(user_data)["udh"]["concat"]
    assert user_data.text == vector["expect"]["text"]
    assert_has(concatenation, vector["expect"]["concat"])


@of_kind("tp-address")
def test_tp_address(vector: Wanted) -> None:
    found = Address.read_tp(Octets(octets_of(vector)), "TP-DA")

    assert address(found) == vector["expect"]
    assert Address.read_tp(Octets(found.write_tp()), "TP-DA") == found
    # Four characters are seven semi-octets; a sender writes eight.
    assert found.write_tp()[1:] == octets_of(vector)[1:]


@of_kind("tp-address-quirk")
def test_tp_address_of_libosmocore(vector: Wanted) -> None:
    found = Address.read_tp(Octets(octets_of(vector)), "TP-OA")

    assert found.value == vector["expect"]["intended"]
    assert found.write_tp()[0] == 13


@of_kind("rp-address")
def test_rp_address(vector: Wanted) -> None:
    found = Address.parse_rp(octets_of(vector))

    assert address(found) == vector["expect"]
    assert found.write_rp()[1:] == octets_of(vector)


@of_kind("scts")
def test_timestamp(vector: Wanted) -> None:
    assert str(Timestamp(octets_of(vector))) == vector["expect"]["time"]


@of_kind("vp-relative")
def test_relative_validity(vector: Wanted) -> None:
    validity = RelativeValidity(octets_of(vector)[0])

    assert validity.seconds == vector["expect"]["minutes"] * 60
    assert RelativeValidity.of(validity.seconds) == validity


@of_kind("udh")
def test_header_elements(vector: Wanted) -> None:
    assert Header.parse(octets_of(vector)) == Header((Element(0x71, b""),))


@of_kind("ucs2")
def test_surrogate_pairs(vector: Wanted) -> None:
    assert octets_of(vector).decode("utf-16-be") == vector["expect"]["text"]


def test_every_vector_is_tested() -> None:
    marked: set[str] = {"tpdu-mo-negative", "tpdu-mt-negative", "tpdu-mt-surrogate"}
    marked |= {"rpdu", "rpdu-raw", "rpdu-negative", "tpdu-mo", "tpdu-mt", "tpdu-mt-dcs"}
    marked |= {"pdumode-mo", "pdumode-mt", "gsm7-pack", "tp-ud-udhi", "tp-address"}
    marked |= {"tp-address-quirk", "rp-address", "scts", "vp-relative", "udh", "ucs2"}

    assert {vector["kind"] for vector in VECTORS} == marked
