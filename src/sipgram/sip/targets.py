"""In which order the targets of an INVITE are tried (RFC 3261 §16.6, RFC 3841 §9.1; DELIVERY.md D6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, TypeVar

from sipgram.sip.message.grammar import split_list
from sipgram.sip.message.message import Message

_DIRECTIVES: Final = frozenset(
    (
        b"proxy",
        b"redirect",
        b"cancel",
        b"no-cancel",
        b"fork",
        b"no-fork",
        b"recurse",
        b"no-recurse",
        b"parallel",
        b"sequential",
        b"queue",
        b"no-queue",
    )
)


class Ranked(Protocol):
    """A target with a preference."""

    @property
    def q(self) -> float:
        """From 0 to 1, the best first (RFC 3261 §20.10)."""


class OfDevice(Protocol):
    """A target that may be one of several flows to its device."""

    instance: bytes
    reg_id: int
    "0 for a binding that is no Outbound flow."
    updated: float


T = TypeVar("T", bound=Ranked)
F = TypeVar("F", bound=OfDevice)


@dataclass(frozen=True, slots=True)
class Disposition:
    """What a caller asks of proxies in Request-Disposition (RFC 3841 §9.1)."""

    is_redirected: bool = False
    "Wants a 302 with the contacts and not to be proxied."
    may_fork: bool = True
    may_recurse: bool = True
    may_cancel: bool = True
    is_sequential: bool = False
    is_parallel: bool = False
    "Wants all at once, whatever their q."

    @classmethod
    def of(cls, request: Message) -> "Disposition":
        """Read it from a request; what is not known of it is ignored, as it is a wish."""
        if not request.has(b"request-disposition"):
            return USUAL
        wishes = {
            wish.lower()
            for value in request.values(b"request-disposition")
            for wish in split_list(value)
        } & _DIRECTIVES
        return cls(
            is_redirected=b"redirect" in wishes,
            may_fork=b"no-fork" not in wishes,
            may_recurse=b"no-recurse" not in wishes,
            may_cancel=b"no-cancel" not in wishes,
            is_sequential=b"sequential" in wishes,
            is_parallel=b"parallel" in wishes,
        )


USUAL: Final = Disposition()
"""Of a request that wishes for nothing."""


def one_flow_each(targets: Sequence[F]) -> list[F]:
    """Leave one flow of each device, the one that was heard of last (RFC 5626 §5.3, D5)."""
    latest: dict[bytes, F] = {}
    for target in targets:
        if target.reg_id:
            known = latest.get(target.instance)
            if known is None or target.updated >= known.updated:
                latest[target.instance] = target
    return [t for t in targets if not t.reg_id or latest[t.instance] is t]


def arranged(targets: Sequence[T], wish: Disposition = USUAL) -> list[list[T]]:
    """Return groups: those of one q at once, one group after the other, the best first (D6).

    Without forking (RFC 3841 §9.1, fork-directive) only the first of the best group is left.
    """
    ordered = sorted(targets, key=lambda target: -target.q)
    if not ordered:
        return []
    if not wish.may_fork:
        return [ordered[:1]]
    if wish.is_sequential:
        return [[target] for target in ordered]
    if wish.is_parallel:
        return [ordered]
    return [list(group) for _, group in groupby(ordered, key=lambda target: target.q)]
