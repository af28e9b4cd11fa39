"""Which contacts a caller prefers, by what they can do (RFC 3841 §7.2, RFC 3840).

A contact that told nothing of itself is immune: it is neither refused nor preferred.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from sipgram.errors import ParseError
from sipgram.sip.message.grammar import parameters, shown, split_list
from sipgram.sip.message.message import Message

Features = Mapping[bytes, bytes | None]
"""Feature tags, lower case and without the plus, and their values as they came, unquoted."""

PREDICATES_MAX: Final = 16
"""More Accept-Contact and Reject-Contact values than this are refused."""
_BASE_TAGS: Final = frozenset(
    (
        b"actor",
        b"application",
        b"audio",
        b"automata",
        b"class",
        b"control",
        b"data",
        b"description",
        b"duplex",
        b"events",
        b"extensions",
        b"isfocus",
        b"language",
        b"methods",
        b"mobility",
        b"priority",
        b"schemes",
        b"text",
        b"type",
        b"video",
    )
)
"""RFC 3840 §9: all other tags are written with a plus."""
_NUMBER_RE: Final = re.compile(rb"#(<=|>=|=)?(-?[0-9.]+)(?::(-?[0-9.]+))?")


class Capable(Protocol):
    """A target whose abilities are known."""

    @property
    def q(self) -> float:
        """From 0 to 1, the best first."""

    @property
    def features(self) -> Features:
        """What its Contact told (``features_of``), empty for nothing."""


T = TypeVar("T", bound=Capable)


@dataclass(frozen=True, slots=True)
class Predicate:
    """One value of Accept-Contact or Reject-Contact."""

    terms: tuple[tuple[bytes, bytes | None], ...]
    is_required: bool = False
    is_explicit: bool = False

    def score(self, features: Features) -> float | None:
        """Return the part of the terms that the contact fulfils; None when it contradicts one.

        §7.2.4: a tag that the contact does not tell counts against it only in the score,
        unless ``explicit`` is there.
        """
        if not self.terms:
            return 1.0
        met = 0
        for tag, wanted in self.terms:
            if tag not in features:
                continue
            if not _agrees(wanted, features[tag]):
                return None
            met += 1
        if self.is_explicit and met < len(self.terms):
            return None
        return met / len(self.terms)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What one request prefers."""

    accepted: tuple[Predicate, ...] = ()
    rejected: tuple[Predicate, ...] = ()

    @classmethod
    def of(cls, request: Message) -> "Preferences":
        """Read them from a request.

        Raises:
            ParseError: status 400, a value is malformed or there are too many.
        """
        if not request.has(b"accept-contact") and not request.has(b"reject-contact"):
            return NONE
        return cls(
            accepted=_predicates(request, b"accept-contact"),
            rejected=_predicates(request, b"reject-contact"),
        )

    def apply(self, targets: Sequence[T]) -> list[T]:
        """Return the targets that are left, those of one q in the order of preference."""
        scored = [(target, self._score(target.features)) for target in targets]
        left = [(target, score) for target, score in scored if score is not None]
        left.sort(key=lambda pair: (-pair[0].q, -pair[1]))
        return [target for target, _ in left]

    def _score(self, features: Features) -> float | None:
        """Return how well a contact fits, 0 to 1; None for one that must not be tried."""
        if not features:
            return 1.0
        for predicate in self.rejected:
            # §7.2.3: only a contact that tells all of the tags can be refused by them.
            if all(tag in features for tag, _ in predicate.terms) and predicate.score(features):
                return None
        total = 0.0
        for predicate in self.accepted:
            score = predicate.score(features)
            if score is None and predicate.is_required:
                return None
            total += score or 0.0
        return total / len(self.accepted) if self.accepted else 1.0


NONE: Final = Preferences()
"""Of a request that prefers nothing."""


def features_of(params: Mapping[bytes, bytes | None]) -> Features:
    """Return what the parameters of a Contact tell of its abilities (RFC 3840 §9)."""
    return {
        name.removeprefix(b"+"): value
        for name, value in params.items()
        if name in _BASE_TAGS or name.startswith(b"+")
    }


def _predicates(request: Message, header: bytes) -> tuple[Predicate, ...]:
    texts = [part for value in request.values(header) for part in split_list(value)]
    name = header.decode().title()
    if len(texts) > PREDICATES_MAX:
        raise ParseError(f"more than {PREDICATES_MAX} {name} values")
    return tuple(_predicate(text, name) for text in texts)


def _predicate(text: bytes, name: str) -> Predicate:
    star, _, rest = text.partition(b";")
    if star.strip() != b"*":
        # RFC 2533 expressions were allowed by drafts only; §9.2 has "*" before the parameters.
        raise ParseError(f"{name} does not begin with *: {shown(text)}")
    params = parameters(b";" + rest, of=name) if rest else {}
    return Predicate(
        terms=tuple(features_of(params).items()),
        is_required=b"require" in params,
        is_explicit=b"explicit" in params,
    )


def _agrees(wanted: bytes | None, told: bytes | None) -> bool:
    """Say whether two values of one tag have something in common."""
    wants, tells = _values(wanted), _values(told)
    return any(_fits(want, tell) for want in wants for tell in tells)


def _values(value: bytes | None) -> list[bytes]:
    if value is None:
        return [b"true"]
    if value.startswith(b"<"):  # A string, compared as it stands (RFC 3840 §9).
        return [value]
    return [part.strip().lower() for part in value.split(b",")]


def _fits(want: bytes, tell: bytes) -> bool:
    if want.startswith(b"!"):
        return want[1:] != tell
    if tell.startswith(b"!"):
        return tell[1:] != want
    if want.startswith(b"#") and tell.startswith(b"#"):
        low, high = _range(want)
        other_low, other_high = _range(tell)
        return low <= other_high and other_low <= high
    return want == tell


def _range(text: bytes) -> tuple[float, float]:
    """Return the numbers that a numeric value allows, none of them when it is malformed."""
    match = _NUMBER_RE.fullmatch(text)
    try:
        first = float(match[2]) if match else 1.0
        last = float(match[3]) if match and match[3] else first
    except ValueError:
        match = None
    if match is None:
        return float("inf"), float("-inf")
    if match[1] == b"<=":
        return float("-inf"), first
    if match[1] == b">=":
        return first, float("inf")
    return first, last
