"""Who may send what as whom (RFC 3261 §16.3, §22; D1 to D4)."""

import pytest

from sipgram.errors import Refusal
from sipgram.identity import NodeId
from sipgram.server import admission
from sipgram.server.routing.peers import Peers
from sipgram.services.auth.service import Authenticator
from sipgram.sip.message.message import Message
from sipgram.sip.message.nonce import NonceMint
from sipgram.sip.message.parser import parse
from sipgram.testing.messages import request, response
from sipgram.testing.recording import RecordingFlow

from .node import SECRET, Node, texted, with_credentials, with_line

FOREIGN = b'Digest username="alice", realm="other.example", nonce="n", uri="sip:x", response="0"'


def forwarded(flow: RecordingFlow) -> Message:
    (raw,) = flow.take()
    message = parse(raw)
    assert not message.faults
    return message


# ---- challenges --------------------------------------------------------------------------------


def test_d3_relaying_is_challenged_with_407_and_registering_with_401() -> None:
    node = Node()

    relayed = node.ask(texted())
    registered = node.ask(request(b"REGISTER", b"sip:example.com"))

    assert relayed.status == 407
    assert b'realm="example.com"' in (relayed.value(b"proxy-authenticate") or b"")
    assert registered.status == 401
    assert b'realm="example.com"' in (registered.value(b"www-authenticate") or b"")


def test_d3_a_challenge_is_stateless_so_that_libpurple_gets_in() -> None:
    """It sends its credentials with the same branch, CSeq and Call-ID (INTEROP.md 2d)."""
    node = Node()
    bob = node.bind("bob")
    raw = texted()

    challenged = node.ask(raw)
    assert node.table.answered_count == 0
    assert node.ask(raw).to_tag == challenged.to_tag
    node.receive(with_credentials(raw, challenged))

    assert forwarded(bob).body == b"hi"
    assert node.flow.take() == []


def test_d3_a_wrong_password_is_challenged_again() -> None:
    node = Node()

    again = node.ask(node.authorized(texted(), password="wrong"))

    assert again.status == 407
    assert b"stale" not in (again.value(b"proxy-authenticate") or b"")


def test_d3_an_old_nonce_is_stale() -> None:
    node = Node()
    raw = node.authorized(texted())
    node.clock.advance(301.0)

    again = node.ask(raw)

    assert b"stale=true" in (again.value(b"proxy-authenticate") or b"")


def test_d3_existence_is_told_only_after_authentication() -> None:
    node = Node()
    known = texted(branch=b"z9hG4bK-k")
    unknown = texted(uri=b"sip:nobody@example.com", branch=b"z9hG4bK-u")

    before = [node.ask(raw).status for raw in (known, unknown)]
    after = [node.ask(node.authorized(raw)).status for raw in (known, unknown)]

    assert before == [407, 407]
    assert after == [480, 404]


@pytest.mark.parametrize("uri", [b"sip:nobody@example.com", b"sip:bob@example.com"])
def test_d3_senders_are_told_apart_only_after_authentication_too(uri: bytes) -> None:
    node = Node()
    raw = texted(sender=b"<" + uri + b">;tag=1")

    challenged = node.ask(raw)
    refused = node.ask(with_credentials(raw, challenged))

    assert challenged.status == 407
    assert (refused.status, refused.reason) == (403, b"From Is Not Yours: " + uri)


# ---- D2: identity ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sender",
    [
        b"<sip:alice@example.com>;tag=1",
        b'"Alice" <sip:alice@EXAMPLE.com:5060;transport=udp>;tag=1',
        b"sip:alice@example.com;tag=1",
        b"<sips:alice@example.com>;tag=1",
        b"<tel:+1-555-0100>;tag=1",
        b"<sip:alice@192.0.2.100>;tag=1",
    ],
)
def test_d2_from_is_one_of_the_accounts_aors(sender: bytes) -> None:
    node = Node()
    bob = node.bind("bob")

    node.receive(node.authorized(texted(sender=sender)))

    assert forwarded(bob).value(b"from") == sender


