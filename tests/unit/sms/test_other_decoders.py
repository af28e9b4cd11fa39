"""Independent decoders from PyPI read what our encoder writes: smspdudecoder and gsmcodecs.

smspdudecoder (MIT) knows DELIVER and SUBMIT without national tables; it needs bitstring before
version 5. gsmcodecs (MIT) has the tables of TS 23.038 release 18, octet for octet.
"""

from random import Random
from typing import Any, Final

import pytest

from sipgram.sms import gsm
from sipgram.sms.coding import Alphabet, CodingGroup
from sipgram.sms.gsm import Language, has_locking_table
from sipgram.sms.rp import Direction
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData
from sipgram.testing.short_messages import random_tpdu

_NO_SCA: Final = "00"
_COUNT: Final = 4000


def usual(direction: Direction, kind: type[Submit] | type[Deliver]) -> list[Submit | Deliver]:
    """Return messages of one kind that a decoder without tables and rare codings reads."""
    source = Random(23_038)
    found = [random_tpdu(source, direction) for _ in range(_COUNT)]
    return [
        each
        for each in found
        if isinstance(each, Submit | Deliver)
        and isinstance(each, kind)
        and each.coding.group is CodingGroup.GENERAL
        and each.coding.octet & 12 != 12
        and not any(each.user_data.languages)
        and each.user_data.text
        # It has no page break, and drops characters behind some headers.
        and b"\x1b\x0a" not in each.user_data.body
        and (each.user_data.header is None or len(bytes(each.user_data.header)) == 6)
    ]


def test_smspdudecoder_reads_our_delivers() -> None:
    decoder = pytest.importorskip("smspdudecoder.easy", reason="smspdudecoder is not installed")
    messages = usual(Direction.TO_MS, Deliver)
    assert len(messages) > _COUNT / 40

    for deliver in messages:
        assert isinstance(deliver, Deliver)
        read: Any = decoder.read_incoming_sms(_NO_SCA + bytes(deliver).hex())

        assert read["content"] in readings(deliver.user_data), bytes(deliver).hex()
        assert read["sender"] in (str(deliver.originator), f"{deliver.originator}@")
        assert int(read["date"].timestamp()) == deliver.timestamp.utc_s


def test_smspdudecoder_reads_our_submits() -> None:
    decoder = pytest.importorskip("smspdudecoder.easy", reason="smspdudecoder is not installed")
    messages = usual(Direction.TO_NETWORK, Submit)
    assert len(messages) > _COUNT / 40

    for submit in messages:
        assert isinstance(submit, Submit)
        read: Any = decoder.read_outgoing_sms(_NO_SCA + bytes(submit).hex())

        assert read["content"] in readings(submit.user_data), bytes(submit).hex()
        assert read["recipient"] == str(submit.destination)


def readings(user_data: UserData) -> tuple[str | None, ...]:
    """Return what the text may be read as: seven bits to spare are an at sign to it."""
    text = user_data.text or ""
    is_open = user_data.alphabet is Alphabet.GSM7 and user_data.length % 8 == 7
    return (text, text + "@") if is_open else (text,)


@pytest.mark.parametrize("language", Language)
def test_gsmcodecs_has_the_same_tables(language: Language) -> None:
    tables = pytest.importorskip("gsmcodecs.charmaps", reason="gsmcodecs is not installed")
    theirs = tables.GSMCHARMAPS[language]
    single = theirs["singleShift"]["decode"]
    differing = {
        code: (chr(single[code]), gsm.decode(bytes((0x1B, code)), single=language))
        for code in single
        if code != 0x1B and chr(single[code]) != gsm.decode(bytes((0x1B, code)), single=language)
    }
    assert differing == {}
    assert has_locking_table(language) is ("locking" in theirs)
    if not has_locking_table(language):
        return
    locking = theirs["locking"]["decode"]
    differing = {
        code: (chr(locking[code]), gsm.decode(bytes((code,)), locking=language))
        for code in locking
        if code != 0x1B and chr(locking[code]) != gsm.decode(bytes((code,)), locking=language)
    }
    # Phones (AOSP), ofono and the printed table have a comma at 2C; and phones U+0CA1 at 24 in
    # Kannada, where the printed U+0CAA would stand twice.
    known = {0x2C: ("'", ",")} if language >= Language.BENGALI else {}
    if language is Language.KANNADA:
        known[0x24] = ("\u0caa", "\u0ca1")
    assert differing == known
