"""Which devices a MESSAGE goes to (RFC 3428; D6, D26)."""

import pytest

from sipgram.errors import Refusal
from sipgram.services.answers import Forward
from sipgram.services.messaging.service import Messaging
from sipgram.services.registrar.location import AorEntry, Binding, Locations
from sipgram.settings import MessagingSettings
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.message.uri import Aor
from sipgram.sip.sink import Flow
from sipgram.testing.messages import request
from sipgram.testing.recording import RecordingFlow

STRANGER = RecordingFlow(port=9)


class OnlyBob:
    """Accounts with one account in them."""

    def account_id_of(self, aor: Aor) -> int | None:
        return 1 if aor == Aor("bob", "example.com") else None

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        return (1, aor) if self.account_id_of(aor) else None

    def members_of(self, aor: Aor) -> list[Aor]:
        return []


class Rig:
    """Messaging over a location table in which bob has ``devices``."""

    def __init__(self, *, body_bytes_max: int = 65_000) -> None:
        self.locations = Locations(("example.com",), accounts=OnlyBob(), bindings_max=100)
        self.messaging = Messaging(
            self.locations.find, settings=MessagingSettings(body_bytes_max=body_bytes_max)
        )
        self.bob = self.locations.find(b"sip:bob@example.com")

    def add(
        self, port: int, *, expires: float = 60.0, methods: frozenset[bytes] = frozenset()
    ) -> Binding:
        binding = device(self.bob, port, expires=expires, methods=methods)
        self.locations.attach(self.bob, binding)
        return binding

    def targets(
        self, message: Message | None = None, *, source: Flow = STRANGER, now: float = 0.0
    ) -> list[bytes]:
        forward = self.messaging.handle(message or message_of(), source, 1, now)
        assert isinstance(forward, Forward)
        return [target.uri for target in forward.targets]


def device(entry: AorEntry, port: int, *, expires: float, methods: frozenset[bytes]) -> Binding:
    uri = b"sip:bob@192.0.2.1:%d" % port
    return Binding(
        aor=str(entry.aor),
        value=b"<" + uri + b">",
        uri=uri,
        flow=RecordingFlow(port=port),
        expires=expires,
        call_id=b"c",
        cseq=1,
        updated=0.0,
        methods=methods,
    )


def message_of(
    body: bytes = b"hi", *, method: bytes = b"MESSAGE", uri: bytes = b"sip:bob@example.com"
) -> Message:
    return parse(request(method, uri, body=body))


def test_d6_every_device_at_once() -> None:
    rig = Rig()
    devices = [rig.add(port) for port in (5061, 5062, 5063)]

    assert rig.targets() == [device.uri for device in devices]


@pytest.mark.parametrize("count", [1, 2])
def test_d6_not_to_a_device_that_has_expired(count: int) -> None:
    rig = Rig()
    devices = [rig.add(5060 + n, expires=10.0 + n) for n in range(count)]

    assert rig.targets(now=9.9) == [device.uri for device in devices]
    assert rig.targets(now=10.0 + count - 1.5) == [devices[-1].uri]
    with pytest.raises(Refusal, match="480"):
        rig.targets(now=10.0 + count - 1)


def test_d6_not_back_to_the_device_that_wrote() -> None:
    rig = Rig()
    first, second = rig.add(5061), rig.add(5062)

    assert rig.targets(source=first.flow) == [second.uri]
    assert rig.targets(source=second.flow) == [first.uri]


def test_d6_not_back_to_a_device_that_wrote_from_elsewhere_than_its_contact() -> None:
    """D27: the flow to its Contact is not the one that its requests come on."""
    rig = Rig()
    first, second = rig.add(5061), rig.add(5062)
    first.source = RecordingFlow(port=40_000)

    assert rig.targets(source=first.source) == [second.uri]


@pytest.mark.parametrize("others", [0, 1])
def test_d6_a_phone_that_texts_itself_hears_itself(others: int) -> None:
    """ "unless it is the account's only device (a phone texting itself is everyone's first
    test)", whether or not others are registered that cannot take a MESSAGE."""
    rig = Rig()
    own = rig.add(5061)
    for n in range(others):
        rig.add(5070 + n, methods=frozenset((b"INVITE",)))

    assert rig.targets(source=own.flow) == [own.uri]


@pytest.mark.parametrize("count", [1, 2])
def test_d6_not_to_a_contact_whose_methods_lack_message(count: int) -> None:
    rig = Rig()
    rig.add(5061, methods=frozenset((b"INVITE", b"OPTIONS")))
    if count == 1:
        with pytest.raises(Refusal, match="480"):
            rig.targets()
    else:
        able = rig.add(5062, methods=frozenset((b"MESSAGE",)))
        assert rig.targets() == [able.uri]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("status", [405, 501])
def test_d6_not_to_a_contact_that_answered_405_or_501(status: int, count: int) -> None:
    rig = Rig()
    first, *others = [rig.add(5060 + n) for n in range(count)]

    rig.locations.on_outcome(first, b"MESSAGE", status)

    if others:
        assert rig.targets() == [device.uri for device in others]
    else:
        with pytest.raises(Refusal, match="480"):
            rig.targets()
    assert first.uri in rig.targets(message_of(b"", method=b"OPTIONS"))


def test_everybody_away_is_480_with_retry_after() -> None:
    with pytest.raises(Refusal) as caught:
        Rig().targets()

    assert caught.value.status == 480
    assert caught.value.headers == (b"Retry-After: 30",)


@pytest.mark.parametrize(
    ("uri", "status"), [(b"sip:carol@example.com", 404), (b"sip:bob@elsewhere.example", 403)]
)
def test_whom_we_do_not_have(uri: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        Rig().targets(message_of(uri=uri))

    assert caught.value.status == status


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_d26_513_for_a_body_over_the_limit(size: int, fits: bool, has_length: bool) -> None:
    """A datagram needs no Content-Length, and is as large without."""
    rig = Rig(body_bytes_max=100)
    rig.add(5061)
    raw = request(body=b"x" * size)
    if not has_length:
        raw = raw.replace(b"Content-Length: %d\r\n" % size, b"")

    if fits:
        assert rig.targets(parse(raw))
    else:
        with pytest.raises(Refusal, match=f"Body Is Over 100 Bytes: {size}") as caught:
            rig.targets(parse(raw))
        assert caught.value.status == 513
