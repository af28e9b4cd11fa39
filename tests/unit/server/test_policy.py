"""The operator's policy on the way of messages: asked, obeyed, and never able to lose or hold one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sipgram import Client
from sipgram.policy import Delivery, Letter, Policy, Refused
from sipgram.server.app import build
from sipgram.services.answers import Answer
from sipgram.services.messaging.service import Messaging
from sipgram.services.policy.service import Police
from sipgram.settings import (
    AuthSettings,
    MessagingSettings,
    PolicySettings,
    ServerSettings,
    Settings,
)
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.sink import Flow
from sipgram.testing import messages
from sipgram.testing.clock import ManualClock
from sipgram.testing.policies import judged

from .node import Node, texted, turns

LETTER = Letter("sip:alice@example.com", "sip:bob@example.com")


class Scripted(Policy):
    """Does what it is told, and remembers what it heard."""

    def __init__(
        self,
        *,
        refused: object = None,
        target: object = None,
        before: Callable[[Letter], Awaitable[None]] | None = None,
        at_delivery: Exception | None = None,
    ) -> None:
        self.refused = refused
        self.target = target
        self.before = before
        self.at_delivery = at_delivery
        self.letters: list[Letter] = []
        self.deliveries: list[Delivery] = []

    async def may_send(self, letter: Letter) -> Refused | None:
        self.letters.append(letter)
        if self.before is not None:
            await self.before(letter)
        return self.refused  # type: ignore[return-value]  # Wrong ones are tried as well.

    async def rewrite_target(self, letter: Letter) -> str | None:
        return self.target  # type: ignore[return-value]  # As above.

    async def on_delivered(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if self.at_delivery is not None:
            raise self.at_delivery


class Inner:
    """The messaging service of a node that is made later."""

    def __init__(self) -> None:
        self.service: Messaging

    def handle(self, request: Message, source: Flow, account_id: int | None, now: float) -> Answer:
        return self.service.handle(request, source, account_id, now)


def policed(policy: Policy, settings: PolicySettings | None = None) -> tuple[Node, Police]:
    inner = Inner()
    clock = ManualClock(1_000.0)  # The node's stands at the same.
    police = Police(policy, inner, settings=settings or PolicySettings(), clock=clock)
    node = Node(routes={b"MESSAGE": police})
    inner.service = Messaging(node.locations.find, settings=MessagingSettings())
    return node, police


def signed(node: Node, n: int, body: bytes = b"hi") -> bytes:
    """Return a MESSAGE of alice's with credentials."""
    return node.authorized(texted(branch=b"z9hG4bK-%d" % n).replace(b"hi", body))


async def fails(letter: Letter) -> None:
    raise ValueError("a bug")


async def hangs(letter: Letter) -> None:
    await asyncio.Event().wait()


