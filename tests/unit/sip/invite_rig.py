"""An INVITE, devices around a proxy, and what each of them was sent (RFC 3261 §16)."""

from collections.abc import Sequence

from sipgram.identity import NodeId
from sipgram.sip.branch import Brancher
from sipgram.sip.invite_proxy import CallTimes, InviteFork, InviteProxy, Onward
from sipgram.sip.loops import LoopGuard
from sipgram.sip.message.address import Address
from sipgram.sip.message.message import Message
from sipgram.sip.message.parser import parse
from sipgram.sip.proxy import Target
from sipgram.sip.sink import Flow
from sipgram.sip.timers import Timers
from sipgram.sip.transaction.invites import Invites
from sipgram.sip.transaction.table import TransactionTable
from sipgram.testing import messages
from sipgram.testing.recording import RecordingFlow, RecordingUser

INVITE = messages.request(b"INVITE", headers=(b"Max-Breadth: 10", b"X-Else: kept"), body=b"v=0")
CANCEL = messages.request(b"CANCEL")


class Device:
    """A contact of bob, and what a phone there was sent."""

    def __init__(self, n: int, *, is_alive: bool = True, is_reliable: bool = False) -> None:
        self.uri = b"sip:bob@192.0.2.%d" % n
        self.name = self.uri
        self.way = RecordingFlow(host=b"192.0.2.%d" % n, is_reliable=is_reliable)
        self.way.is_alive = is_alive
        self.flow: Flow = self.way
        self.is_silent = False
        self.instance = b""
        self.routes = b""
        self.cannot_read: frozenset[bytes] = frozenset()

    @property
    def got(self) -> list[Message]:
        return [parse(data) for data in self.way.sent]

    @property
    def methods(self) -> list[bytes]:
        return [message.method for message in self.got]


class Plan:
    """A routing that the test decides."""

    def __init__(self) -> None:
        self.moved: dict[bytes, Device] = {}
        "Where a redirection to a URI leads."
        self.others: dict[bytes, Device] = {}
        "The other flow of a device, by its URI."
        self.failed: list[tuple[bytes, int]] = []
        self.patience_s = 0.0

    def lines(self, target: Target) -> bytes:
        return b"Record-Route: <sip:token@192.0.2.1;lr>\r\n"

    def redirect(self, contacts: Sequence[Address]) -> Sequence[Target]:
        return [self.moved[c.uri] for c in contacts if c.uri in self.moved]

    def fail_over(self, target: Target, status: int, now: float) -> Target | None:
        self.failed.append((target.uri, status))
        return self.others.get(target.uri)

    def silence_s(self, now: float) -> float:
        return self.patience_s

    def returned(self, response: Message, data: bytes) -> bytes:
        return data


class Given:
    """An INVITE of alice that came at 0.0 and was forwarded to groups of devices."""

    def __init__(
        self,
        *groups: Sequence[Device],
        plan: Plan | None = None,
        breadth: int = 10,
        is_reliable: bool = False,
        invite: bytes = INVITE,
    ) -> None:
        self.sender = RecordingFlow(host=b"192.0.2.9", is_reliable=is_reliable)
        self.outcomes: list[tuple[bytes, int]] = []
        self.table = TransactionTable(RecordingUser(), timers=Timers())
        self.invites = Invites(self.table)
        node = NodeId("n1")
        proxy = InviteProxy(
            self.invites,
            Brancher(b"s" * 32, node=node),
            LoopGuard(b"s" * 32, node=node),
            times=CallTimes(),
            user=self,
        )
        request = parse(invite)
        server = self.invites.open_server(request, self.sender, None, 0.0)
        onward = Onward(self.sender, breadth=breadth, routing=plan or Plan())
        self.proxy = proxy
        self.fork = InviteFork(request, server, proxy, onward)
        self.fork.start(groups, 0.0)

    def fail_over(self, target: Target) -> Target | None:
        return None

    def on_outcome(self, target: Target, method: bytes, status: int) -> None:
        assert method == b"INVITE"
        self.outcomes.append((target.uri, status))

    def answer(
        self, device: Device, status: int, now: float, *, headers: Sequence[bytes] = ()
    ) -> None:
        """Let a device answer the first request that it was sent."""
        tag = device.uri[-1:]
        data = messages.response(device.way.sent[0], status, to_tag=b"b" + tag, headers=headers)
        assert self.invites.receive(parse(data), device.flow, now)

    def cancel(self, now: float) -> None:
        assert self.invites.cancel(parse(CANCEL), now)

    def wait(self, until: float) -> None:
        while self.table.next_due <= until:
            self.table.advance(self.table.next_due)

    def answers(self) -> list[Message]:
        """Return what the sender was sent since the last look, but 100."""
        found = [parse(data) for data in self.sender.take()]
        return [message for message in found if message.status > 100]

    def statuses(self) -> list[int]:
        return [message.status for message in self.answers()]
