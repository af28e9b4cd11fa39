"""Why a short message is refused: RP causes and TP failure causes (TS 24.011 §8.2.5.4).

TP-FCS is of TS 23.040 §9.2.3.22.
"""

from enum import IntEnum

from sipgram.errors import ParseError


class RpCause(IntEnum):
    """RP-Cause, the seven bits of its value (TS 24.011 table 8.4)."""

    UNASSIGNED_NUMBER = 1
    OPERATOR_BARRING = 8
    CALL_BARRED = 10
    RESERVED = 11
    TRANSFER_REJECTED = 21
    MEMORY_EXCEEDED = 22
    DESTINATION_OUT_OF_ORDER = 27
    UNIDENTIFIED_SUBSCRIBER = 28
    FACILITY_REJECTED = 29
    UNKNOWN_SUBSCRIBER = 30
    NETWORK_OUT_OF_ORDER = 38
    TEMPORARY_FAILURE = 41
    CONGESTION = 42
    RESOURCES_UNAVAILABLE = 47
    FACILITY_NOT_SUBSCRIBED = 50
    FACILITY_NOT_IMPLEMENTED = 69
    INVALID_REFERENCE = 81
    SEMANTICALLY_INCORRECT = 95
    INVALID_MANDATORY_INFORMATION = 96
    UNKNOWN_MESSAGE_TYPE = 97
    NOT_COMPATIBLE_WITH_STATE = 98
    UNKNOWN_ELEMENT = 99
    PROTOCOL_ERROR = 111
    INTERWORKING = 127


CAUSES_TO_NETWORK = frozenset(
    {
        RpCause.MEMORY_EXCEEDED,
        RpCause.INVALID_REFERENCE,
        RpCause.SEMANTICALLY_INCORRECT,
        RpCause.INVALID_MANDATORY_INFORMATION,
        RpCause.UNKNOWN_MESSAGE_TYPE,
        RpCause.NOT_COMPATIBLE_WITH_STATE,
        RpCause.UNKNOWN_ELEMENT,
        RpCause.PROTOCOL_ERROR,
    }
)
"What a phone may say to an RP-DATA (TS 24.011 table 8.4, part 2)."

CAUSES_TO_MS = frozenset(RpCause) - {RpCause.MEMORY_EXCEEDED}
"What the network may say to a phone's RP-DATA or RP-SMMA (TS 24.011 table 8.4, parts 1 and 3)."


class FailureCause(IntEnum):
    """TP-FCS (TS 23.040 §9.2.3.22); values that are not here are kept as numbers."""

    TELEMATIC_NOT_SUPPORTED = 0x80
    TYPE_0_NOT_SUPPORTED = 0x81
    CANNOT_REPLACE = 0x82
    PROTOCOL_ERROR = 0x8F
    ALPHABET_NOT_SUPPORTED = 0x90
    CLASS_NOT_SUPPORTED = 0x91
    CODING_ERROR = 0x9F
    COMMAND_CANNOT_BE_ACTIONED = 0xA0
    COMMAND_NOT_SUPPORTED = 0xA1
    COMMAND_ERROR = 0xAF
    TPDU_NOT_SUPPORTED = 0xB0
    SC_BUSY = 0xC0
    NO_SC_SUBSCRIPTION = 0xC1
    SC_SYSTEM_FAILURE = 0xC2
    INVALID_SME_ADDRESS = 0xC3
    DESTINATION_BARRED = 0xC4
    DUPLICATE_REJECTED = 0xC5
    VALIDITY_FORMAT_NOT_SUPPORTED = 0xC6
    VALIDITY_NOT_SUPPORTED = 0xC7
    SIM_STORAGE_FULL = 0xD0
    NO_SIM_STORAGE = 0xD1
    ERROR_IN_MS = 0xD2
    MEMORY_EXCEEDED = 0xD3
    SIM_TOOLKIT_BUSY = 0xD4
    SIM_DOWNLOAD_ERROR = 0xD5
    UNSPECIFIED = 0xFF


class SmsFault(ParseError):
    """What the peer sent is no short message that we can take.

    ``cause`` goes into the RP-ERROR that answers; ``failure`` beside it into the report, when
    it is not None. ``reference`` is the RP-MR to answer with, None where nothing is answered:
    the fault is in an answer itself, in fewer octets than have an RP-MR, or in a TPDU whose
    carrier the caller knows. ``RpError.answering`` makes the answer.
    """

    def __init__(
        self,
        reason: str,
        *,
        cause: RpCause = RpCause.PROTOCOL_ERROR,
        failure: FailureCause | None = None,
        reference: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.cause = cause
        self.failure = failure
        self.reference = reference
