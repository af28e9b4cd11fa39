"""The order of targets (RFC 3261 §16.6, RFC 3841 §9.1, DELIVERY.md D6)."""

from dataclasses import dataclass

import pytest

from sipgram.sip.message.parser import parse
from sipgram.sip.targets import USUAL, Disposition, arranged
from sipgram.testing import messages


@dataclass(frozen=True)
class Phone:
    """A contact."""

    name: str
    q: float


DESK, MOBILE, MAILBOX = Phone("desk", 1.0), Phone("mobile", 1.0), Phone("mailbox", 0.2)


def wish(*lines: bytes) -> Disposition:
    return Disposition.of(parse(messages.request(b"INVITE", headers=lines)))


@pytest.mark.parametrize(
    ("line", "groups"),
    [
        (b"", [[DESK, MOBILE], [MAILBOX]]),
        (b"Request-Disposition: proxy, recurse", [[DESK, MOBILE], [MAILBOX]]),
        (b"Request-Disposition: parallel", [[DESK, MOBILE, MAILBOX]]),
        (b"Request-Disposition: sequential", [[DESK], [MOBILE], [MAILBOX]]),
        (b"d: No-Fork", [[DESK]]),
    ],
)
@pytest.mark.rfc("3841", "9.1")
def test_d6_an_invite_goes_by_groups_of_one_q(line: bytes, groups: list[list[Phone]]) -> None:
    lines = (line,) if line else ()
    assert arranged([MAILBOX, DESK, MOBILE], wish(*lines)) == groups


def test_nobody_is_no_group() -> None:
    assert arranged([]) == []


def test_wishes_on_several_lines_and_unknown_ones() -> None:
    found = wish(b"Request-Disposition: no-recurse, no-cancel", b"Request-Disposition: redirect, x")
    assert (found.may_recurse, found.may_cancel, found.is_redirected) == (False, False, True)
    assert wish() is USUAL
