"""Signed Record-Route and the Route that comes back (RFC 3261 §16.4, §16.12; RFC 5658; D2)."""

import pytest

from sipgram.errors import ParseError, UsageError
from sipgram.sip.message.address import parse_list
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import SipUri
from sipgram.sip.record_route import ROUTES_MAX, RecordRoutes, Side
from sipgram.testing import messages

UDP = Side(b"192.0.2.1:5060")
TCP = Side(b"192.0.2.1:5062;transport=tcp", b"f7")
ALICE = b"<sip:alice@example.com>;tag=a1"
BOB = b"<sip:bob@example.com>;tag=b1"


def is_ours(uri: SipUri) -> bool:
    return uri.host == b"192.0.2.1"


ROUTES = RecordRoutes(b"s" * 32, is_ours=is_ours)
INVITE = parse(messages.request(b"INVITE", sender=ALICE))


def recorded(*, source: Side = UDP, target: Side = TCP, invite: Message = INVITE) -> list[bytes]:
    """Return the URIs that we put into a request, the top one first."""
    lines = ROUTES.lines(invite, source=source, target=target)
    values = [line.partition(b": ")[2] for line in lines.split(b"\r\n") if line]
    return [address.uri for address in parse_list(values, of="Record-Route")]


def in_dialog(*routes: bytes, of: str = "alice", uri: bytes = b"sip:phone@192.0.2.77") -> Message:
    """Return a BYE of one of the two, with these Route lines."""
    sender, to = (ALICE, BOB) if of == "alice" else (BOB, ALICE)
    headers = [b"Route: " + route for route in routes]
    return parse(messages.request(b"BYE", uri, sender=sender, to=to, headers=headers))


def sent(request: Message) -> Message:
    """Return a request as it goes out by its course."""
    course = ROUTES.course(request)
    return parse(request.forwarded(course.uri, b"X: y\r\n", b"192.0.2.9", 5060, course.cuts))


# ---- making ------------------------------------------------------------------------------------


@pytest.mark.rfc("5658", "5")
def test_two_sides_make_two_values_with_the_outgoing_one_on_top() -> None:
    top, below = recorded()
    assert top.endswith(b"f7@192.0.2.1:5062;transport=tcp;lr")
    assert below.endswith(b"@192.0.2.1:5060;lr")


def test_one_side_makes_one_value() -> None:
    assert len(recorded(source=UDP, target=UDP)) == 1


@pytest.mark.rfc("3261", "16.6")
def test_a_sips_request_gets_a_sips_value() -> None:
    """§16.6 step 4: "If the Request-URI contains a SIPS URI … MUST be a SIPS URI"."""
    invite = parse(messages.request(b"INVITE", b"sips:bob@example.com", sender=ALICE))
    assert all(uri.startswith(b"sips:") for uri in recorded(invite=invite))


@pytest.mark.parametrize("flow", [b"a@b", b"a b", b">", b"%41"])
def test_a_flow_whose_name_would_need_escapes_is_refused(flow: bytes) -> None:
    with pytest.raises(UsageError, match="needs escapes"):
        ROUTES.lines(INVITE, source=UDP, target=Side(b"192.0.2.1", flow))


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.rfc("3261", "16.4")
@pytest.mark.parametrize("joined", [False, True])
def test_d2_both_values_are_taken_out_whoever_asks(joined: bool) -> None:
    top, below = (b"<" + uri + b">" for uri in recorded())
    for of, routes, flow in (("alice", (below, top), b"f7"), ("bob", (top, below), b"")):
        lines = (b", ".join(routes),) if joined else routes
        request = in_dialog(*lines, of=of)
        course = ROUTES.course(request)
        assert (course.is_ours, course.is_signed, course.leads_on) == (True, True, False)
        assert course.flow == flow  # The side where the request leaves names its flow.
        assert course.uri == course.next_hop == b"sip:phone@192.0.2.77"
        assert not sent(request).has(b"route")


@pytest.mark.rfc("3261", "16.4")
def test_what_leads_on_stays() -> None:
    (own,) = recorded(target=UDP)
    request = in_dialog(b"<" + own + b">, <sip:192.0.2.50;lr>", b"<sip:192.0.2.51;lr>")
    course = ROUTES.course(request)
    assert (course.is_signed, course.leads_on) == (True, True)
    assert course.next_hop == b"sip:192.0.2.50;lr"
    assert sent(request).values(b"route") == [b"<sip:192.0.2.50;lr>, <sip:192.0.2.51;lr>"]


