"""Who may see what of a presentity (RFC 4745 common policy, RFC 5025 presence rules)."""

import enum
import re
from calendar import timegm
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from lxml import etree

from sipgram.errors import ParseError
from sipgram.payload.state import tree
from sipgram.payload.state.tree import Element

TYPE: Final = b"application/auth-policy+xml"
POLICY: Final = "urn:ietf:params:xml:ns:common-policy"
RULES: Final = "urn:ietf:params:xml:ns:pres-rules"
RULES_MAX: Final = 1_000
_TIME_RE: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))?",
    re.ASCII,
)

_SERVICES: Final = frozenset(("provide-services", "provide-devices", "provide-persons"))
_ATTRIBUTES: Final = {
    "provide-activities": "activities",
    "provide-class": "class",
    "provide-deviceID": "deviceID",
    "provide-mood": "mood",
    "provide-place-is": "place-is",
    "provide-place-type": "place-type",
    "provide-privacy": "privacy",
    "provide-relationship": "relationship",
    "provide-status-icon": "status-icon",
    "provide-sphere": "sphere",
    "provide-time-offset": "time-offset",
    "provide-user-input": "user-input",
}
"""Transformations that show one RPID element (RFC 5025 §3.3.2)."""


class Handling(enum.IntEnum):
    """What becomes of a SUBSCRIBE (RFC 5025 §3.2.1); of several rules the highest holds."""

    BLOCK = 0
    CONFIRM = 10
    POLITE_BLOCK = 20
    ALLOW = 30


_HANDLINGS: Final = {
    "block": Handling.BLOCK,
    "confirm": Handling.CONFIRM,
    "polite-block": Handling.POLITE_BLOCK,
    "allow": Handling.ALLOW,
}


@dataclass(frozen=True, slots=True)
class Provided:
    """What a watcher is shown; of several rules the union (RFC 4745 §10.2)."""

    services: bool = False
    persons: bool = False
    devices: bool = False
    notes: bool = False
    attributes: frozenset[str] = frozenset()
    "Local names of RPID, or ``{namespace}name`` of others."
    is_everything: bool = False

    ALL: ClassVar["Provided"]

    def __or__(self, other: "Provided") -> "Provided":
        return Provided(
            services=self.services or other.services,
            persons=self.persons or other.persons,
            devices=self.devices or other.devices,
            notes=self.notes or other.notes,
            attributes=self.attributes | other.attributes,
            is_everything=self.is_everything or other.is_everything,
        )


Provided.ALL = Provided(services=True, persons=True, devices=True, notes=True, is_everything=True)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say of one watcher."""

    handling: Handling
    provided: Provided


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; a condition that is not understood makes it apply to nobody (RFC 4745 §7)."""

    id: str
    ones: frozenset[str]
    "URIs that it is for."
    domains: frozenset[str] | None
    "Everybody of these; empty for everybody at all, None for nobody besides ``ones``."
    except_ones: frozenset[str]
    except_domains: frozenset[str]
    has_identity: bool
    spheres: frozenset[str] | None
    validity: tuple[tuple[float, float], ...] | None
    "Spans of UTC seconds."
    handling: Handling | None
    provided: Provided

    def is_for(self, watcher: str, domain: str, *, now_utc: float, sphere: str) -> bool:
        """Say whether its conditions hold for a watcher, its AoR as text."""
        if self.validity is not None and not any(a <= now_utc <= b for a, b in self.validity):
            return False
        if self.spheres is not None and sphere not in self.spheres:
            return False
        if not self.has_identity:
            return True
        if watcher in self.ones:
            return True
        if self.domains is None or (self.domains and domain not in self.domains):
            return False
        return watcher not in self.except_ones and domain not in self.except_domains


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One presentity's rules."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, body: bytes) -> "RuleSet":
        """Read a document.

        Raises:
            ParseError: it is no rule set.
        """
        root = tree.parse(body, _name(POLICY, "ruleset"), of="presence rules")
        elements = [child for child in root if child.tag == _name(POLICY, "rule")]
        if len(elements) > RULES_MAX:
            raise ParseError(f"presence rules are more than {RULES_MAX}: {len(elements)}")
        return cls(tuple(_rule(element) for element in elements))

    def decide(
        self, watcher: str, *, now_utc: float, sphere: str = "", default: Decision
    ) -> Decision:
        """Combine the rules that are for a watcher; ``default`` when there is none."""
        domain = watcher.rpartition("@")[2].lower()
        found = [r for r in self.rules if r.is_for(watcher, domain, now_utc=now_utc, sphere=sphere)]
        if not found:
            return default
        handling = max((r.handling for r in found if r.handling is not None), default=None)
        provided = Provided()
        for rule in found:
            provided |= rule.provided
        return Decision(Handling.BLOCK if handling is None else handling, provided)


