"""The location table keeps its bounds, and one entry for one AoR (RFC 3261 §10; D4, D5)."""

import pytest

from sipgram.errors import ParseError, Refusal, Unavailable
from sipgram.services.registrar import location, residents
from sipgram.services.registrar.location import AorEntry, Binding, Locations
from sipgram.services.registrar.residents import OpenAccounts
from sipgram.sip.message.uri import Aor
from sipgram.testing.recording import RecordingFlow


class FewAccounts:
    """bob has account 1, and +15550100 too; ``ids`` may change."""

    def __init__(self) -> None:
        self.ids = {Aor("bob", "example.com"): 1, Aor("+15550100", ""): 1}

    def account_id_of(self, aor: Aor) -> int | None:
        return self.ids.get(aor)

    def owner(self, aor: Aor) -> tuple[int, Aor] | None:
        number = self.ids.get(aor)
        if number is None:
            return None
        return number, next(name for name, known in self.ids.items() if known == number)

    def members_of(self, aor: Aor) -> list[Aor]:
        return []


def table(*, accounts: residents.Accounts | None = None, bindings_max: int = 10) -> Locations:
    return Locations(
        ("Example.com", "example.org"),
        accounts=accounts or OpenAccounts(),
        bindings_max=bindings_max,
        own_addresses={("192.0.2.100", 5060), ("2001:db8::1", 5060)},
    )


def bound(
    entry: AorEntry,
    *,
    port: int = 5060,
    expires: float = 60.0,
    methods: frozenset[bytes] = frozenset(),
) -> Binding:
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


@pytest.mark.parametrize(
    "uri",
    [
        b"sip:bob@example.com",
        b"sip:bob@EXAMPLE.com",
        b"sip:bob@example.com:5070",
        b"sip:%62ob@example.com;transport=tcp",
        b"sips:bob@example.com",
        b"im:bob@example.com",
        b"sip:bob@192.0.2.100",
        b"sip:bob@192.0.2.100:5060",
        b"sip:bob@[2001:db8::1]",
    ],
)
def test_d4_every_spelling_finds_the_one_entry(uri: bytes) -> None:
    locations = table(accounts=FewAccounts())

    assert locations.find(uri) is locations.find(b"sip:bob@example.com")
    assert locations.find(uri) is locations.find(uri)


def test_d4_users_are_case_sensitive_and_domains_apart() -> None:
    locations = table()

    entries = [
        locations.find(uri)
        for uri in (b"sip:bob@example.com", b"sip:Bob@example.com", b"sip:bob@example.org")
    ]

    assert len({id(entry) for entry in entries}) == 3


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        (b"sip:bob@elsewhere.example", 403),
        (b"sip:carol@example.com", 404),
        (b"sip:example.com", 404),
        (b"tel:+15550199", 404),
    ],
)
def test_whom_we_do_not_have(uri: bytes, status: int) -> None:
    with pytest.raises(Refusal) as caught:
        table(accounts=FewAccounts()).find(uri)

    assert caught.value.status == status


def test_a_number_belongs_to_no_domain() -> None:
    assert table(accounts=FewAccounts()).find(b"tel:+1-555-0100").account_id == 1


def test_a_uri_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ParseError):
        table().find(b"sip:bob@exa mple.com")


def test_a_user_less_uri_is_nobody_when_all_are_let_in() -> None:
    with pytest.raises(Refusal, match="404"):
        table().find(b"sip:example.com")


def test_spellings_of_one_aor_are_remembered_up_to_a_bound() -> None:
    locations = table()

    entries = {
        id(locations.find(b"sip:bob@example.com;x=%d" % n))
        for n in range(location.URIS_PER_AOR_MAX * 4)
    }

    assert len(entries) == 1
    assert len(locations._by_uri) == location.URIS_PER_AOR_MAX


def test_what_is_remembered_of_strangers_is_bounded_in_bytes_too() -> None:
    """A flood of 60 KB names must not cost 60 KB each."""
    locations = table()

    for n in range(100):
        locations.find(b"sip:%05d%b@example.com" % (n, b"x" * 60_000))
        locations.find(b"sip:bob@example.com;x=%05d%b" % (n, b"x" * 60_000))

    held = sum(len(uri) for uri in locations._by_uri)
    held += sum(len(aor.user) for aor in locations._by_aor)
    assert held < 60_000


def test_a_flood_of_random_names_is_bounded_and_the_bound_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(location, "IDLE_AORS_MAX", 100)
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    binding = bound(entry)
    locations.attach(entry, binding)

    for n in range(1_000):
        locations.find(b"sip:stranger%d@example.com" % n)

    assert locations.find(b"sip:bob@example.com") is entry
    assert entry.bindings == [binding]
    assert len(locations._idle) == 100
    assert len(locations._by_aor) == 101
    assert len(locations._by_uri) == 101


@pytest.mark.parametrize("idle", [99, 100, 101])
def test_the_longest_idle_goes_when_one_more_comes(
    monkeypatch: pytest.MonkeyPatch, idle: int
) -> None:
    monkeypatch.setattr(location, "IDLE_AORS_MAX", 100)
    locations = table()
    first = locations.find(b"sip:0@example.com")

    for n in range(1, idle):
        locations.find(b"sip:%d@example.com" % n)

    assert (locations.find(b"sip:0@example.com") is first) == (idle <= 100)


