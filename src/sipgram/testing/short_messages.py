"""Short messages at random, of every kind that the encoder makes (TS 24.011, TS 23.040)."""

from random import Random
from typing import Final

from sipgram.sms import gsm
from sipgram.sms.address import NAME_CHARACTERS_MAX, SEMI_OCTETS_MAX, Address, TypeOfNumber
from sipgram.sms.cause import CAUSES_TO_MS, CAUSES_TO_NETWORK, FailureCause
from sipgram.sms.coding import Alphabet, DataCoding
from sipgram.sms.concatenation import Encoding
from sipgram.sms.gsm import Language, has_locking_table
from sipgram.sms.header import Concatenation, Element, Header, Ports
from sipgram.sms.rp import Direction, RpAck, RpData, RpError, RpMessage, RpSmma
from sipgram.sms.timestamp import Timestamp
from sipgram.sms.tpdu.command import Command
from sipgram.sms.tpdu.deliver import Deliver
from sipgram.sms.tpdu.parameters import NONE, Parameters
from sipgram.sms.tpdu.parser import Tpdu
from sipgram.sms.tpdu.reports import DeliverReport, SubmitReport
from sipgram.sms.tpdu.status_report import StatusReport
from sipgram.sms.tpdu.submit import Submit
from sipgram.sms.user_data import UserData, capacity
from sipgram.sms.validity import (
    AbsoluteValidity,
    EnhancedValidity,
    RelativeValidity,
    Validity,
)

_WIDE_CHARACTERS: Final = "aZ €ğşñãक¿中兴通讯\u00a0😀🫥\n"
_PLAIN_CHARACTERS: Final = gsm.decode(bytes(range(0x1B)) + bytes(range(0x1C, 0x80)))
_SHIFTED_CHARACTERS: Final = "^{}\\[~]|€"
_YEAR_2000_UTC_S: Final = 946_684_800 + 86_400
_YEAR_2080_UTC_S: Final = 3_471_292_800
_DIGITS_MIN: Final = 3
_SHORT_OCTETS_MAX: Final = 100
"Of user data in a report, which has less room."
_CODINGS: Final = {
    alphabet: [
        coding
        for coding in map(DataCoding.of, range(256))
        if coding.alphabet is alphabet and not coding.is_compressed and coding.sent_as is None
    ]
    for alphabet in Alphabet
}


def random_message(source: Random) -> RpMessage:
    """Return an RP message; read and written again it is the same."""
    direction = source.choice(tuple(Direction))
    is_to_ms = direction is Direction.TO_MS
    reference = source.randrange(256)
    match source.randrange(6):
        case 0:
            return RpSmma(reference=reference)
        case 1:
            report = _report(source, direction, may_fail=False) if source.randrange(3) else None
            return RpAck(
                direction=direction,
                reference=reference,
                user_data=None if report is None else bytes(report),
            )
        case 2:
            report = _report(source, direction, may_fail=True) if source.randrange(3) else None
            causes = CAUSES_TO_MS if is_to_ms else CAUSES_TO_NETWORK
            return RpError(
                direction=direction,
                reference=reference,
                cause=source.choice(sorted(causes)),
                diagnostic=source.randbytes(source.randrange(2)),
                user_data=None if report is None else bytes(report),
            )
        case _:
            address = random_number(source)
            return RpData(
                direction=direction,
                reference=reference,
                user_data=bytes(random_tpdu(source, direction)),
                originator=address if is_to_ms else None,
                destination=None if is_to_ms else address,
            )


def random_tpdu(source: Random, direction: Direction) -> Tpdu:
    """Return a TPDU that an RP-DATA takes in ``direction``."""
    is_usual = source.randrange(4) > 0
    if direction is Direction.TO_NETWORK:
        return _submit(source) if is_usual else _command(source)
    return _deliver(source) if is_usual else _status_report(source)


def random_number(source: Random) -> Address:
    """Return a number of three to twenty digits: no E.164 number is shorter."""
    count = source.randint(_DIGITS_MIN, SEMI_OCTETS_MAX)
    kinds = [kind for kind in TypeOfNumber if kind is not TypeOfNumber.ALPHANUMERIC]
    digits = "".join(source.choices("0123456789", k=count))
    return Address(digits, source.choice(kinds), source.choice((0, 1, 3, 8, 9)))


def random_user_data(
    source: Random, coding: DataCoding, *, octets_max: int | None = None
) -> UserData:
    """Return user data in the alphabet of ``coding``, for as much as fits."""
    encoding = Encoding(coding.alphabet)
    if coding.alphabet is Alphabet.GSM7 and source.randrange(3) == 0:
        single = source.choice(tuple(Language))
        locking = source.choice([each for each in Language if has_locking_table(each)])
        encoding = Encoding(coding.alphabet, locking=locking, single=single)
    elements = (*_elements(source), *encoding.elements())
    header = Header(elements) if elements else None
    room = capacity(coding.alphabet, header)
    if octets_max is not None:
        room = min(room, octets_max)
    body = _body(source, encoding, source.randint(0, room))
    return UserData(coding.alphabet, body, header)


