"""``sipgram sms``: encode, decode and split, as tables and as JSON."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sipgram.cli.sms import sms

MO = "00010007913121550501f01901ff0b917100330350f300000dc7f79b0c6abfe5eeb4fb1c02"


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(sms, arguments, input=given)


def run_json(*arguments: str) -> Any:
    ran = run(*arguments, "--json")
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def test_decode_shows_every_octet() -> None:
    ran = run("decode", MO)

    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert lines[0] == "   0  00                       RP-Message-Type       RP-DATA, MS to network"
    assert lines[-2].endswith("TP-UD                 13 septets: 'Good morning!'")
    assert lines[-1] == "  33  b4 fb 1c 02"
    assert "".join(line[6:29].replace(" ", "") for line in lines) == MO


def test_decode_as_json() -> None:
    said = run_json("decode", MO)

    assert said["hex"] == MO
    assert said["message"]["type"] == "RP-DATA"
    assert said["message"]["destination"] == "+13125550100"
    assert said["tpdu"]["type"] == "SUBMIT"
    assert said["tpdu"]["user_data"]["text"] == "Good morning!"
    assert said["fault"] is None
    assert "".join(row["hex"] for row in said["octets"]) == MO


def test_decode_reads_standard_input() -> None:
    assert run("decode", "-", given=f"{MO[:10]} {MO[10:]}\n").stdout == run("decode", MO).stdout


def test_decode_of_a_broken_message_says_why() -> None:
    ran = run("decode", "0001000001aa")

    assert ran.exit_code == 4
    assert ran.stdout.splitlines()[-1] == "broken: RP-DA is empty (RP-Cause 96)"
    said = json.loads(run("decode", "0001000001aa", "--json").stdout)
    assert said["fault"] == {"reason": "RP-DA is empty", "cause": 96, "reference": 1}
    assert (said["message"], said["tpdu"]) == (None, None)


def test_decode_tells_what_it_forgave() -> None:
    assert run("decode", "042a00").stdout.splitlines()[-1] == "note: RP-Cause is empty"


@pytest.mark.parametrize(
    ("way", "octets", "kind"),
    [
        ("mo", "01000b914316565811f9000004e8373b0c", "SUBMIT"),
        ("mt", "040491361900005150713220052308c8303a8c0ea3c3", "DELIVER"),
    ],
)
def test_decode_of_a_tpdu(way: str, octets: str, kind: str) -> None:
    assert run_json("decode", octets, "--layer", "tpdu", "--way", way)["tpdu"]["type"] == kind


@pytest.mark.parametrize(("centre", "said"), [("07914346466554f6", "+34646456456"), ("00", "none")])
def test_decode_of_what_a_modem_gives(centre: str, said: str) -> None:
    octets = f"{centre}01000b914316565811f9000004e8373b0c"

    found = run_json("decode", octets, "--layer", "modem", "--way", "mo")

    first, second = found["octets"][:2]
    assert (first["field"], first["meaning"], first["hex"]) == ("SCA", said, centre)
    assert (second["offset"], second["field"]) == (len(centre) // 2, "first octet")
    assert found["tpdu"]["user_data"]["text"] == "hola"


def test_decode_of_a_report_and_of_a_header() -> None:
    report = run_json("decode", "0242410600060002e834")
    assert report["tpdu"]["parameters"]["coding"] == 0

    part = "4405912143f50008421020304050000a0500037a02014f60597d"
    said = run_json("decode", part, "--layer", "tpdu")
    (element,) = said["tpdu"]["user_data"]["header"]["elements"]
    assert element == {"identifier": 0, "data": "7a0201"}


def test_encode_makes_what_decode_reads() -> None:
    (made,) = run_json(
        *("encode", "+4930123", "hällo €", "--mr", "7", "--validity", "3600"),
        *("--status-report", "--class", "0", "--sc", "+491710760000"),
    )["messages"]

    said = run_json("decode", made["hex"])
    assert said == made
    assert said["message"]["destination"] == "+491710760000"
    assert said["message"]["reference"] == said["tpdu"]["reference"] == 7
    assert said["tpdu"]["coding"] == 0x10
    assert said["tpdu"]["wants_status_report"] is True
    assert said["tpdu"]["validity"] == {"octet": 11}
    assert said["tpdu"]["user_data"]["text"] == "hällo €"


def test_encode_to_a_phone() -> None:
    messages = run_json(
        *("encode", "Bank", "x" * 161, "--way", "mt", "--sent-at", "1735732800"),
        *("--reference", "300", "--wide", "--mr", "255"),
    )["messages"]

    assert [each["tpdu"]["has_more"] for each in messages] == [True, False]
    assert [each["message"]["reference"] for each in messages] == [255, 0]
    assert messages[0]["tpdu"]["originator"] == "Bank"
    assert messages[0]["tpdu"]["timestamp"] == "2025-01-01T12:00:00+00:00"
    (element,) = messages[0]["tpdu"]["user_data"]["header"]["elements"]
    assert element == {"identifier": 8, "data": "012c0201"}


def test_encode_shows_each_part_and_its_table() -> None:
    ran = run("encode", "+4930123", "x" * 161, "--way", "mt")

    first, second = ran.stdout.split("\n\n")
    for shown in (first, second):
        octets, *lines = shown.splitlines()
        assert "".join(line[6:29].replace(" ", "") for line in lines) == octets


def test_split_counts() -> None:
    ran = run("split", "ş" * 100, "--language", "turkish")

    assert ran.stdout.splitlines() == [
        "2 in GSM 7-bit, Turkish single shift (TP-DCS 0x00), 97 characters left",
        f"  1  159  {'ş' * 74!r}",
        f"  2   63  {'ş' * 26!r}",
    ]


def test_split_as_json() -> None:
    said = run_json("split", "中" * 71)

    assert (said["alphabet"], said["dcs"], said["count"]) == ("UCS2", 8, 2)
    assert said["units_left"] == 63
    assert "".join(part["text"] for part in said["parts"]) == "中" * 71
    assert [part["length"] for part in said["parts"]] == [140, 14]


def test_split_of_standard_input_made_plain() -> None:
    assert run("split", "-", given="“hi”\n").stdout.startswith("1 in UCS2 ")
    assert run("split", "-", "--plain", given="“hi”\n").stdout.startswith("1 in GSM 7-bit ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("decode", "xyz"), "sipgram sms decode: octets are not hexadecimal: xyz"),
        (
            ("decode", "0191", "--layer", "modem"),
            "sipgram sms decode: SCA has a length that no number has: 1",
        ),
        (
            ("encode", "1" * 21, "hi"),
            "sipgram sms encode: number has over 20 digits: 111111111111111111111",
        ),
        (("split", "x" * 40_000), "sipgram sms split: text takes over 255 short messages: 262"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    ran = run(*arguments)

    assert ran.exit_code == 2
    assert ran.stderr == f"{line}\n"


def test_unknown_language_names_the_known_ones() -> None:
    ran = run("split", "hi", "--language", "klingon")

    assert ran.exit_code == 2
    assert ran.stderr.startswith("sipgram sms split: language is none of turkish, spanish, ")
    assert ran.stderr.endswith(", urdu: klingon\n")