async def hangs_for_good(letter: Letter) -> None:
    """Not even the first cancellation ends it."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


# ---- what it may decide ----------------------------------------------------------------------


async def test_a_message_that_may_pass_does() -> None:
    policy = Scripted()
    node, police = policed(policy)
    bob = node.bind("bob")

    node.receive(signed(node, 1))
    await turns()
    (sent,) = bob.take()
    node.receive(messages.response(sent, 200), flow=bob)
    await turns()

    assert [parse(raw).status for raw in node.flow.take()] == [200]
    (letter,) = policy.letters
    assert (letter.sender, letter.recipient) == ("sip:alice@example.com", "sip:bob@example.com")
    assert (letter.text, letter.content_type) == ("hi", "text/plain")
    assert policy.deliveries == [Delivery(letter.sender, letter.recipient, was_stored=False)]
    assert not parse(sent).has(b"proxy-authorization")
    assert (police.counts["passed"], police.counts["told"]) == (1, 1)


async def test_a_refusal_is_the_senders_answer() -> None:
    node, police = policed(Scripted(refused=Refused("The Office Is Closed", 480)))
    bob = node.bind("bob")

    answer = await node.answer(signed(node, 1))

    assert (answer.status, answer.reason) == (480, b"The Office Is Closed")
    assert bob.take() == []
    assert police.counts["refused"] == 1


@pytest.mark.parametrize("target", ["sip:carol@example.com", "sip:carol@example.com;x=" + "y" * 90])
async def test_another_recipient_gets_it_and_our_credentials_stay_here(target: str) -> None:
    """The first line becomes longer or shorter: what is cut out of the rest must be the same."""
    node, police = policed(Scripted(target=target))
    bob, carol = node.bind("bob"), node.bind("carol", port=5070)

    node.receive(signed(node, 1))
    await turns()

    assert bob.take() == []
    (sent,) = carol.take()
    got = parse(sent)
    assert got.faults == ()
    assert got.uri == b"sip:carol@198.51.100.1:5070"
    assert got.to_uri == b"sip:bob@example.com"  # Whom it was written to.
    assert not got.has(b"proxy-authorization")
    assert got.body == b"hi"
    node.receive(messages.response(sent, 200), flow=carol)
    assert [parse(raw).status for raw in node.flow.take()] == [200]
    assert police.counts["rewritten"] == 1


async def test_the_answer_of_who_is_not_here_is_the_senders() -> None:
    node, _ = policed(Scripted(target="sip:nobody@example.com"))
    assert (await node.answer(signed(node, 1))).status == 404


# ---- what it may not do ----------------------------------------------------------------------

BROKEN = [
    Scripted(before=fails),
    Scripted(before=hangs),
    Scripted(before=hangs_for_good),
    Scripted(refused=True),
    Scripted(refused=Refused(status=200)),
    Scripted(refused=Refused("two\r\nX-Lines: 1")),
    Scripted(target=3),
    Scripted(target="sip:carol@example.com SIP/2.0\r\nX-Forged: 1"),
    Scripted(target="carol"),
    Scripted(target="sip:example.com"),
]


@pytest.mark.parametrize("policy", BROKEN)
async def test_a_broken_policy_neither_loses_nor_holds_a_message(policy: Scripted) -> None:
    node, police = policed(policy, PolicySettings(timeout_s=0.02))
    bob = node.bind("bob")

    node.receive(signed(node, 1))
    async with asyncio.timeout(5):
        for sent in iter(bob.take, None):
            if sent:
                break
            await asyncio.sleep(0)
    node.receive(messages.response(sent[0], 200), flow=bob)

    assert parse(sent[0]).uri.startswith(b"sip:bob@")
    assert [parse(raw).status for raw in node.flow.take()] == [200]
    assert police.counts["failed"] + police.counts["timed_out"] == 1


@pytest.mark.parametrize("policy", BROKEN)
async def test_fail_closed_tells_the_sender_to_try_again(policy: Scripted) -> None:
    node, _ = policed(policy, PolicySettings(timeout_s=0.02, on_failure="closed"))
    bob = node.bind("bob")

    node.receive(signed(node, 1))
    async with asyncio.timeout(5):
        for told in iter(node.flow.take, None):
            if told:
                break
            await asyncio.sleep(0)

    answer = parse(told[0])
    assert (answer.status, answer.value(b"retry-after")) == (500, b"30")
    assert bob.take() == []


async def test_failures_are_logged_once_a_minute_and_counted() -> None:
    node, police = policed(Scripted(before=fails))
    node.bind("bob")
    with capture_logs() as logs:
        for n in range(5):
            node.receive(signed(node, n))
            await turns()
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("policy failed", "ValueError: a bug")
    ]
    assert police.counts["failed"] == 5


async def test_hung_questions_are_bounded() -> None:
    node, police = policed(Scripted(before=hangs), PolicySettings(timeout_s=30, running_max=3))
    bob = node.bind("bob")
    for n in range(4):
        node.receive(signed(node, n))
    await turns()
    assert police.counts["timed_out"] == 1  # The fourth was not even asked.
    assert bob.take() == []  # Its turn comes after those of the others.


async def test_d16_a_quick_answer_does_not_overtake_a_slow_one() -> None:
    first = asyncio.Event()

    async def before(letter: Letter) -> None:
        if letter.text == "m0":
            await first.wait()

    node, _ = policed(Scripted(before=before))
    bob = node.bind("bob")
    for n in range(3):
        node.receive(signed(node, n, b"m%d" % n))
    await turns()
    assert bob.take() == []
    first.set()
    await turns(30)

    assert [parse(raw).body for raw in bob.take()] == [b"m0", b"m1", b"m2"]


async def test_an_error_at_on_delivered_harms_nobody() -> None:
    node, police = policed(Scripted(at_delivery=KeyError("x")))
    bob = node.bind("bob")
    node.receive(signed(node, 1))
    await turns()
    node.receive(messages.response(bob.take()[0], 200), flow=bob)
    await turns()
    assert [parse(raw).status for raw in node.flow.take()] == [200]
    assert police.counts["not_told"] == 1


# ---- the kit, and the whole server -----------------------------------------------------------


async def test_a_policy_can_be_tried_without_a_server() -> None:
    assert (await judged(Scripted(), LETTER)).failure == ""
    assert (await judged(Scripted(refused=Refused("No")), LETTER)).refused == Refused("No")
    assert (await judged(Scripted(target="sip:c@x"), LETTER)).target == "sip:c@x"
    assert (await judged(Scripted(before=fails), LETTER)).failure == "failed"
    assert (await judged(Scripted(before=hangs), LETTER, timeout_s=0.01)).failure == "timed_out"


SOURCE = """
from sipgram.policy import Policy, Refused

class Shop(Policy):
    deliveries = []

    async def may_send(self, letter):
        return Refused("No Spam") if "spam" in letter.text else None

    async def on_delivered(self, delivery):
        self.deliveries.append(delivery)
"""


async def test_d9_a_policy_given_by_its_path_hears_of_stored_messages_too(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(SOURCE)
    server = await build(
        Settings(
            server=ServerSettings(
                domains=("example.com",), listen=("tcp:127.0.0.1:0",), data=str(tmp_path / "data")
            ),
            auth=AuthSettings(mode="none"),
            policy=PolicySettings(path=f"{file}:Shop"),
        )
    )
    at = str(server.listeners[0])
    police = server.messaging
    assert isinstance(police, Police)
    async with Client("sip:alice@example.com", server=at, register=False) as alice:
        assert (await alice.send("bob", "later")).status == 202
        async with Client("sip:bob@example.com", server=at) as bob:
            await anext(bob.events())
            await anext(bob.events())
            async with asyncio.timeout(5):
                for _ in iter(lambda: police.counts["told"], 1):
                    await asyncio.sleep(0)
    deliveries: list[Delivery] = vars(type(police._policy))["deliveries"]
    assert deliveries == [Delivery("sip:alice@example.com", "sip:bob@example.com", was_stored=True)]
    await server.close()