@pytest.mark.parametrize("method", [b"MESSAGE", b"OPTIONS"])
def test_d2_nobody_writes_as_another(method: bytes) -> None:
    node = Node()
    node.bind("carol")
    raw = request(method, b"sip:carol@example.com", sender=b"<sip:bob@example.com>;tag=1")

    assert node.ask(node.authorized(raw)).status == 403


async def test_d2_nobody_registers_for_another() -> None:
    node = Node()
    raw = request(
        b"REGISTER",
        b"sip:example.com",
        to=b"<sip:bob@example.com>",
        headers=(b"Contact: <sip:a@192.0.2.9>",),
    )

    refused = node.ask(node.authorized(raw))

    assert (refused.status, refused.reason) == (403, b"To Is Not Yours: sip:bob@example.com")


def test_d1_a_sender_of_another_domain_is_a_stranger() -> None:
    node = Node()
    node.bind("bob")

    refused = node.ask(texted(sender=b"<sip:eve@elsewhere.example>;tag=1"))

    assert refused.status == 403
    assert refused.reason == b"Domain Is Not Served Here: elsewhere.example"


def test_d2_anonymous_with_p_preferred_identity() -> None:
    node = Node()
    bob = node.bind("bob")
    raw = texted(
        b"P-Preferred-Identity: <sip:alice@example.com>",
        b"Privacy: id",
        sender=b"Anonymous <sip:anonymous@anonymous.invalid>;tag=1",
    )

    node.receive(node.authorized(raw))

    assert b"alice" not in bob.sent[0], "who it was is between alice and her server"


@pytest.mark.parametrize(
    ("identity", "status"),
    [
        (b"<sip:bob@example.com>", 403),
        (b"<sip:alice@elsewhere.example>", 403),
        (b"<tel:+15550100>", 480),
        (b"alice", 400),
    ],
)
def test_d2_the_preferred_identity_must_be_ones_own(identity: bytes, status: int) -> None:
    node = Node()
    raw = texted(
        b"P-Preferred-Identity: " + identity,
        sender=b"Anonymous <sip:anonymous@anonymous.invalid>;tag=1",
    )

    answer = node.ask(raw)
    if answer.status == 407:
        answer = node.ask(with_credentials(raw, answer))

    assert answer.status == status


def test_d2_anonymous_without_any_identity_is_refused() -> None:
    node = Node()

    assert node.ask(texted(sender=b"<sip:anonymous@anonymous.invalid>;tag=1")).status == 403


@pytest.mark.parametrize(
    "line", [b"P-Asserted-Identity: <sip:boss@example.com>", b"P-ASSERTED-identity : <sip:b@c>"]
)
def test_d2_what_the_untrusted_assert_is_removed(line: bytes) -> None:
    node = Node()
    bob = node.bind("bob")

    node.receive(node.authorized(texted(line, b"X-Kept: 1", line.replace(b"sip:", b"tel:"))))

    relayed = forwarded(bob)
    assert not relayed.has(b"p-asserted-identity")
    assert relayed.value(b"x-kept") == b"1"


def test_d1_a_trusted_peer_needs_no_digest_and_may_assert() -> None:
    node = Node(trust=("192.0.2.0/28",))
    bob = node.bind("bob")
    line = b"P-Asserted-Identity: <sip:boss@elsewhere.example>"

    node.receive(texted(line, sender=b"<sip:boss@elsewhere.example>;tag=1"))

    assert forwarded(bob).value(b"p-asserted-identity") == b"<sip:boss@elsewhere.example>"


@pytest.mark.parametrize(
    ("trust", "host", "is_trusted"),
    [
        ("192.0.2.9", b"192.0.2.9", True),
        ("192.0.2.9", b"192.0.2.10", False),
        ("192.0.2.0/24", b"192.0.2.255", True),
        ("192.0.2.5/24", b"192.0.2.255", True),
        ("2001:db8::/32", b"2001:db8::9", True),
        ("2001:db8::/32", b"192.0.2.9", False),
        ("0.0.0.0/0", b"2001:db8::9", False),
    ],
)
def test_d1_trust_is_an_address_or_a_network(trust: str, host: bytes, is_trusted: bool) -> None:
    assert Peers([trust]).is_trusted(RecordingFlow(host=host)) is is_trusted


