"""Branches and tags that can be made again (RFC 3261 §8.1.1.7, §8.2.7, DELIVERY.md D3, D14)."""

import pytest

from sipgram.errors import UsageError
from sipgram.identity import NodeId
from sipgram.sip.branch import Brancher
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request

REQUEST = parse(request())


def brancher(*, secret: bytes = b"s" * 32, node: str = "n1") -> Brancher:
    return Brancher(secret, node=NodeId(node))


def test_d14_a_branch_tells_node_and_kind() -> None:
    branch = brancher(node="Q7").live(REQUEST, b"sip:bob@x")
    assert branch.startswith(b"z9hG4bKQ7l")
    assert len(branch) == len(b"z9hG4bKQ7l") + 16


def test_d14_another_node_makes_the_same_branch_but_for_its_name() -> None:
    one = brancher(node="n1").live(REQUEST, b"sip:bob@x")
    other = brancher(node="n2").live(parse(request()), b"sip:bob@x")
    assert one[10:] == other[10:]


@pytest.mark.parametrize(
    "other",
    [
        request(via=b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK-2"),
        request(via=b"Via: SIP/2.0/UDP 192.0.2.8:5060;rport;branch=z9hG4bK-1"),
        request(cseq=2),
    ],
)
def test_d14_upstream_branch_sent_by_and_cseq_make_another_branch(other: bytes) -> None:
    assert brancher().live(REQUEST, b"x") != brancher().live(parse(other), b"x")


def test_d14_each_target_and_each_secret_makes_another_branch() -> None:
    branches = {
        brancher().live(REQUEST, b"sip:bob@x"),
        brancher().live(REQUEST, b"sip:bob@y"),
        brancher(secret=b"t" * 32).live(REQUEST, b"sip:bob@x"),
    }
    assert len(branches) == 3


def test_d3_a_tag_is_the_same_for_each_repetition() -> None:
    tag = brancher().tag(REQUEST)
    assert len(tag) == 16
    assert tag == brancher().tag(parse(request(cseq=2)))
    assert tag != brancher().tag(parse(request(call_id=b"2")))
    assert tag != brancher().tag(parse(request(sender=b"<sip:a@x>;tag=2")))


@pytest.mark.parametrize("node", ["", "n", "n12", "n-", "ñ1"])
def test_a_node_name_is_two_letters_or_digits(node: str) -> None:
    with pytest.raises(UsageError, match="node name is not two letters or digits"):
        brancher(node=node)
