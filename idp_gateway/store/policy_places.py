"""What a stored policy says of addresses. Whom it names is not read: that may be thousands."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, Self

from idp_gateway.policy_documents import Remembered
from policy.address_sets import AddressSet

_MOST_REMEMBERED = 16 << 20
_INTERVAL_WEIGHT, _OWN_WEIGHT = 128, 1024
"""In bytes or so, as the most that is remembered."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address condition: networks that are written there, and lists of the account."""

    written: AddressSet
    named: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlaces:
    """Equal ones come to the same for edges, whoever is named and whenever."""

    allowed: tuple[Place | None, ...] = ()
    """The condition of a policy that lets somebody in; ``None`` is one that asks for no address."""
    denied: frozenset[Place] = frozenset()
    """Of deny rules that say nothing else."""
    cuts: frozenset[Place] = frozenset()
    """Of all other deny rules."""

    @classmethod
    def of(cls, document: str) -> Self:
        """The places of a stored document, whatever is in it. One that cannot be read has none."""
        try:
            return cls._read(json.loads(document))
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
            return cls()

    @classmethod
    def _read(cls, document: Mapping[str, Any]) -> Self:
        read = _Reading(document.get("prefix_lists") or {})
        condition = document.get("condition") or {}
        # One that names nobody holds a socket that asks nobody to its addresses.
        place, names = (
            read.place(condition.get("where")),
            any((condition.get("who") or {}).values()),
        )
        denies = document.get("deny") or ()
        return cls(
            allowed=(place,) if document.get("action") and (names or place) else (),
            denied=read.places(rule["where"] for rule in denies if is_by_address(rule)),
            cuts=read.places(rule["where"] for rule in denies if is_cut(rule)),
        )


class _Reading:
    """Reads the places of one document; those that are written alike are made once."""

    def __init__(self, own: Mapping[str, list[str]]) -> None:
        self._own = own
        self._made: dict[tuple[frozenset[str], frozenset[str]], AddressSet] = {}

    def place(self, where: Mapping[str, Any] | None) -> Place | None:
        texts = frozenset((where or {}).get("allowed_ip") or ())
        names = frozenset((where or {}).get("prefix_list") or ())
        if not texts and not names:
            return None
        own = names.intersection(self._own)
        return Place(self._written(texts, own), names - own)

    def places(self, wheres: Iterable[Mapping[str, Any]]) -> frozenset[Place]:
        found = map(self.place, wheres)
        return frozenset(one for one in found if one is not None)

    def _written(self, texts: frozenset[str], own: frozenset[str]) -> AddressSet:
        key = texts, own
        if key not in self._made:
            listed = (text for name in own for text in self._own[name])
            networks = (ip_network(text) for text in (*texts, *listed))
            self._made[key] = AddressSet.of(networks)
        return self._made[key]


def is_cut(rule: Mapping[str, Any]) -> bool:
    """Whether a deny rule says addresses and something else, so that what is left has names."""
    return _says_addresses(rule) and not is_by_address(rule)


def is_by_address(rule: Mapping[str, Any]) -> bool:
    """Whether a deny rule says addresses, and nothing else."""
    where = rule.get("where") or {}
    elsewhere = any(where[key] for key in where.keys() - {"allowed_ip", "prefix_list"})
    return _says_addresses(rule) and not (rule.get("who") or rule.get("when") or elsewhere)


def _says_addresses(rule: Mapping[str, Any]) -> bool:
    where = rule.get("where") or {}
    return bool(where.get("allowed_ip") or where.get("prefix_list"))


_known: Remembered[PolicyPlaces] = Remembered(_MOST_REMEMBERED)


def places_of(document: str) -> PolicyPlaces:
    """As ``PolicyPlaces.of``, remembered by the digest of the document."""

    def make() -> tuple[PolicyPlaces, int]:
        places = PolicyPlaces.of(document)
        sets = {one.written for one in (*places.allowed, *places.denied, *places.cuts) if one}
        intervals = sum(len(one.v4) + len(one.v6) for one in sets)
        rules = len(places.denied) + len(places.cuts)
        return places, _OWN_WEIGHT * (1 + rules) + _INTERVAL_WEIGHT * intervals

    return _known.get(digest_of(document), make)


def digest_of(text: str) -> bytes:
    """What stands for a document, or for the networks of a list."""
    return hashlib.sha256(text.encode()).digest()
