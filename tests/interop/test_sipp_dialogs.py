"""SIPp calls SIPp through the server: failures, CANCEL, and requests within a dialog (RFC 3261 §16)."""

import pytest

from .phone import Account
from .script import (
    ack_failure,
    agree,
    call,
    cancel,
    final,
    get,
    late,
    late_success,
    pause,
    reply,
    ring,
    take,
    take_and_keep,
    take_and_remember,
    within,
    within_as_called,
)
from .sipp import Sipp, SippRun, free_port

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

CONTACT = "Contact: <sip:[user]@[local_ip]:[local_port]>"
ANSWERED = [*ring("180 Ringing", CONTACT), final("200 OK", CONTACT), take("ACK")]
ENDED = [take("BYE"), agree()]
CALLED = [*call(), get(180), get(200, routes=True), within("ACK", 2)]
HANGING_UP = [within("BYE", 9), get(200)]


def phone_of(bob: Account, sipp: Sipp, steps: list[str]) -> SippRun:
    """Register a phone of bob, and let it play ``steps``."""
    port = free_port()
    sipp.start("register", bob, port=port).wait()
    phone = sipp.start("phone", bob, port=port, steps=steps)
    phone.wait_listening()
    return phone


@pytest.mark.parametrize("status", ["404 Not Found", "480 Temporarily Unavailable", "488 Not Here"])
def test_a_failure_of_the_only_phone_comes_back(
    status: str, alice: Account, bob: Account, sipp: Sipp
) -> None:
    """§16.7 step 6: the best final response is the only one there is."""
    phone = phone_of(bob, sipp, [*ring(), final(status), take("ACK")])
    code = int(status[:3])

    sipp.start(
        "caller", alice, peer="bob", steps=[*call(), get(180), get(code), ack_failure()]
    ).wait()
    phone.wait()


def test_a_600_ends_all_branches(alice: Account, bob: Account, sipp: Sipp) -> None:
    """§16.7 step 5: a 6xx cancels the others, and goes up when they have ended."""
    ringing = phone_of(
        bob,
        sipp,
        [
            *ring(),
            take("CANCEL"),
            agree(),
            final("487 Request Terminated", cseq="CSeq: 2 INVITE"),
            take("ACK"),
        ],
    )
    declining = phone_of(
        bob,
        sipp,
        [
            *ring(),
            pause(300),
            final("600 Busy Everywhere"),
            take("ACK"),
        ],
    )
    steps = [*call(), get(180), get(180), get(600), ack_failure()]

    sipp.start("caller", alice, peer="bob", steps=steps).wait()

    declining.wait()
    ringing.wait()


def test_a_redirection_elsewhere_goes_up(alice: Account, bob: Account, sipp: Sipp) -> None:
    """§16.7 step 4 lets a proxy follow a 302; ours follows what it serves and passes up the rest."""
    elsewhere = "Contact: <sip:bob@elsewhere.example.net>"
    phone = phone_of(bob, sipp, [*ring(), final("302 Moved Temporarily", elsewhere), take("ACK")])
    calling = sipp.start(
        "caller", alice, peer="bob", steps=[*call(), get(180), get(302), ack_failure()]
    )

    calling.wait()
    phone.wait()
    assert "bob@elsewhere.example.net" in calling.received("SIP/2.0 302")[0]


def test_a_redirection_to_somebody_here_is_followed(
    alice: Account, bob: Account, sipp: Sipp
) -> None:
    """The same: the contact is an account of this server, whose phone rings."""
    answering = phone_of(alice, sipp, [*ANSWERED, *ENDED])
    moved = f"Contact: <{alice.aor}>"
    away = phone_of(bob, sipp, [take("INVITE"), final("302 Moved Temporarily", moved), take("ACK")])

    sipp.start("caller", alice, peer="bob", steps=[*CALLED, *HANGING_UP]).wait()

    away.wait()
    answering.wait()


def test_a_cancel_before_180_waits_for_it(alice: Account, bob: Account, sipp: Sipp) -> None:
    """§9.1: no CANCEL goes to the phone before its first provisional response."""
    phone = phone_of(
        bob,
        sipp,
        [
            take("INVITE"),
            pause(400),
            reply("180 Ringing"),
            take("CANCEL"),
            agree(),
            final("487 Request Terminated", cseq="CSeq: 2 INVITE"),
            take("ACK"),
        ],
    )
    calling = sipp.start(
        "caller",
        alice,
        peer="bob",
        steps=[
            *call()[:-1],
            get(100),
            cancel(),
            get(200),
            get(180, is_optional=True),
            get(487),
            ack_failure(),
        ],
    )

    calling.wait()
    phone.wait()


