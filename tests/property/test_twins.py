"""Both scanners give the same, on usual messages, torture messages and mutations of them."""

import gc
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sipgram.sip.message._scan", reason="the native parts were not built")

from sipgram.sip.message._scan import scan

from . import twins

CORPUS = twins.corpus()


@pytest.mark.parametrize("bare_lf", [False, True])
@pytest.mark.parametrize("number", range(len(CORPUS)))
def test_corpus(number: int, bare_lf: bool) -> None:
    assert twins.differences(CORPUS[number], bare_lf=bare_lf) == []


def test_usual_messages_are_read_natively() -> None:
    assert [data[:40] for data in twins.MESSAGES if not twins.is_native(data)] == []


@pytest.mark.parametrize("data", twins.MESSAGES, ids=lambda data: data[:20].decode())
def test_each_cut_of_a_message(data: bytes) -> None:
    """No read goes past the end, wherever a message breaks off."""
    for length in range(len(data)):
        assert twins.differences(data[:length]) == []


@settings(derandomize=True, max_examples=400, deadline=None)
@given(
    data=st.sampled_from([*twins.MESSAGES, *CORPUS]),
    seed=st.integers(0, 2**32),
    count=st.integers(1, 4),
    bare_lf=st.booleans(),
)
def test_mutations(data: bytes, seed: int, count: int, bare_lf: bool) -> None:
    source = random.Random(seed)
    for _ in range(count):
        data = twins.mutated(data, source)

    assert twins.differences(data, bare_lf=bare_lf) == []


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    name=st.sampled_from([b"Via", b"From", b"To", b"CSeq", b"Content-Length", b"X-Foo", b""]),
    value=st.text(alphabet=' \t<>;:=",@.-_[]\\%?aZ09\x7f\xe9', max_size=24),
)
def test_any_value_of_a_header(name: bytes, value: str) -> None:
    lines = twins.MESSAGES[0].split(b"\r\n")
    at = next((i for i, line in enumerate(lines) if line.startswith(name + b":")), 3)
    lines[at] = name + b":" + value.encode("latin-1")

    assert twins.differences(b"\r\n".join(lines)) == []


@pytest.mark.parametrize("value", twins.CREDENTIALS)
def test_each_cut_of_credentials(value: bytes) -> None:
    for length in range(len(value) + 1):
        assert twins.credential_differences(value[:length]) == []


@settings(derandomize=True, max_examples=400, deadline=None)
@given(
    value=st.sampled_from(twins.CREDENTIALS), seed=st.integers(0, 2**32), count=st.integers(0, 4)
)
def test_credentials(value: bytes, seed: int, count: int) -> None:
    source = random.Random(seed)
    for _ in range(count):
        value = twins.mutated_credentials(value, source)

    assert twins.credential_differences(value) == []


def test_faults_can_be_added() -> None:
    message = scan(twins.MESSAGES[0])

    message.faults = (*message.faults, "too long a wait")
    message.fault_status = 408

    assert (message.faults, message.fault_status) == (("too long a wait",), 408)


def test_nothing_else_than_bytes_is_read() -> None:
    for wrong in (None, "text", bytearray(b"x")):
        with pytest.raises(TypeError):
            scan(wrong)  # type: ignore[arg-type]  # The wrong type is the point.


def test_message_is_small_and_in_no_cycle() -> None:
    """DESIGN.md §2: no reference cycle per message; what is not looked at makes no object."""
    message = scan(twins.MESSAGES[0])

    assert not gc.is_tracked(message)
    assert sys.getsizeof(message) <= 450
    assert sys.getrefcount(message) == 2