def test_d1_even_a_trusted_peer_reaches_local_accounts_only() -> None:
    node = Node(trust=("192.0.2.9",))

    assert node.ask(texted(uri=b"sip:x@elsewhere.example")).status == 403


# ---- what is left out --------------------------------------------------------------------------


def test_d3_our_own_proxy_authorization_is_taken_out() -> None:
    node = Node()
    bob = node.bind("bob")

    node.receive(node.authorized(texted()))

    assert not forwarded(bob).has(b"proxy-authorization")


@pytest.mark.parametrize("order", [1, -1])
def test_d3_a_foreign_proxy_authorization_is_kept(order: int) -> None:
    node = Node()
    bob = node.bind("bob")
    raw = texted()
    ours = node.authorized(raw).partition(b"Proxy-Authorization: ")[2].partition(b"\r\n")[0]

    for value in (ours, FOREIGN)[::order]:
        raw = with_line(raw, b"Proxy-Authorization: " + value)
    node.receive(raw)

    assert forwarded(bob).values(b"proxy-authorization") == [FOREIGN]


def test_d3_a_foreign_proxy_authorization_alone_is_challenged() -> None:
    assert Node().ask(texted(b"Proxy-Authorization: " + FOREIGN)).status == 407


@pytest.mark.parametrize(
    "line",
    [
        b"Route: <sip:192.0.2.100;lr>",
        b"Route: <sip:example.com:5060;lr>, <sip:192.0.2.100:5060;transport=udp;lr>",
        b"route: <sip:EXAMPLE.com>",
    ],
)
@pytest.mark.parametrize("has_digest", [True, False])
def test_our_own_route_is_followed_and_taken_out(line: bytes, has_digest: bool) -> None:
    """§16.4: "If the first value in the Route header field indicates this proxy, the proxy MUST
    remove that value from the request"; a softphone's outbound proxy is such a value."""
    node = Node(has_digest=has_digest)
    bob = node.bind("bob")
    raw = texted(line)

    node.receive(node.authorized(raw) if has_digest else raw)

    assert not forwarded(bob).has(b"route")


@pytest.mark.parametrize(
    "line",
    [
        b"Route: <sip:elsewhere.example;lr>",
        b"Route: <sip:192.0.2.100;lr>, <sip:198.51.100.7;lr>",
        b"Route: <sip:[2001:db8::7]>",
    ],
)
@pytest.mark.parametrize("has_digest", [True, False])
def test_d2_a_route_that_leads_on_is_403(line: bytes, has_digest: bool) -> None:
    node = Node(has_digest=has_digest)
    node.bind("bob")

    refused = node.ask(texted(line))

    assert refused.status == 403
    assert refused.reason.startswith(b"Route Leads To Others: sip:")


def test_a_route_that_cannot_be_read_is_400() -> None:
    assert Node().ask(texted(b"Route: nonsense")).status == 400


# ---- extensions and types ----------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.3")
def test_proxy_require_is_420_with_unsupported() -> None:
    refused = Node().ask(texted(b"Proxy-Require: foo, bar", b"Proxy-Require: baz"))

    assert refused.status == 420
    assert refused.value(b"unsupported") == b"foo, bar, baz"


def test_an_empty_proxy_require_asks_for_nothing() -> None:
    assert Node().ask(texted(b"Proxy-Require:")).status == 407


@pytest.mark.rfc("3261", "8.2.2.3")
def test_require_is_for_the_device_when_relaying_and_for_us_when_registering() -> None:
    node = Node()
    bob = node.bind("bob")

    node.receive(node.authorized(texted(b"Require: foo")))
    assert forwarded(bob).value(b"require") == b"foo"

    raw = request(
        b"REGISTER",
        b"sip:example.com",
        sender=b"<sip:bob@example.com>;tag=1",
        headers=(b"Require: foo",),
    )
    refused = node.ask(node.authorized(raw, user="bob"))
    assert (refused.status, refused.value(b"unsupported")) == (420, b"foo")


