"""A server takes in what commands did: each kind of news once, and nothing is counted twice."""

from sipgram.services.messaging.operator.commands import Change
from sipgram.services.messaging.operator.news import News
from sipgram.services.messaging.store import MessageState

from ..house import A, House


class Told:
    """Commands whose news a test makes up."""

    def __init__(self, house: House) -> None:
        self.changes: list[Change] = []
        self._store = house.store

    def tell(self, kind: str, id: int = 0, device: bytes = b"") -> None:
        seq = len(self.changes) + 1
        change = Change(seq, kind, id, "sip:bob@example.com", device)  # type: ignore[arg-type]  # A kind.
        self.changes.append(change)

    async def newest(self) -> int:
        return 0

    async def news(self, after: int) -> list[Change]:
        return self.changes[after:]

    async def ended(self, id: int) -> tuple[str, bytes, int] | None:
        if self._store.states[id] == "waiting":
            return None
        message = self._store.messages[id]
        return message.aor, message.sender, message.size


def rig() -> tuple[House, Told, News]:
    house = House()
    assert house.mailroom is not None
    told = Told(house)
    return house, told, News(told, house.store, house.mailroom)  # type: ignore[arg-type]  # Told.


def waiting(house: House) -> int:
    assert house.mailroom is not None
    return house.mailroom.ledger.waiting_count


async def test_a_cancelled_message_is_delivered_to_nobody() -> None:
    house, told, news = rig()
    house.send(body=b"one")
    house.send(body=b"two")
    first = min(house.store.states)
    state: MessageState = "cancelled"
    house.store.states[first] = state
    told.tell("cancel", first)
    told.tell("cancel", first)

    await news.refresh()

    assert waiting(house) == 1
    assert house.drained(house.bind("bob")) == [b"two"]
    assert waiting(house) == 0


async def test_one_that_a_device_took_meanwhile_is_not_counted_twice() -> None:
    house, told, news = rig()
    house.send()
    (id,) = house.store.states
    assert house.drained(house.bind("bob")) == [b"hi"]
    told.tell("cancel", id)
    told.tell("end", id)
    told.tell("requeue", id)

    await news.refresh()

    assert waiting(house) == 0


async def test_one_whose_sender_is_to_hear_is_ended_here() -> None:
    house, told, news = rig()
    house.send()
    (id,) = house.store.states
    told.tell("end", id)

    await news.refresh()

    assert (waiting(house), house.inbox_states) == (0, ["cancelled"])


async def test_a_requeued_message_goes_to_who_is_there() -> None:
    house, told, news = rig()
    house.send()
    (id,) = house.store.states
    phone = house.bind("bob", instance=A)
    house.advance(0.3)
    house.answer_as(phone, 415)
    assert house.inbox_states == ["failed"]
    house.store.states[id] = "waiting"
    house.store.copies.clear()
    told.tell("requeue", id)

    await news.refresh()

    assert waiting(house) == 1
    assert house.drained(phone) == [b"hi"]
    assert (waiting(house), house.inbox_states) == (0, ["delivered"])


async def test_a_forgotten_device_is_waited_for_no_more() -> None:
    house, told, news = rig()
    house.send()
    assert house.mailroom is not None
    inbox = house.mailroom.ledger.find("sip:bob@example.com")
    assert inbox is not None
    inbox.device(A, now=house.clock.now)
    told.tell("forget", device=A)
    told.tell("forget", device=A)
    told.tell("read", device=b"root")

    await news.refresh()

    assert A not in inbox.devices
    assert waiting(house) == 1  # For whoever comes first.
