"""Bounded inflating."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import ParseError, TooLarge
from sipgram.payload.deflate import BYTES_MAX, deflate, inflate


@given(st.binary())
def test_what_is_deflated_comes_back(data: bytes) -> None:
    assert inflate(deflate(data)) == data


def test_raw_deflate_is_read_too() -> None:
    """Some mean RFC 1951 by the word, as some web servers did."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert inflate(packer.compress(b"hi" * 99) + packer.flush()) == b"hi" * 99


def test_a_bomb_is_413() -> None:
    with pytest.raises(TooLarge) as refused:
        inflate(zlib.compress(bytes(BYTES_MAX + 1)))
    assert refused.value.status == 413
    assert len(inflate(zlib.compress(bytes(BYTES_MAX)))) == BYTES_MAX


@given(st.binary(max_size=64))
def test_anything_else_is_refused(data: bytes) -> None:
    try:
        inflate(data)
    except ParseError:
        return


def test_what_is_cut_off_is_refused() -> None:
    with pytest.raises(ParseError):
        inflate(deflate(b"a long text, long enough" * 9)[:-6])