@pytest.mark.rfc("3261", "16.4")
def test_a_strict_router_before_us_is_repaired() -> None:
    """§16.4: "replace the Request-URI … with the last value from the Route header field"."""
    (own,) = recorded(target=UDP)
    request = in_dialog(b"<sip:192.0.2.50;lr>", b"<sip:phone@192.0.2.77>", uri=own)
    course = ROUTES.course(request)
    assert (course.uri, course.next_hop) == (b"sip:phone@192.0.2.77", b"sip:192.0.2.50;lr")
    assert course.is_signed
    assert sent(request).values(b"route") == [b"<sip:192.0.2.50;lr>"]


@pytest.mark.rfc("3261", "16.6")
def test_a_strict_router_behind_us_gets_what_it_expects() -> None:
    """§16.6 step 6: "place the Request-URI into the Route header field as the last value"."""
    (own,) = recorded(target=UDP)
    request = in_dialog(b"<" + own + b">", b"<sip:old@192.0.2.50>")
    course = ROUTES.course(request)
    assert course.uri == course.next_hop == b"sip:old@192.0.2.50"
    out = sent(request)
    assert (out.uri, out.values(b"route")) == (b"sip:old@192.0.2.50", [b"<sip:phone@192.0.2.77>"])


@pytest.mark.rfc("3261", "16.12.1.2")
def test_a_strict_router_at_both_sides() -> None:
    (own,) = recorded(target=UDP)
    request = in_dialog(b"<sip:old@192.0.2.50>", b"<sip:phone@192.0.2.77>", uri=own)
    out = sent(request)
    assert (out.uri, out.values(b"route")) == (b"sip:old@192.0.2.50", [b"<sip:phone@192.0.2.77>"])


def test_a_preloaded_route_to_us_is_ours_but_proves_nothing() -> None:
    course = ROUTES.course(in_dialog(b"<sip:192.0.2.1;lr>"))
    assert (course.is_ours, course.is_signed, course.leads_on) == (True, False, False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Call-ID: call-1", b"Call-ID: call-2"),
        (b"tag=a1", b"tag=a2"),
        (b"f7@", b"f8@"),
        (b"f7@", b"@"),
    ],
)
def test_d2_a_token_is_good_for_its_dialog_and_flow_alone(old: bytes, new: bytes) -> None:
    top, below = (b"<" + uri + b">" for uri in recorded())
    data = in_dialog(below, top).raw
    assert ROUTES.course(parse(data)).is_signed
    assert not ROUTES.course(parse(data.replace(old, new))).is_signed


def test_d2_one_unsigned_value_among_ours_is_not_signed() -> None:
    (own,) = recorded(target=UDP)
    assert not ROUTES.course(in_dialog(b"<" + own + b">", b"<sip:192.0.2.1;lr>")).is_signed


def test_another_nodes_secret_signs_nothing() -> None:
    other = RecordRoutes(b"t" * 32, is_ours=is_ours)
    (own,) = recorded(target=UDP)
    assert not other.course(in_dialog(b"<" + own + b">")).is_signed


@pytest.mark.parametrize("user", [b"x" * 60, b"a;b=c" * 8, b"%00" * 10, b"&=+$,?/" * 4])
def test_users_that_are_no_tokens_are_just_not_ours(user: bytes) -> None:
    course = ROUTES.course(in_dialog(b"<sip:" + user + b"@192.0.2.50;lr>"))
    assert (course.is_ours, course.leads_on) == (False, True)


def test_without_route_there_is_nothing_to_cut() -> None:
    course = ROUTES.course(INVITE)
    assert (course.uri, course.next_hop, course.cuts) == (INVITE.uri, INVITE.uri, ())
    assert (course.is_ours, course.is_signed, course.leads_on) == (False, False, False)


def test_a_tel_uri_goes_through() -> None:
    request = parse(messages.request(b"INVITE", b"tel:+4930123", sender=ALICE))
    assert ROUTES.course(request).next_hop == b"tel:+4930123"


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_number_of_routes_is_bounded(over: int) -> None:
    request = in_dialog(b", ".join([b"<sip:192.0.2.50;lr>"] * (ROUTES_MAX + over)))
    if over > 0:
        with pytest.raises(ParseError, match="Route values"):
            ROUTES.course(request)
    else:
        assert ROUTES.course(request).leads_on


def test_a_route_of_another_scheme_is_left_to_whoever_sends_it() -> None:
    course = ROUTES.course(in_dialog(b"<sip:192.0.2.1;lr>", b"<im:bob@example.net>"))
    assert (course.next_hop, course.leads_on) == (b"im:bob@example.net", True)