def _body(source: Random, encoding: Encoding, size: int) -> bytes:
    if encoding.alphabet is Alphabet.OCTETS:
        return source.randbytes(size)
    characters = _PLAIN_CHARACTERS * 2 + _SHIFTED_CHARACTERS
    if encoding.alphabet is Alphabet.UCS2:
        characters = _WIDE_CHARACTERS
    body = b""
    while True:
        # A language's own table may lack what the default one has.
        more = encoding.encode(source.choice(characters)) or b" "
        if len(body) + len(more) > size:
            return body
        body += more


def _elements(source: Random) -> tuple[Element, ...]:
    if source.randrange(2):
        return ()
    elements = []
    if source.randrange(2):
        total = source.randint(1, 255)
        is_wide = bool(source.randrange(2))
        reference = source.randrange(0x10000 if is_wide else 0x100)
        concatenation = Concatenation(reference, total, source.randint(1, total), is_wide)
        elements.append(concatenation.element())
    if source.randrange(2):
        is_wide = bool(source.randrange(2))
        ports_max = 0xFFFF if is_wide else 0xFF
        destination, origin = source.randint(0, ports_max), source.randint(0, ports_max)
        elements.append(Ports(destination, origin, is_wide=is_wide).element())
    if source.randrange(3) == 0:
        elements.append(Element(source.randint(0x80, 0x9F), source.randbytes(source.randrange(9))))
    return tuple(elements)


def _coding(source: Random) -> DataCoding:
    return source.choice(_CODINGS[source.choice(tuple(Alphabet))])


def _timestamp(source: Random) -> Timestamp:
    utc_s = source.randrange(_YEAR_2000_UTC_S, _YEAR_2080_UTC_S)
    return Timestamp.of(utc_s, quarters=source.randint(-48, 56))


def _validity(source: Random) -> Validity | None:
    match source.randrange(4):
        case 0:
            return RelativeValidity(source.randrange(256))
        case 1:
            return AbsoluteValidity(_timestamp(source))
        case 2:
            seconds = source.choice((None, 1, 255, 3600, 86_400))
            return EnhancedValidity.of(seconds, is_single_shot=bool(source.randrange(2)))
        case _:
            return None


def _party(source: Random) -> Address:
    """Return a number, or a name.

    A name of eight characters that ends in an at sign is not among them: it is read as one of
    seven (see ``address``).
    """
    if source.randrange(3):
        return random_number(source)
    characters = _PLAIN_CHARACTERS.removeprefix("@")
    name = "".join(source.choices(characters, k=source.randint(1, NAME_CHARACTERS_MAX)))
    return Address(name, TypeOfNumber.ALPHANUMERIC, source.randrange(2))


def _submit(source: Random) -> Submit:
    coding = _coding(source)
    return Submit(
        destination=random_number(source),
        user_data=random_user_data(source, coding),
        coding=coding,
        reference=source.randrange(256),
        protocol=source.randrange(256),
        validity=_validity(source),
        rejects_duplicates=bool(source.randrange(2)),
        wants_status_report=bool(source.randrange(2)),
        has_reply_path=bool(source.randrange(2)),
    )


def _deliver(source: Random) -> Deliver:
    coding = _coding(source)
    return Deliver(
        originator=_party(source),
        timestamp=_timestamp(source),
        user_data=random_user_data(source, coding),
        coding=coding,
        protocol=source.randrange(256),
        has_more=bool(source.randrange(2)),
        is_loop_prevented=bool(source.randrange(2)),
        has_status_report=bool(source.randrange(2)),
        has_reply_path=bool(source.randrange(2)),
    )


def _command(source: Random) -> Command:
    return Command(
        destination=random_number(source),
        command=source.randrange(256),
        message_number=source.randrange(256),
        reference=source.randrange(256),
        protocol=source.randrange(256),
        data=source.randbytes(source.randrange(157)),
        wants_status_report=bool(source.randrange(2)),
    )


def _status_report(source: Random) -> StatusReport:
    return StatusReport(
        reference=source.randrange(256),
        recipient=random_number(source),
        timestamp=_timestamp(source),
        discharge=_timestamp(source),
        status=source.randrange(256),
        has_more=bool(source.randrange(2)),
        is_loop_prevented=bool(source.randrange(2)),
        is_of_command=bool(source.randrange(2)),
        parameters=_parameters(source),
    )


def _report(source: Random, direction: Direction, *, may_fail: bool) -> Tpdu:
    failure = source.choice(tuple(FailureCause)) if may_fail else None
    parameters = _parameters(source)
    if direction is Direction.TO_MS:
        return SubmitReport(timestamp=_timestamp(source), failure=failure, parameters=parameters)
    return DeliverReport(failure=failure, parameters=parameters)


def _parameters(source: Random) -> Parameters:
    if source.randrange(2):
        return NONE
    coding = _coding(source)
    has_user_data = bool(source.randrange(2))
    user_data = random_user_data(source, coding, octets_max=_SHORT_OCTETS_MAX)
    return Parameters(
        protocol=source.choice((None, source.randrange(256))),
        coding=coding,
        user_data=user_data if has_user_data else None,
    )
