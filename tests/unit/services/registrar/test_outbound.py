"""Path (RFC 3327), and several flows of one device (RFC 5626)."""

import pytest

from sipgram.errors import ParseError, Refusal, SettingsError
from sipgram.settings import RegistrarSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.targets import one_flow_each
from sipgram.testing.messages import request
from sipgram.testing.recording import RecordingFlow

from .rig import BOB, HOME, INSTANCE, Rig, contacts_of, finish

OUTBOUND = (b"Supported: path, outbound",)
EDGE = b"<sip:token@192.0.2.30;lr;ob>"
URI = b"sip:bob@example.com"


def flow_contact(reg_id: int) -> bytes:
    return HOME + INSTANCE + b";reg-id=%d" % reg_id


def through_a_proxy(*headers: bytes) -> Message:
    """A REGISTER that an edge proxy passed on."""
    raw = request(
        b"REGISTER",
        b"sip:example.com",
        via=b"Via: SIP/2.0/TCP 192.0.2.30;branch=z9hG4bK-e, SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK-p",
        sender=BOB + b";tag=1",
        to=BOB,
        headers=(*headers, b"Contact: " + flow_contact(1)),
    )
    return parse(raw)


# ---- Path --------------------------------------------------------------------------------------


async def test_path_is_kept_and_echoed_and_becomes_the_route() -> None:
    rig = Rig()
    headers = (b"Path: <sip:p2.example.net;lr>", b"Path: <sip:p1.example.net;lr>")

    reply = await rig.register(HOME, headers=headers)

    assert reply.headers[1:] == headers
    binding = rig.binding()
    assert binding.routes == b"Route: <sip:p2.example.net;lr>, <sip:p1.example.net;lr>\r\n"


async def test_a_refresh_by_another_path_changes_the_binding() -> None:
    rig = Rig()
    await rig.register(HOME, headers=(b"Path: <sip:p1.example.net;lr>",))

    await rig.register(HOME, cseq=2, headers=(b"Path: <sip:p1.example.net;lr>",))
    assert (len(rig.store.put), len(rig.store.behind)) == (1, 1)
    await rig.register(HOME, cseq=3, headers=(b"Path: <sip:p2.example.net;lr>",))
    assert rig.binding().path == b"<sip:p2.example.net;lr>"
    await rig.register(HOME, cseq=4)
    assert rig.binding().routes == b""


@pytest.mark.parametrize(
    ("count", "is_fine"), [(10, True), (11, False)], ids=["at the limit", "above"]
)
async def test_path_has_a_limit(count: int, is_fine: bool) -> None:
    rig = Rig()
    headers = [b"Path: <sip:p%d.example.net;lr>" % n for n in range(count)]

    if is_fine:
        await rig.register(HOME, headers=headers)
    else:
        with pytest.raises(ParseError, match="more than 10 Path values: 11"):
            await rig.register(HOME, headers=headers)
    with pytest.raises(ParseError, match="Path is over 2048 octets"):
        await rig.register(HOME, headers=(b"Path: <sip:%b;lr>" % (b"p" * 2_050),))


async def test_a_malformed_path_is_400() -> None:
    with pytest.raises(ParseError, match="Path lacks the closing bracket"):
        await Rig().register(HOME, headers=(b"Path: <sip:p1.example.net",))


# ---- Outbound ----------------------------------------------------------------------------------


async def test_d5_an_instance_has_several_flows() -> None:
    rig = Rig()
    first, second = RecordingFlow(port=1), RecordingFlow(port=2)

    reply = await rig.register(flow_contact(1), source=first, headers=OUTBOUND)
    await rig.register(flow_contact(2), call_id=b"c2", source=second, headers=OUTBOUND)

    assert reply.headers[1:] == (b"Require: outbound", b"Flow-Timer: 120")
    bindings = rig.locations.find(URI).bindings
    assert [b.reg_id for b in bindings] == [1, 2]
    assert len({b.key for b in bindings}) == 2
    assert one_flow_each(bindings) == bindings[1:]


async def test_d5_the_same_reg_id_replaces_its_flow_alone() -> None:
    rig = Rig()
    for n, reg_id in enumerate((1, 2, 1), 1):
        source = RecordingFlow(port=n)
        await rig.register(
            flow_contact(reg_id), call_id=b"c%d" % n, source=source, headers=OUTBOUND
        )

    assert [(b.reg_id, b.flow.port) for b in rig.locations.find(URI).bindings] == [(2, 2), (1, 3)]