@pytest.mark.rfc("3261", "8.2.3")
def test_a_register_with_a_body_of_another_type_is_415_with_accept() -> None:
    node = Node()
    raw = request(
        b"REGISTER", b"sip:example.com", sender=b"<sip:bob@example.com>;tag=1", body=b"hello"
    )

    refused = node.ask(node.authorized(raw, user="bob"))

    assert refused.status == 415
    assert refused.value(b"accept") == b"application/sdp"


@pytest.mark.parametrize("uri", [b"mailto:bob@example.com", b"http://example.com/", b"sipx:b@c"])
def test_a_scheme_that_we_do_not_know_is_416(uri: bytes) -> None:
    assert Node().ask(texted(uri=uri)).status == 416


@pytest.mark.rfc("3261", "16.3")
def test_no_hops_left_is_483() -> None:
    node = Node()
    node.bind("bob")

    refused = node.ask(texted(max_forwards=0))

    assert refused.status == 483
    assert refused.reason == b"Too Many Hops: Max-Forwards is 0"


@pytest.mark.rfc("3261", "11")
def test_whoever_is_meant_by_a_request_does_not_count_its_hops() -> None:
    """§11: a client sends OPTIONS with Max-Forwards 0 to learn what an element on the way can;
    §10.3 has no such check for a registrar."""
    node = Node()

    options = node.ask(request(b"OPTIONS", b"sip:example.com", max_forwards=0))
    register = node.ask(request(b"REGISTER", b"sip:example.com", max_forwards=0))

    assert (options.status, register.status) == (200, 401)


def test_one_hop_left_is_enough() -> None:
    node = Node(has_digest=False)
    bob = node.bind("bob")

    node.receive(texted(max_forwards=1))

    assert forwarded(bob).max_forwards == 0


# ---- bounds ------------------------------------------------------------------------------------


def test_what_is_remembered_of_senders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PARTIES_MAX", 100)
    node = Node()
    assert node.gate is not None

    for n in range(1_000):
        sender = b"<sip:u%d@example.com>;tag=1" % n
        assert node.ask(texted(sender=sender, branch=b"z9hG4bK%d" % n)).status == 407

    assert len(node.gate._parties) <= 100


def test_what_is_remembered_of_senders_is_bounded_in_bytes() -> None:
    """Nobody has proved anything yet when it is remembered."""
    node = Node()
    assert node.gate is not None

    for n in range(20):
        sender = b"<sip:%d%b@example.com>;tag=1" % (n, b"x" * 20_000)
        node.ask(texted(sender=sender, branch=b"z9hG4bK%d" % n))

    assert sum(len(uri) for uri in node.gate._parties) < 20_000


def test_a_changed_account_counts_at_once_when_told() -> None:
    node = Node()
    assert node.gate is not None
    bob = node.bind("bob")
    node.receive(node.authorized(texted()))
    node.receive(response(bob.take()[0], 200), flow=bob)
    node.flow.take()

    del node.household.by_name["alice", "example.com"]
    node.gate.forget()

    raw = texted(branch=b"z9hG4bK-2")
    assert node.ask(node.authorized(raw)).status == 407


def test_a_websocket_is_offered_md5_first() -> None:
    """JsSIP and SIP.js read the first challenge alone and know only MD5 (INTEROP.md 1.5)."""
    node = Node()
    mint = NonceMint(SECRET, node=NodeId("n1"), process=b"run1", lifetime_s=300.0)
    both = Authenticator(node.household, mint=mint, decoy=b"d", algorithms=("SHA-256", "MD5"))
    gate = admission.Gate(both, accounts=node.household, locations=node.locations, peers=Peers(()))
    page = RecordingFlow(is_reliable=True)
    page.via_line = b"Via: SIP/2.0/WS 192.0.2.1:80;branch="

    for flow, first in ((node.flow, b"SHA-256"), (page, b"MD5")):
        with pytest.raises(Refusal) as caught:
            gate.admit(parse(texted()), flow, 0.0)
        lines = [line for line in caught.value.headers if b"algorithm=" in line]
        assert len(lines) == 2
        assert b"algorithm=" + first in lines[0]
