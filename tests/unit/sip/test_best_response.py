"""Which failure of a fork goes up, and how it is written (RFC 3261 §16.7 steps 6 and 7)."""

import pytest

from sipgram.sip.message.parser import parse
from sipgram.testing import messages

from .invite_rig import Device, Given


@pytest.mark.rfc("3261", "16.7")
@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([486, 603], 603),
        ([404, 302], 302),
        ([500, 486], 486),
        ([486, 407], 407),
        ([486, 401], 401),
        ([404, 486], 486),
        ([480, 404], 480),
        ([487, 408], 408),
        ([503, 503], 500),
        ([503, 486], 486),
        ([486, 488], 486),
    ],
)
def test_step_6_the_best_of_the_failures(statuses: list[int], best: int) -> None:
    a, b = Device(1), Device(2)
    for first, second in ((a, b), (b, a)):
        given = Given([a, b])
        given.answer(first, statuses[0], 1.0)
        given.answer(second, statuses[1], 1.0)
        (answer,) = given.answers()
        # Of two that are equally good the first goes.
        assert answer.status == best
        a, b = Device(1), Device(2)


def test_d11_a_503_goes_up_as_500_with_all_else_as_it_was() -> None:
    device = Device(1)
    given = Given([device])
    given.answer(device, 503, 1.0, headers=(b"Retry-After: 9",))
    (answer,) = given.answers()
    assert (answer.status, answer.reason) == (500, b"Server Internal Error")
    assert (answer.value(b"retry-after"), answer.faults) == (b"9", ())


@pytest.mark.rfc("3261", "16.7")
def test_step_7_every_challenge_goes_up() -> None:
    """§16.7 step 7: those of all other 401 and 407 are added "without modification"."""
    a, b, c = Device(1), Device(2), Device(3)
    given = Given([a, b, c])
    given.answer(a, 401, 1.0, headers=(b'WWW-Authenticate: Digest realm="a"',))
    given.answer(b, 486, 1.0)
    given.answer(
        c,
        407,
        1.0,
        headers=(b'Proxy-Authenticate: Digest realm="c"', b'WWW-Authenticate: Digest realm="d"'),
    )
    (answer,) = given.answers()
    assert (answer.status, answer.faults) == (401, ())
    assert answer.values(b"www-authenticate") == [b'Digest realm="a"', b'Digest realm="d"']
    assert answer.values(b"proxy-authenticate") == [b'Digest realm="c"']


def test_content_length_is_added_towards_a_stream() -> None:
    device = Device(1)
    given = Given([device], is_reliable=True)
    data = messages.response(device.way.sent[0], 200).replace(b"Content-Length: 0\r\n", b"")
    given.invites.receive(parse(data), device.flow, 1.0)
    (answer,) = given.answers()
    assert answer.content_length == 0