@pytest.mark.parametrize("method", ["INFO", "UPDATE", "REFER", "NOTIFY", "FROBNICATE"])
def test_requests_of_a_dialog_go_by_its_route(
    method: str, alice: Account, bob: Account, sipp: Sipp
) -> None:
    """§16.6 and §16.5: "it MUST NOT" matter which method it is; RFC 3311, 6086, 3515."""
    phone = phone_of(bob, sipp, [*ANSWERED, take(method), agree(), *ENDED])
    steps = [*CALLED, within(method, 3, "X-Kept: as it was"), get(200), *HANGING_UP]

    sipp.start("caller", alice, peer="bob", steps=steps).wait()

    phone.wait()
    assert "X-Kept: as it was" in phone.received(f"{method} ")[0]


def test_another_invite_within_the_dialog(alice: Account, bob: Account, sipp: Sipp) -> None:
    """§14: a re-INVITE and its ACK go by the route, without forking or digest."""
    again = [take("INVITE"), agree(), take("ACK")]
    phone = phone_of(bob, sipp, [*ANSWERED, *again, *ENDED])
    steps = [
        *CALLED,
        within("INVITE", 3),
        get(100, is_optional=True),
        get(200),
        within("ACK", 3),
        *HANGING_UP,
    ]

    sipp.start("caller", alice, peer="bob", steps=steps).wait()
    phone.wait()


def test_another_invite_of_the_one_who_was_called(alice: Account, bob: Account, sipp: Sipp) -> None:
    """Issue calls, shown by 1: "re-INVITE and BYE both ways"; here both from the callee."""
    phone = phone_of(
        bob,
        sipp,
        [
            take_and_remember("INVITE"),
            reply("180 Ringing", CONTACT),
            late_success(),
            take("ACK"),
            within_as_called("INVITE", 1),
            get(100, is_optional=True),
            get(200),
            within_as_called("ACK", 1),
            within_as_called("BYE", 2),
            get(200),
        ],
    )
    steps = [*CALLED, take("INVITE"), agree(), take("ACK"), take("BYE"), agree()]

    sipp.start("caller", alice, peer="bob", steps=steps).wait()
    phone.wait()


def test_a_late_200_of_another_phone_reaches_the_caller_too(
    alice: Account, bob: Account, sipp: Sipp
) -> None:
    """Issue calls, shown by 1: "late 2xx": the phone had answered before its CANCEL came. §16.7
    step 5 has each 2xx go up, after another final response as well."""
    early = phone_of(bob, sipp, [*ANSWERED, *ENDED])
    tardy = phone_of(
        bob,
        sipp,
        [
            take_and_remember("INVITE"),
            reply("180 Ringing", CONTACT),
            take("CANCEL"),
            agree(),
            pause(300),
            late_success(),
        ],
    )
    answered = [get(180), get(180), get(200, routes=True), within("ACK", 2)]
    steps = [*call(), *answered, get(200), *HANGING_UP]

    calling = sipp.start("caller", alice, peer="bob", steps=steps)
    calling.wait()
    early.wait()
    tardy.wait()
    assert len(calling.received("SIP/2.0 200")) == 3, "of two phones, and of BYE"


def test_a_reliable_provisional_response_and_its_prack(
    alice: Account, bob: Account, sipp: Sipp
) -> None:
    """RFC 3262: Require and RSeq go up, PRACK goes by the Record-Route of the 183."""
    phone = phone_of(
        bob,
        sipp,
        [
            take_and_keep("INVITE"),
            reply("183 Session Progress", CONTACT, "Require: 100rel", "RSeq: 1"),
            take("PRACK"),
            agree(),
            late("200 OK", CONTACT, cseq="CSeq: 2 INVITE"),
            take("ACK"),
            *ENDED,
        ],
    )
    steps = [
        *call("Supported: 100rel"),
        get(183, routes=True),
        within("PRACK", 3, "RAck: 1 2 INVITE"),
        get(200),
        get(200),
        within("ACK", 2),
        *HANGING_UP,
    ]

    sipp.start("caller", alice, peer="bob", steps=steps).wait()
    phone.wait()
    assert "RAck: 1 2 INVITE" in phone.received("PRACK ")[0]


@pytest.mark.server_settings(SIPGRAM_CALLS__TIMER_C_S="1")
def test_timer_c_gives_up_a_phone_that_only_rings(alice: Account, bob: Account, sipp: Sipp) -> None:
    """§16.8: when it fires "the proxy MUST generate a CANCEL"; the caller hears 408 (§16.7)."""
    steps = [*ring(), take("CANCEL"), agree()]
    steps += [final("487 Request Terminated", cseq="CSeq: 2 INVITE"), take("ACK")]
    phone = phone_of(bob, sipp, steps)

    sipp.start(
        "caller", alice, peer="bob", steps=[*call(), get(180), get(408), ack_failure()]
    ).wait()

    phone.wait()
