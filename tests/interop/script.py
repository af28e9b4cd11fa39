"""SIPp scenarios put together from steps, for the many short cases of a call (RFC 3261 §13-§16).

A caller's steps begin with ``call()``, a phone's with ``ring()``; each is XML as SIPp takes it.
"""

from collections.abc import Sequence

VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch="
CONTACT = "Contact: <sip:[user]@[local_ip]:[local_port];transport=[transport]>"
BODY = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio 6000 RTP/AVP 0
"""
NO_BODY = "Content-Length: 0\n\n"


def scenario(steps: Sequence[str]) -> str:
    """Return the file that plays these steps."""
    xml = "\n".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="steps">\n{xml}\n</scenario>\n'


def get(status: int, *, is_optional: bool = False, routes: bool = False) -> str:
    """Wait for a response; ``routes``: its Record-Route is the dialog's."""
    more = ' optional="true"' * is_optional + ' rrs="true"' * routes
    return f'<recv response="{status}"{more}/>'


def take(method: str) -> str:
    """Wait for a request."""
    return f'<recv request="{method}"/>'


def take_and_keep(method: str) -> str:
    """Wait for a request whose two Vias are answered later, after other requests (``late``)."""
    vias = "".join(
        f'<ereg regexp=" .*" search_in="hdr" header="Via:" occurrence="{n}" assign_to="via{n}"/>'
        for n in (1, 2)
    )
    return f'<recv request="{method}"><action>{vias}</action></recv>'


def take_and_remember(method: str) -> str:
    """Wait for the request that begins the dialog: routes, the caller and the Vias are kept."""
    kept = [("From:", "caller", 1), ("Via:", "via1", 1), ("Via:", "via2", 2)]
    kept.append(("Record-Route:", "route", 1))
    actions = "".join(
        f'<ereg regexp=" .*" search_in="hdr" header="{header}" occurrence="{n}" assign_to="{name}"/>'
        for header, name, n in kept
    )
    return f'<recv request="{method}" rrs="true"><action>{actions}</action></recv>'


def late_success() -> str:
    """Answer the INVITE of ``take_and_remember`` 200, after other requests."""
    head = "SIP/2.0 200 OK\nVia:[$via1]\nVia:[$via2]\nRecord-Route:[$route]\nFrom:[$caller]"
    tail = f"[last_Call-ID:]\nCSeq: 2 INVITE\n{CONTACT}\n{NO_BODY}"
    return send(f"{head}\nTo: <sip:[user]@[domain]>;tag=sipp-[pid]\n{tail}", repeats=True)


def within_as_called(method: str, sequence: int) -> str:
    """A request of the dialog from the one who was called, after ``take_and_remember``."""
    head = f"{method} [next_url] SIP/2.0\n{VIA}[branch];rport\nMax-Forwards: 70\n[routes]"
    who = "From: <sip:[user]@[domain]>;tag=sipp-[pid]\nTo:[$caller]"
    tail = f"Call-ID: [call_id]\nCSeq: {sequence} {method}\n{CONTACT}\n{NO_BODY}"
    return send(f"{head}\n{who}\n{tail}", repeats=method != "ACK")


def late(status: str, *lines: str, cseq: str) -> str:
    """Answer the INVITE of ``take_and_keep`` for good; its To has our tag by now."""
    head = f"SIP/2.0 {status}\nVia:[$via1]\nVia:[$via2]\n[last_From:]\n[last_To:]"
    more = "".join(f"{line}\n" for line in lines)
    return send(f"{head}\n[last_Call-ID:]\n{cseq}\n{more}{NO_BODY}", repeats=True)


def send(text: str, *, repeats: bool = False) -> str:
    retransmission = ' retrans="500"' * repeats
    return f"<send{retransmission}><![CDATA[\n{text}\n]]></send>"


def pause(milliseconds: int) -> str:
    return f'<pause milliseconds="{milliseconds}"/>'


# ---- the caller ----------------------------------------------------------------------------


def call(*lines: str) -> list[str]:
    """INVITE with digest; a 100 may come. ``lines`` are more headers."""
    return [
        _invite("a", 1, lines),
        '<recv response="407" auth="true"/>',
        ack_failure(1),
        _invite("b", 2, ("[authentication]", *lines)),
        get(100, is_optional=True),
    ]


def _invite(branch: str, sequence: int, lines: Sequence[str]) -> str:
    return _own("INVITE", _branch(branch), sequence, lines, BODY)


def cancel() -> str:
    """Take the call back (§9.1)."""
    return _own("CANCEL", _branch("b"), 2, (), NO_BODY)


def ack_failure(sequence: int = 2) -> str:
    """The ACK of a failure, hop by hop (§17.1.1.3)."""
    head = (
        "ACK sip:[peer]@[domain] SIP/2.0\n[last_Via:]\nMax-Forwards: 70\n[last_From:]\n[last_To:]"
    )
    return send(f"{head}\nCall-ID: [call_id]\nCSeq: {sequence} ACK\n{NO_BODY}")


def within(method: str, sequence: int, *lines: str) -> str:
    """A request of the dialog, by its routes (§12.2.1.1)."""
    head = f"{method} [next_url] SIP/2.0\n{VIA}[branch];rport\nMax-Forwards: 70"
    who = "From: <sip:[user]@[domain]>;tag=[pid]\nTo: <sip:[peer]@[domain]>[peer_tag_param]"
    more = "".join(f"{line}\n" for line in lines)
    tail = f"Call-ID: [call_id]\nCSeq: {sequence} {method}\n{CONTACT}\n[routes]\n{more}{NO_BODY}"
    return send(f"{head}\n{who}\n{tail}", repeats=method != "ACK")


def _own(method: str, branch: str, sequence: int, lines: Sequence[str], body: str) -> str:
    head = f"{method} sip:[peer]@[domain] SIP/2.0\n{VIA}{branch};rport\nMax-Forwards: 70"
    who = "From: <sip:[user]@[domain]>;tag=[pid]\nTo: <sip:[peer]@[domain]>"
    more = "".join(f"{line}\n" for line in lines)
    tail = f"Call-ID: [call_id]\nCSeq: {sequence} {method}\n{CONTACT}\n{more}{body}"
    return send(f"{head}\n{who}\n{tail}", repeats=True)


def _branch(name: str) -> str:
    return f"z9hG4bK-[pid]-[call_number]-{name}"


# ---- the phone -----------------------------------------------------------------------------


def ring(status: str = "180 Ringing", *lines: str) -> list[str]:
    """Take the INVITE and say that it rings."""
    return [take("INVITE"), reply(status, *lines)]


def reply(status: str, *lines: str) -> str:
    """Answer the last request that came, as the one who was called."""
    return _reply(status, "[last_CSeq:]", lines, repeats=False)


def final(status: str, *lines: str, cseq: str = "[last_CSeq:]") -> str:
    """Answer the INVITE for good; repeated until its ACK."""
    return _reply(status, cseq, lines, repeats=True)


def _reply(status: str, cseq: str, lines: Sequence[str], *, repeats: bool) -> str:
    more = "".join(f"{line}\n" for line in lines)
    head = f"SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]"
    tail = f"[last_Call-ID:]\n{cseq}\n{more}{NO_BODY}"
    return send(f"{head}\n[last_To:];tag=sipp-[pid]\n{tail}", repeats=repeats)


def agree() -> str:
    """200 to a request within the dialog: its To has the tag."""
    head = "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]"
    return send(f"{head}\n[last_Call-ID:]\n[last_CSeq:]\n{CONTACT}\n{NO_BODY}")