def test_eviction_does_not_split_an_aor_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that holds an entry over an eviction attaches to what others find."""
    monkeypatch.setattr(location, "IDLE_AORS_MAX", 2)
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    for n in range(5):
        locations.find(b"sip:%d@example.com" % n)

    locations.attach(entry, bound(entry))

    assert locations.find(b"sip:bob@example.com") is entry
    assert locations.find(b"sip:BOB@example.com") is not entry


def test_a_binding_that_ends_makes_its_aor_idle_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "IDLE_AORS_MAX", 2)
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    binding = bound(entry)
    locations.attach(entry, binding)
    for n in range(5):
        locations.find(b"sip:%d@example.com" % n)

    locations.detach(entry, binding)
    locations.detach(entry, binding)  # Twice is no error.

    assert locations.find(b"sip:bob@example.com") is entry
    assert locations.bindings_count == 0
    assert binding.entry is None
    assert len(locations._idle) == 2


@pytest.mark.parametrize(("there", "fits"), [(8, True), (9, True), (10, False)])
def test_the_table_has_a_bound(there: int, fits: bool) -> None:
    locations = table(bindings_max=10)
    entry = locations.find(b"sip:bob@example.com")
    for n in range(there):
        locations.attach(entry, bound(entry, port=1000 + n))

    if fits:
        locations.attach(entry, bound(entry))
    else:
        with pytest.raises(Unavailable, match="10 bindings"):
            locations.attach(entry, bound(entry))

    assert locations.bindings_count == there + fits


def test_sweeping_reaches_every_aor_in_turn() -> None:
    locations = table(bindings_max=100)
    for n in range(10):
        entry = locations.find(b"sip:%d@example.com" % n)
        locations.attach(entry, bound(entry, expires=60.0))

    locations.sweep(60.0 - 1e-3, at_most=10)
    assert locations.bindings_count == 10

    counts = []
    for _ in range(3):
        locations.sweep(60.0, at_most=4)
        counts.append(locations.bindings_count)
    assert counts == [6, 2, 0]


@pytest.mark.parametrize("status", [404, 410, 430])
def test_an_answer_that_says_gone_ends_the_binding(status: int) -> None:
    """DELIVERY.md, the table: "404 410 430, dead flow | kept; the binding ends"."""
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    binding = bound(entry)
    locations.attach(entry, binding)

    locations.on_outcome(binding, b"MESSAGE", status)
    locations.on_outcome(binding, b"MESSAGE", status)

    assert entry.bindings == []


@pytest.mark.parametrize("status", [405, 501])
def test_d6_a_refused_method_is_not_tried_again(status: int) -> None:
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    binding = bound(entry)
    locations.attach(entry, binding)

    locations.on_outcome(binding, b"MESSAGE", status)

    assert not binding.takes(b"MESSAGE")
    assert binding.takes(b"OPTIONS")


@pytest.mark.parametrize("status", [0, 400, 415, 480, 486, 500, 603])
def test_other_answers_leave_the_binding_alone(status: int) -> None:
    locations = table()
    entry = locations.find(b"sip:bob@example.com")
    binding = bound(entry)
    locations.attach(entry, binding)

    locations.on_outcome(binding, b"MESSAGE", status)

    assert entry.bindings == [binding]
    assert binding.takes(b"MESSAGE")


def test_d6_a_contact_takes_what_it_names_or_anything() -> None:
    entry = table().find(b"sip:bob@example.com")

    assert bound(entry).takes(b"MESSAGE")
    assert bound(entry, methods=frozenset((b"MESSAGE",))).takes(b"MESSAGE")
    assert not bound(entry, methods=frozenset((b"INVITE",))).takes(b"MESSAGE")


def test_d4_a_name_made_again_inherits_no_binding() -> None:
    accounts = FewAccounts()
    locations = table(accounts=accounts)
    entry = locations.find(b"sip:bob@example.com")
    locations.attach(entry, bound(entry))

    locations.forget_accounts()
    assert entry.bindings

    accounts.ids[Aor("bob", "example.com")] = 2
    locations.forget_accounts()

    again = locations.find(b"sip:bob@example.com")
    assert again is not entry
    assert again.bindings == []
    assert again.account_id == 2
    assert locations.bindings_count == 0


def test_an_account_that_is_gone_is_a_404_again() -> None:
    accounts = FewAccounts()
    locations = table(accounts=accounts)
    locations.find(b"sip:bob@example.com")

    del accounts.ids[Aor("bob", "example.com")]
    locations.forget_accounts()

    with pytest.raises(Refusal, match="404"):
        locations.find(b"sip:bob@example.com")


def test_own_addresses_are_known_with_their_port() -> None:
    locations = table()

    assert locations.is_own_address("192.0.2.100", 5060)
    assert locations.is_own_address("[2001:db8::1]", 5060)
    assert not locations.is_own_address("192.0.2.100", 5070)
    assert not locations.is_own_address("192.0.2.1", 5060)


@pytest.mark.parametrize(
    "uri",
    [b"sip:bob@example.com", b"tel:+15550100", b"sip:+15550100@example.com;user=phone"],
)
def test_d4_every_name_of_an_account_leads_to_its_devices(uri: bytes) -> None:
    locations = table(accounts=FewAccounts())
    entry = locations.find(b"sip:bob@example.com")

    assert locations.find(uri) is entry
    assert locations.find(uri) is entry, "and is found again"


def test_d4_a_name_that_moves_takes_nobody_with_it() -> None:
    accounts = FewAccounts()
    locations = table(accounts=accounts)
    bob = locations.find(b"tel:+15550100")

    accounts.ids[Aor("+15550100", "")] = 2
    locations.forget_accounts()

    assert locations.find(b"tel:+15550100") is not bob
    assert locations.find(b"sip:bob@example.com") is bob