async def test_d5_a_register_without_reg_id_replaces_all_flows() -> None:
    rig = Rig()
    await rig.register(flow_contact(1), call_id=b"c1", headers=OUTBOUND)
    await rig.register(flow_contact(2), call_id=b"c2", headers=OUTBOUND)

    reply = await rig.register(HOME + INSTANCE, call_id=b"c3")

    assert len(contacts_of(reply)) == 1
    assert rig.binding().reg_id == 0


async def test_reg_id_is_nothing_without_outbound_or_instance() -> None:
    rig = Rig()

    reply = await rig.register(flow_contact(1))
    assert rig.binding().reg_id == 0
    assert b"Require: outbound" not in reply.headers
    await rig.register(HOME + b";reg-id=1", cseq=2, headers=OUTBOUND)
    assert all(b.reg_id == 0 for b in rig.locations.find(URI).bindings)


@pytest.mark.parametrize("reg_id", [b"0", b"x", b"2147483648"])
async def test_a_reg_id_out_of_range_is_400(reg_id: bytes) -> None:
    with pytest.raises(ParseError, match="reg-id"):
        await Rig().register(HOME + INSTANCE + b";reg-id=" + reg_id, headers=OUTBOUND)


async def test_reg_id_beside_another_contact_is_400() -> None:
    with pytest.raises(ParseError, match="reg-id stands beside another"):
        await Rig().register(flow_contact(1), b"<sip:bob@192.0.2.2>", headers=OUTBOUND)


async def test_439_when_the_first_hop_keeps_no_flow() -> None:
    rig = Rig()

    for path in ((), (b"Path: <sip:192.0.2.30;lr;ob>, <sip:192.0.2.31;lr>",)):
        with pytest.raises(Refusal, match="First Hop Lacks Outbound Support") as refused:
            rig.registrar.handle(through_a_proxy(*OUTBOUND, *path), rig.flow, None, 0.0)
        assert refused.value.status == 439
    answer = rig.registrar.handle(through_a_proxy(*OUTBOUND, b"Path: " + EDGE), rig.flow, None, 0.0)
    finish(answer)  # type: ignore[arg-type]  # A Commit: the binding is new.
    assert rig.binding().reg_id == 1


async def test_d28_a_closed_stream_ends_its_outbound_flows_at_once() -> None:
    rig = Rig()
    first = RecordingFlow(port=1, is_reliable=True)
    second = RecordingFlow(port=2, is_reliable=True)
    await rig.register(flow_contact(1), call_id=b"c1", source=first, headers=OUTBOUND)
    await rig.register(flow_contact(2), call_id=b"c2", source=second, headers=OUTBOUND)
    await rig.register(
        flow_contact(2) + b";q=0.5", call_id=b"c2", cseq=2, source=second, headers=OUTBOUND
    )

    rig.routes.closed[second]()

    assert [b.flow for b in rig.locations.find(URI).bindings] == [first]


async def test_d5_a_dead_flow_leads_to_the_next_and_then_to_none() -> None:
    rig = Rig()
    for n in (1, 2):
        await rig.register(
            flow_contact(n), call_id=b"c%d" % n, source=RecordingFlow(port=n), headers=OUTBOUND
        )
    first, second = rig.locations.find(URI).bindings

    assert rig.locations.fail_over(second) is first
    assert rig.locations.fail_over(first) is None
    assert rig.uris() == []


async def test_a_refresh_of_one_of_two_flows_touches_memory_only() -> None:
    rig = Rig()
    flows = [RecordingFlow(port=1), RecordingFlow(port=2)]
    for cseq in (1, 2):
        for n, flow in enumerate(flows, 1):
            await rig.register(
                flow_contact(n), call_id=b"c%d" % n, cseq=cseq, source=flow, headers=OUTBOUND
            )

    assert (len(rig.store.put), len(rig.store.behind)) == (2, 2)


@pytest.mark.rfc("3608", "6.3")
async def test_the_service_route_is_told_in_the_200() -> None:
    routes = ("sip:edge.example.com;lr", "sip:home.example.com;lr")
    rig = Rig(RegistrarSettings(spread=False, service_routes=routes))

    reply = await rig.register(HOME)

    lines = [line for line in reply.headers if line.startswith(b"Service-Route")]
    assert lines == [b"Service-Route: <%b>" % uri.encode() for uri in routes]


@pytest.mark.parametrize("uri", ["sip:edge.example.com", "edge.example.com", "tel:+1;lr"])
def test_a_service_route_that_no_phone_could_use_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="service_routes"):
        Rig(RegistrarSettings(service_routes=(uri,)))