BLOCKING: Final = RuleSet(
    (
        Rule(
            id="unreadable",
            ones=frozenset(),
            domains=None,
            except_ones=frozenset(),
            except_domains=frozenset(),
            has_identity=False,
            spheres=None,
            validity=None,
            handling=Handling.POLITE_BLOCK,
            provided=Provided(),
        ),
    )
)
"""Shows nobody anything and says so to nobody; for rules that cannot be read."""


def with_identity(body: bytes, watcher: str, handling: Handling | None) -> bytes:
    """Return the document with one watcher's handling changed, or taken out for None.

    Rules that somebody else wrote stay as they are, but lose this watcher where they name it.

    Raises:
        ParseError: the document, when there is one, is no rule set.
    """
    if body:
        root = tree.parse(body, _name(POLICY, "ruleset"), of="presence rules")
    else:
        root = etree.Element(_name(POLICY, "ruleset"), nsmap={"cp": POLICY, "pr": RULES})
    for rule in root.findall(_name(POLICY, "rule")):
        for one in rule.findall(f".//{_name(POLICY, 'one')}"):
            parent = one.getparent()
            if parent is not None and one.get("id") == watcher:
                parent.remove(one)
    if handling is not None:
        name = next(n for n, h in _HANDLINGS.items() if h is handling)
        identity = _own_rule(root, name, handling)
        etree.SubElement(identity, _name(POLICY, "one")).set("id", watcher)
    for rule in root.findall(_name(POLICY, "rule")):
        named = rule.find(f"{_name(POLICY, 'conditions')}/{_name(POLICY, 'identity')}")
        if named is not None and len(named) == 0:
            root.remove(rule)  # It is for nobody.
    return tree.written(root)


def identities(body: bytes) -> dict[str, list[str]]:
    """Return which watchers are named, by handling; for people to read.

    Raises:
        ParseError: it is no rule set.
    """
    found: dict[str, list[str]] = {name: [] for name in _HANDLINGS}
    for rule in RuleSet.parse(body).rules:
        if rule.handling is None:
            continue
        name = next(n for n, h in _HANDLINGS.items() if h is rule.handling)
        found[name] += sorted(rule.ones)
        if rule.domains is not None:
            found[name] += [f"*@{domain}" for domain in sorted(rule.domains)] or ["*"]
    return found


def _own_rule(root: Element, name: str, handling: Handling) -> Element:
    id = f"watchers-{name}"
    for rule in root.findall(_name(POLICY, "rule")):
        if rule.get("id") == id:
            found = rule.find(f"{_name(POLICY, 'conditions')}/{_name(POLICY, 'identity')}")
            if found is not None:
                return found
            root.remove(rule)
    rule = etree.SubElement(root, _name(POLICY, "rule"))
    rule.set("id", id)
    conditions = etree.SubElement(rule, _name(POLICY, "conditions"))
    identity = etree.SubElement(conditions, _name(POLICY, "identity"))
    actions = etree.SubElement(rule, _name(POLICY, "actions"))
    etree.SubElement(actions, _name(RULES, "sub-handling")).text = name
    shown = etree.SubElement(rule, _name(POLICY, "transformations"))
    if handling is Handling.ALLOW:
        for all_of in ("services", "devices", "persons"):
            outer = etree.SubElement(shown, _name(RULES, f"provide-{all_of}"))
            etree.SubElement(outer, _name(RULES, f"all-{all_of}"))
        etree.SubElement(shown, _name(RULES, "provide-all-attributes"))
    return identity


