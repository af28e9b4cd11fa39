"""Every XML reader of presence on what nobody should send: read or refused, quickly (RFC 4745 §12)."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipgram.errors import PeerError
from sipgram.payload.state import composition, dialog_info, pidf, presence_rules, winfo
from sipgram.payload.state.presence_rules import POLICY, Handling, Provided, RuleSet
from sipgram.payload.xml import BYTES_MAX

Reader = Callable[[bytes], object]


def composed(data: bytes) -> bytes:
    """Read, compose with itself and write, as for a watcher and for one who sees less."""
    document = composition.Document.parse(data)
    state = composition.compose("sip:b@x", [(1, document), (2, document)])
    return state.written(Provided.ALL) + state.written(Provided(services=True, persons=True))


def dialogs(data: bytes) -> bytes:
    found = dialog_info.parse(data)
    return dialog_info.compose("sip:b@x", [found, found], version=1)


READERS: tuple[Reader, ...] = (
    composed,
    dialogs,
    pidf.summary,
    winfo.Document.parse,
    RuleSet.parse,
    presence_rules.identities,
    lambda data: presence_rules.with_identity(data, "sip:a@x", Handling.BLOCK),
)
RULE = (
    f'<ruleset xmlns="{POLICY}" xmlns:pr="{presence_rules.RULES}"><rule id="a"><conditions>'
    '<identity><one id="sip:a@x"/><many domain="x"><except id="sip:b@x"/></many></identity>'
    '<sphere value="work"/><validity><from>2026-13-01T00:00:00Z</from>'
    "<until>2027-01-01T00:00:00+02:00</until></validity></conditions><actions>"
    "<pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-services>"
    "<pr:all-services/></pr:provide-services></transformations></rule></ruleset>"
).encode()
SEEDS: tuple[bytes, ...] = (
    *(RULE, RULE.replace(b"2026-13", b"2026-12"), RULE.replace(b"2026", b"0000"), b"", b"<a/>"),
    pidf.build("sip:b@x", is_open=True, note="n", activity="away", contact="sip:b@x"),
    winfo.build(
        [winfo.Watcher("1", "sip:a@x", "active", "approved")],
        version=1,
        is_full=True,
        resource="sip:b@x",
        package="presence",
    ),
    f'<dialog-info xmlns="{dialog_info.SPACE}"><dialog id="1"/></dialog-info>'.encode(),
)
ROOTS = (
    f'<presence xmlns="{pidf.PIDF}" xmlns:p="{pidf.MODEL}"',
    f'<ruleset xmlns="{POLICY}"',
    f'<watcherinfo xmlns="{winfo.SPACE}" version="1"',
    f'<dialog-info xmlns="{dialog_info.SPACE}"',
)
BOMB = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@given(data=st.data())
def test_whatever_comes_is_read_or_refused(data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS))
    at = data.draw(st.integers(0, len(seed)))
    other = data.draw(st.integers(0, len(seed)))
    junk = data.draw(st.binary(max_size=6) | st.sampled_from(SEEDS))
    for document in (seed, seed[:at] + junk + seed[other:]):
        for reader in READERS:
            try:
                reader(document)
            except PeerError:
                continue


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("root", ROOTS)
def test_entities_are_never_expanded(reader: Reader, root: str) -> None:
    body = f"{BOMB}{root}>&b;</{root[1:].split()[0]}>".encode()

    with pytest.raises(PeerError, match="document type"):
        reader(body)


def longest(root: str, repeated: str) -> bytes:
    """Return the largest document of one kind that is read at all."""
    end = f"</{root[1:].split()[0]}>"
    count = min(9_990, (BYTES_MAX - len(root) - len(end) - 1) // len(repeated) - 1)
    return f"{root}>{repeated * count}{end}".encode()


HEAVY = (
    longest(ROOTS[0], '<tuple id="t"/>'),
    longest(ROOTS[0], '<x xmlns="u"/>'),
    longest(ROOTS[0], '<p:device id="d"/>'),
    longest(ROOTS[0], "<note>n</note>"),
    longest(ROOTS[1], '<rule id="r"/>'),
    longest(ROOTS[2], "<watcher-list/>"),
    longest(ROOTS[3], '<dialog id="d"/>'),
    (ROOTS[0] + "".join(f" a{n}='" + "'" for n in range(20_000)) + "/>").encode(),
    (ROOTS[1] + "".join(f" xmlns:n{n}='u{n}'" for n in range(9_000)) + "/>").encode(),
)


@pytest.mark.parametrize("body", HEAVY, ids=range(len(HEAVY)))
def test_the_largest_documents_take_no_more_than_moments(body: bytes) -> None:
    """Work grows with the bytes: what is quadratic would take minutes here."""
    began = time.process_time()
    for reader in READERS:
        try:
            written = reader(body)
        except PeerError:
            continue
        if isinstance(written, bytes):
            assert len(written) < 8 * BYTES_MAX

    assert time.process_time() - began < 5.0
