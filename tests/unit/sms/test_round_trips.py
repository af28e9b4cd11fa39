"""What the encoder writes, the parser reads as the same: any message of any kind."""

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.sms import gsm, rp
from sipgram.sms.cause import SmsFault
from sipgram.sms.concatenation import Encoding, encodings, join, split, split_octets
from sipgram.sms.explain.table import explain_rp, explain_tpdu
from sipgram.sms.gsm import Language, has_locking_table
from sipgram.sms.rp import Direction
from sipgram.sms.tpdu.parser import parse, parse_carried
from sipgram.testing.short_messages import random_message

SEEDS = st.integers(0, 2**48)
LOCKING = [language for language in Language if has_locking_table(language)]


@settings(derandomize=True, max_examples=1500, deadline=None)
@given(SEEDS)
def test_message_is_the_same_after_writing_and_reading(seed: int) -> None:
    message = random_message(Random(seed))
    octets = bytes(message)

    assert rp.parse(octets) == message
    tpdu = parse_carried(message)
    assert tpdu is None or bytes(tpdu) == getattr(message, "user_data", None)
    explanation = explain_rp(octets)
    assert b"".join(row.octets for row in explanation.rows) == octets
    assert (explanation.message, explanation.tpdu) == (message, tpdu)
    assert explanation.forgiven == ()


@settings(derandomize=True, max_examples=1500, deadline=None)
@given(SEEDS, st.integers(0, 7))
def test_damaged_message_is_read_or_refused_and_always_explained(seed: int, cut: int) -> None:
    source = Random(seed)
    octets = bytearray(bytes(random_message(source)))
    for _ in range(source.randrange(4)):
        octets[source.randrange(len(octets))] = source.randrange(256)
    data = bytes(octets[: len(octets) - cut])

    with suppress(SmsFault):
        parse_carried(rp.parse(data))
    for explanation in (
        explain_rp(data),
        explain_tpdu(data, direction=Direction.TO_MS),
        explain_tpdu(data, direction=Direction.TO_NETWORK),
    ):
        assert b"".join(row.octets for row in explanation.rows) == data


@settings(derandomize=True, max_examples=800, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(Direction))
def test_any_octets_are_a_tpdu_or_refused(data: bytes, direction: Direction) -> None:
    try:
        tpdu = parse(data, direction=direction)
    except SmsFault:
        return
    # A second writing changes nothing: what was forgiven is right by now.
    assert parse(bytes(tpdu), direction=direction) == tpdu


@pytest.mark.parametrize("skip_bits", range(8))
@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.binary(max_size=255))
def test_septets_are_the_same_after_packing(skip_bits: int, data: bytes) -> None:
    septets = bytes(octet & 0x7F for octet in data)

    packed = gsm.pack(septets, fill_bits=skip_bits)

    assert len(packed) == (len(septets) * 7 + skip_bits + 7) // 8
    assert gsm.unpack(packed, len(septets), skip_bits=skip_bits) == septets


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(max_size=400), st.sampled_from(Language), st.booleans())
def test_split_text_joins_to_itself(text: str, language: Language, is_wide: bool) -> None:
    wanted = encodings([language])

    made = split(text, wanted=wanted, reference=7, is_wide=is_wide)

    assert join(made.parts) == text
    assert "".join(part.text or "" for part in made.parts) == text
    assert all(len(bytes(part)) <= 141 for part in made.parts)


@pytest.mark.parametrize("single", Language)
@pytest.mark.parametrize("locking", LOCKING)
def test_every_character_of_every_table(locking: Language, single: Language) -> None:
    plain = gsm.decode(bytes(range(0x1B)) + bytes(range(0x1C, 0x80)), locking=locking)
    shifted = gsm.decode(
        b"".join(bytes((0x1B, code)) for code in range(0x80) if code != 0x1B),
        locking=locking,
        single=single,
    )
    encoding = Encoding(locking=locking, single=single)

    for character in plain + shifted:
        septets = encoding.encode(character)
        assert septets is not None
        assert gsm.decode(septets, locking=locking, single=single) == character


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.binary(max_size=1000))
def test_octets_are_the_same_after_splitting(data: bytes) -> None:
    assert b"".join(part.body for part in split_octets(data)) == data