def _rule(element: Element) -> Rule:
    conditions = element.find(_name(POLICY, "conditions"))
    ones: set[str] = set()
    domains: set[str] | None = None
    except_ones: set[str] = set()
    except_domains: set[str] = set()
    has_identity = False
    spheres: frozenset[str] | None = None
    validity: tuple[tuple[float, float], ...] | None = None
    for condition in _children(conditions):
        match etree.QName(condition).localname, etree.QName(condition).namespace:
            case "identity", str(space) if space == POLICY:
                has_identity = True
                for item in _children(condition):
                    if item.tag == _name(POLICY, "one"):
                        ones.add(item.get("id") or "")
                    elif item.tag == _name(POLICY, "many"):
                        domain = item.get("domain")
                        domains = (domains or set()) | ({domain.lower()} if domain else set())
                        for except_ in item.findall(_name(POLICY, "except")):
                            except_ones.add(except_.get("id") or "")
                            except_domains.add((except_.get("domain") or "").lower())
            case "sphere", str(space) if space == POLICY:
                spheres = frozenset({condition.get("value") or ""})
            case "validity", str(space) if space == POLICY:
                validity = _validity(condition)
            case _:
                has_identity, ones, domains = True, set(), None
                break
    return Rule(
        id=element.get("id") or "",
        ones=frozenset(ones),
        domains=None if domains is None else frozenset(domains),
        except_ones=frozenset(except_ones),
        except_domains=frozenset(except_domains) - {""},
        has_identity=has_identity,
        spheres=spheres,
        validity=validity,
        handling=_handling(element),
        provided=_provided(_children(element.find(_name(POLICY, "transformations")))),
    )


def _handling(rule: Element) -> Handling | None:
    found = rule.find(f"{_name(POLICY, 'actions')}/{_name(RULES, 'sub-handling')}")
    if found is None:
        return None
    text = (found.text or "").strip()
    if text not in _HANDLINGS:
        raise ParseError(f"presence rules have an unknown sub-handling: {text[:40]}")
    return _HANDLINGS[text]


def _provided(transformations: Iterable[Element]) -> Provided:
    shown: set[str] = set()
    attributes: set[str] = set()
    is_everything = notes = False
    for element in transformations:
        name = etree.QName(element).localname
        if name in _SERVICES:
            # Parts of them by class or URI are not told apart: who lists some shows all of them
            # in no case, so that only "all" counts.
            if any(etree.QName(c).localname == f"all-{name[8:]}" for c in _children(element)):
                shown.add(name[8:])
        elif name == "provide-all-attributes":
            is_everything = notes = True
        elif name == "provide-note":
            notes = (element.text or "").strip().lower() in ("true", "1")
        elif name == "provide-unknown-attribute":
            if (element.text or "").strip().lower() in ("true", "1"):
                attributes.add(f"{{{element.get('ns') or ''}}}{element.get('name') or ''}")
        elif name in _ATTRIBUTES:
            text = (element.text or "").strip().lower()
            if text in ("true", "1", "full", "bare", "thresholds"):
                attributes.add(_ATTRIBUTES[name])
    return Provided(
        services="services" in shown,
        persons="persons" in shown,
        devices="devices" in shown,
        notes=notes,
        attributes=frozenset(attributes),
        is_everything=is_everything,
    )


def _validity(element: Element) -> tuple[tuple[float, float], ...]:
    begins = [_instant(child) for child in element.findall(_name(POLICY, "from"))]
    ends = [_instant(child) for child in element.findall(_name(POLICY, "until"))]
    return tuple(zip(begins, ends, strict=False))


def _instant(element: Element) -> float:
    """Read an xs:dateTime; without a zone it is taken as UTC."""
    text = (element.text or "").strip()
    match = _TIME_RE.fullmatch(text)
    if match is None:
        raise ParseError(f"presence rules have a malformed time: {text[:40]}")
    numbers = [int(match[n]) for n in range(1, 7)]
    seconds = float(timegm((*numbers, 0, 0, 0)))
    if match["sign"]:
        offset = 3600 * int(match["hours"]) + 60 * int(match["minutes"])
        seconds += offset if match["sign"] == "-" else -offset
    return seconds


def _children(element: Element | None) -> list[Element]:
    return [] if element is None else [c for c in element if isinstance(c.tag, str)]


def _name(space: str, local: str) -> str:
    return f"{{{space}}}{local}"
