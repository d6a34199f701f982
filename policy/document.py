"""A policy as people write it and as it is stored: v1 of the original clients, and v2.

Read strictly and as a whole: an unknown key, a value that is not what its place wants or one that
could never match is a fault, and a document with a fault is refused with all of its faults.
``to_json`` gives back what was written, without comments, nulls and empty members.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock
from types import MappingProxyType
from typing import Any, Self
from weakref import ReferenceType, WeakKeyDictionary, ref

from policy import texts
from policy.cursor import Cursor, Faults, shown
from policy.errors import DocumentError, Fault
from policy.expectations import Expectation, read_expectation
from policy.networks import Networks
from policy.parts import read_denied_who, read_when, read_where, read_who, refuse_empty
from policy.reading import MAX_DEPTH, MAX_ENTRIES, read_text
from policy.types import Action, Assurance, DenyRule, IPNetwork, Policy, When, Where, Who

VERSIONS = ("v1", "v2")
V1_KEYS = ("version", "action", "condition")
V2_KEYS = (*V1_KEYS, "deny", "prefix_lists", "expect")
V1_CONDITION = ("who", "where", "when")
V2_CONDITION = (*V1_CONDITION, "assurance", "client_proof", "max_session")
DENY_KEYS = ("name", "who", "where", "when")
MAX_DENIES = 100
"""Deny rules of one document; every decision looks at those that name the caller or anybody."""
MAX_PLACED = 20_000
"""Networks of a document's rules; its own lists count in every rule that adds addresses to them."""

