"""Timestamps and validity (TS 23.040 §9.2.3.11, §9.2.3.12)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipgram.errors import UsageError
from sipgram.sms.octets import Octets
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.validity import (
    AbsoluteValidity,
    EnhancedValidity,
    RelativeValidity,
    format_of,
    read_validity,
)

FIRST_UTC_S = int(datetime(1990, 1, 2, tzinfo=UTC).timestamp())
LAST_UTC_S = int(datetime(2089, 12, 30, tzinfo=UTC).timestamp())


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.integers(FIRST_UTC_S, LAST_UTC_S), st.integers(-79, 79))
def test_timestamp_is_the_instant_that_it_was_made_of(utc_s: int, quarters: int) -> None:
    timestamp = Timestamp.of(utc_s, quarters=quarters)

    assert timestamp.utc_s == utc_s
    assert timestamp.quarters == quarters
    assert datetime.fromisoformat(str(timestamp)).timestamp() == utc_s


@pytest.mark.parametrize("quarters", [-80, 80])
def test_zone_out_of_range(quarters: int) -> None:
    with pytest.raises(UsageError, match=r"zone is out of range"):
        Timestamp.of(FIRST_UTC_S, quarters=quarters)


@pytest.mark.parametrize("utc_s", [0, 4e9])
def test_year_out_of_range(utc_s: float) -> None:
    with pytest.raises(UsageError, match=r"year is out of range"):
        Timestamp.of(utc_s)


@pytest.mark.parametrize(
    "octets",
    [
        "00000000000000",
        "32209200000000",
        "42131000000000",
        "42701242000000",
        "42701200060000",
        "42701200001600",
        "a2701200000000",
        "427012000000a0",
    ],
)
def test_date_that_does_not_exist(octets: str) -> None:
    """A message is kept whatever its timestamp is."""
    timestamp = Timestamp(bytes.fromhex(octets))

    assert timestamp.utc_s is None
    assert str(timestamp) == octets
    assert AbsoluteValidity(timestamp).until_utc_s(0.0) is None


def test_leap_second_is_a_second() -> None:
    assert Timestamp(bytes.fromhex("61211332950600")).utc_s is not None


@pytest.mark.parametrize(
    ("octet", "seconds"),
    [(0, 300), (143, 43_200), (144, 45_000), (167, 86_400), (168, 172_800), (255, 38_102_400)],
)
def test_relative_validity(octet: int, seconds: int) -> None:
    validity = RelativeValidity(octet)

    assert validity.seconds == seconds
    assert RelativeValidity.of(seconds) == validity
    assert validity.until_utc_s(1000.0) == 1000.0 + seconds
    assert read_validity(Octets(bytes(validity)), format_of(validity)) == validity


def test_relative_validity_lasts_no_shorter_than_asked() -> None:
    assert RelativeValidity.of(301).seconds == 600

    with pytest.raises(UsageError, match=r"over 63 weeks"):
        RelativeValidity.of(38_102_401)


def test_relative_validity_is_an_octet() -> None:
    with pytest.raises(UsageError, match=r"TP-VP is not an octet: 256"):
        bytes(RelativeValidity(256))


def test_absolute_validity() -> None:
    validity = AbsoluteValidity(Timestamp.of(FIRST_UTC_S))

    assert validity.until_utc_s(0.0) == FIRST_UTC_S


@pytest.mark.parametrize(
    ("octets", "seconds", "is_single_shot"),
    [
        ("00000000000000", None, False),
        ("40000000000000", None, True),
        ("01010000000000", 600, False),
        ("023c0000000000", 60, False),
        ("02000000000000", None, False),
        ("43103254000000", 3600 + 23 * 60 + 45, True),
        ("03a03254000000", None, False),
        ("04010000000000", None, False),
        ("81000a00000000", 3300, False),
        ("81808080808003", None, False),
        ("81808080808080", None, False),
        ("82013c00000000", 60, False),
    ],
)
def test_enhanced_validity(octets: str, seconds: int | None, is_single_shot: bool) -> None:
    validity = EnhancedValidity(bytes.fromhex(octets))

    assert validity.seconds == seconds
    assert validity.is_single_shot is is_single_shot
    assert bytes(validity).hex() == octets


@pytest.mark.parametrize(
    ("seconds", "octets"), [(None, "40"), (60, "423c"), (255, "42ff"), (256, "4100")]
)
def test_enhanced_validity_of_seconds(seconds: int | None, octets: str) -> None:
    validity = EnhancedValidity.of(seconds, is_single_shot=True)

    assert bytes(validity).hex() == octets.ljust(14, "0")
    wanted = None if seconds is None else 1000.0 + max(seconds, 300 if seconds > 255 else 0)
    assert validity.until_utc_s(1000.0) == wanted


def test_enhanced_validity_is_a_second_at_least() -> None:
    with pytest.raises(UsageError, match=r"not a second: 0"):
        EnhancedValidity.of(0)