_Named = tuple[Networks, frozenset[str]]
"""Networks of a rule, and names of the document's own lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDocument:
    """A document without faults. Equal ones are stored alike."""

    stored: Mapping[str, Any]
    actions: frozenset[Action]
    who: Who
    where: Where
    when: When
    min_assurance: Assurance | None
    client_proof: bool
    max_session: timedelta | None
    denies: tuple[DenyRule, ...]
    prefix_lists: Mapping[str, tuple[IPNetwork, ...]]
    """Its own; one of them hides an account's list of the same name."""
    expect: tuple[Expectation, ...]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what a JSON parser made of a document.

        Raises:
            DocumentError: it has faults.
        """
        fault = _excess(value)
        if fault is not None:
            raise DocumentError((fault,))
        return cls._read(value, {})

    @classmethod
    def _read(cls, value: Any, lines: Mapping[str, int]) -> Self:
        faults = Faults(lines)
        parts = _parts(Cursor(value, "", faults))
        stored = value
        if not faults.found:
            stored = _without_empty(value)
            _check_stored(stored, value, parts, faults)
        if faults.found:
            raise DocumentError(tuple(sorted(set(faults.found), key=_place)))
        return cls(stored=MappingProxyType(stored), **parts)

    @property
    def version(self) -> str:
        return str(self.stored["version"])

    def to_json(self) -> dict[str, Any]:
        """The form to keep and to hand to clients; ``from_json`` makes an equal document of it."""
        return {key: _without_empty(member) for key, member in self.stored.items()}

    def policy(self, policy_id: str, name: str = "") -> Policy:
        """The policy it says, with its own prefix lists put in their places."""
        # Rules that name the same lists share one set: a list may be long, and rules be many.
        made: dict[_Named, Networks] = {}
        return Policy(
            policy_id=policy_id,
            name=name,
            actions=self.actions,
            who=self.who,
            where=self._placed(self.where, made),
            when=self.when,
            min_assurance=self.min_assurance,
            client_proof=self.client_proof,
            max_session=self.max_session,
            denies=tuple(
                replace(rule, where=self._placed(rule.where, made)) if rule.where else rule
                for rule in self.denies
            ),
        )

    def _placed(self, where: Where, made: dict[_Named, Networks]) -> Where:
        own = where.prefix_lists.intersection(self.prefix_lists)
        if not own:
            return where
        named = where.prefixes, own
        if named not in made:
            listed = (one for name in own for one in self.prefix_lists[name])
            made[named] = _one_of_its_kind(Networks.of((*where.prefixes, *listed)))
        return replace(where, prefixes=made[named], prefix_lists=where.prefix_lists - own)


_sets: WeakKeyDictionary[Networks, ReferenceType[Networks]] = WeakKeyDictionary()
_sets_lock = Lock()


def _one_of_its_kind(networks: Networks) -> Networks:
    """The very set that other documents with the same networks have, as long as one does.

    Rules are told apart by their sets again and again; thousands of networks are compared one by
    one each time, unless the set is the same object.
    """
    with _sets_lock:
        kept = _sets.get(networks)
        found = None if kept is None else kept()
        if found is None:
            found = networks
            _sets[found] = ref(found)
        return found


def read_document(text: str) -> PolicyDocument:
    """Read a document of either version, as YAML or JSON.

    Raises:
        DocumentError: it has faults; each with its path and line.
    """
    read = read_text(text)
    return PolicyDocument._read(read.value, read.lines)  # noqa: SLF001 - of this module


def _parts(place: Cursor) -> dict[str, Any]:
    value = place.value
    version = value.get("version") if isinstance(value, dict) else None
    if version not in VERSIONS:
        known = " or ".join(VERSIONS)
        place.fault(f"a document is a mapping that begins with its version, {known}")
        return {}
    v1 = version == "v1"
    found = place.members(V1_KEYS if v1 else V2_KEYS)
    actions = _actions(place, found)
    prefix_lists = _prefix_lists(found["prefix_lists"]) if "prefix_lists" in found else {}
    denies = _denies(found["deny"]) if "deny" in found else []
    expect = [
        case
        for item in (found["expect"].items() if "expect" in found else ())
        if (case := read_expectation(item, actions)) is not None
    ]
    empty = Cursor({}, "condition", place.faults)
    condition = _condition(found.get("condition", empty), v1=v1)
    wheres = [condition["where"], *(rule.where for rule in denies if rule.where is not None)]
    _check_placed(place, wheres, prefix_lists)
    return {
        "actions": actions,
        "denies": tuple(denies),
        "prefix_lists": MappingProxyType(prefix_lists),
        "expect": tuple(expect),
        **condition,
    }


def _check_placed(
    place: Cursor, wheres: list[Where], prefix_lists: Mapping[str, tuple[IPNetwork, ...]]
) -> None:
    named = {(where.prefixes, where.prefix_lists.intersection(prefix_lists)) for where in wheres}
    placed = sum(len(own) + sum(len(prefix_lists[name]) for name in names) for own, names in named)
    if placed > MAX_PLACED:
        place.fault(
            f"its rules come to {placed} networks, of {MAX_PLACED} at most: "
            "name a list by itself, without further addresses beside it"
        )


def _check_stored(stored: Any, value: Any, parts: dict[str, Any], faults: Faults) -> None:
    """Refuse what would not be read again as it was: a decision must never meet such a document."""
    if stored == value:
        return
    again = Faults()
    if _parts(Cursor(stored, "", again)) != parts or again.found:
        said = "; ".join(map(str, again.found[:1])) or "it means something else"
        Cursor(value, "", faults).fault(f"cannot be kept without its empty members: {said}")


def _place(fault: Fault) -> tuple[int, str]:
    return fault.line or 0, fault.path


def _actions(place: Cursor, found: dict[str, Cursor]) -> frozenset[Action]:
    if "action" in found:
        actions = found["action"].entries(texts.action)
        if actions or found["action"].value != []:
            return actions
    if "condition" in found or "deny" not in found or not found["deny"].value:
        place.fault(f"names no action; known are {', '.join(texts.ACTIONS)}")
    return frozenset()


def _condition(place: Cursor, *, v1: bool) -> dict[str, Any]:
    found = place.members(V1_CONDITION if v1 else V2_CONDITION)
    read: dict[str, Any] = {
        "who": read_who(found["who"], v1=v1) if "who" in found else Who(),
        "where": read_where(found["where"], v1=v1) if "where" in found else Where(),
        "when": read_when(found["when"], v1=v1) if "when" in found else When(),
        "min_assurance": None,
        "client_proof": found["client_proof"].flag() if "client_proof" in found else False,
        "max_session": None,
    }
    if "assurance" in found:
        read["min_assurance"] = next(iter(found["assurance"].text(texts.assurance)), None)
    if "max_session" in found:
        read["max_session"] = next(iter(found["max_session"].text(texts.span)), None)
    return read


def _denies(place: Cursor) -> list[DenyRule]:
    items = list(place.items())
    if len(items) > MAX_DENIES:
        place.fault(f"{len(items)} deny rules, of {MAX_DENIES} at most")
    return [_deny(item) for item in items[:MAX_DENIES]]


def _deny(place: Cursor) -> DenyRule:
    found = place.members(DENY_KEYS)
    name = next(iter(found["name"].text(texts.title)), "") if "name" in found else ""
    for key in ("where", "when"):
        if key in found:
            refuse_empty(found[key])
    if not found.keys() - {"name"}:
        place.fault("says nobody, nowhere and at no time; name at least one of who, where, when")
    return DenyRule(
        name=name,
        who=read_denied_who(found["who"]) if "who" in found else None,
        where=read_where(found["where"], v1=False) if "where" in found else None,
        when=read_when(found["when"], v1=False) if "when" in found else None,
    )


def _prefix_lists(place: Cursor) -> dict[str, tuple[IPNetwork, ...]]:
    if not isinstance(place.value, dict):
        place.fault(f"not a mapping: {shown(place.value)}")
        return {}
    lists = {}
    for name, at in place.members(place.value).items():
        Cursor(name, at.path, at.faults).text(texts.name)
        refuse_empty(at)
        lists[name] = Networks.of(at.each(texts.network)).listed
    return lists


def _without_empty(value: Any) -> Any:
    """``value`` without members that are null, or empty lists, mappings or texts."""
    if isinstance(value, Mapping):
        kept = {key: _without_empty(member) for key, member in value.items()}
        return {key: member for key, member in kept.items() if not _is_empty(member)}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _excess(value: Any) -> Fault | None:
    """What is too large, too deep or not JSON at all; looked at without recursion."""
    waiting, entries = [(value, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        entries += 1
        if entries > MAX_ENTRIES:
            return Fault("", None, f"more than {MAX_ENTRIES} values")
        if depth > MAX_DEPTH:
            return Fault("", None, f"nested deeper than {MAX_DEPTH}")
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                return Fault("", None, "a key is not text")
            waiting += [(member, depth + 1) for member in one.values()]
        elif isinstance(one, list):
            waiting += [(item, depth + 1) for item in one]
    return None
