"""Which requests are alike to policies: those of which they can tell nothing apart but the time.

A decision that fell on one of them would fall on all. Every part of a request is looked at by
itself here: requests are alike if all of their parts are.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence

from policy.address_sets import AddressSet, Interval
from policy.addresses import EmailAddress
from policy.conditions import ANYBODYS_DOMAINS, WhoKey
from policy.index import PolicyIndex
from policy.names import GroupName, SubjectName
from policy.policy_set import PolicySet, places
from policy.types import Where

_MAPPED = 0xFFFF
"""What an IPv4 address written as IPv6 begins with, without its last 32 bits."""


class Alike:
    """What matters to some sets of policies together, and to a socket where some are ``blocked``.

    Every method gives the same for what is alike. Immutable.
    """

    def __init__(self, sets: Sequence[PolicySet], blocked: frozenset[EmailAddress]) -> None:
        indexes = [one.index for one in sets]
        named = [by_whom for index in indexes for by_whom in (index.allows, index.denies)]
        self._named = [by_whom for by_whom in named if by_whom]
        self._blocked = blocked
        self._segments = _Segments(_address_sets(indexes))
        wheres = [where for one in sets for policy in one.policies for where in places(policy)]
        self._countries = _united(where.countries | where.countries_not for where in wheres)
        self._asns = _united(where.asns | where.asns_not for where in wheres)
        entries = {type(entry) for by_whom in self._named for entry in by_whom}
        self.subjects_matter = SubjectName in entries
        self.groups_matter = GroupName in entries
        self.addresses_matter = self._segments.several
        self.countries_matter = any(map(_says_countries, wheres))
        self.asns_matter = any(map(_says_asns, wheres))
        self.proofs_matter = any(policy.client_proof for one in sets for policy in one.policies)

    def email(self, email: EmailAddress | None) -> Hashable:
        """For a verified address, or none."""
        if email is None:
            return None
        anybodys = email.domain in ANYBODYS_DOMAINS
        return (
            email in self._blocked,
            anybodys,
            self._bearing_on(email),
            self._bearing_on(email.domain),
        )

    def program(self, name: str | None) -> Hashable:
        """For the name of a service account; ``None`` for people."""
        return None if name is None else self._bearing_on(name)

    def groups(self, groups: Iterable[GroupName]) -> Hashable:
        """For all groups somebody is in."""
        return frozenset(map(self._bearing_on, groups))

    def subject(self, provider: str, email: EmailAddress | None, subject: str) -> Hashable:
        """For somebody as one provider knows them."""
        if not provider:
            return None
        by_email = None if email is None else self._bearing_on(SubjectName(provider, email))
        return by_email, self._bearing_on(SubjectName(provider, None, subject))

    def address(self, version: int, number: int) -> Hashable:
        """For an IP address of version 4 or 6."""
        if version == 6 and number >> 32 == _MAPPED:
            return self._segments.of(4, number & 0xFFFF_FFFF)
        return self._segments.of(version, number)

    def country(self, code: str | None) -> Hashable:
        """For a country, or none that is known."""
        return None if not code else code in self._countries and code

    def asn(self, number: int | None) -> Hashable:
        """For the number of an autonomous system, or none that is known."""
        return None if number is None else number in self._asns and (number,)

    def _bearing_on(self, entry: WhoKey) -> Hashable:
        """The policies and deny rules that name ``entry``."""
        return tuple(by_whom.get(entry) for by_whom in self._named)


class _Segments:
    """Stretches of addresses within which each is in the same sets."""

    def __init__(self, sets: Sequence[AddressSet]) -> None:
        self._by_version = {
            4: _stretches([one.v4 for one in sets]),
            6: _stretches([one.v6 for one in sets]),
        }

    @property
    def several(self) -> bool:
        """Whether there is anything to tell apart."""
        return any(members != [0] for _, members in self._by_version.values())

    def of(self, version: int, number: int) -> int:
        """Which sets an address is in, as bits."""
        starts, members = self._by_version[version]
        return members[bisect_right(starts, number) - 1]


def _stretches(sets: Sequence[Sequence[Interval]]) -> tuple[list[int], list[int]]:
    """Where each begins, and the sets that hold it."""
    turns = sorted(
        (turn, number)
        for number, intervals in enumerate(sets)
        for first, last in intervals
        for turn in (first, last + 1)
    )
    starts, members = [0], [0]
    inside = 0
    for turn, number in turns:
        inside ^= 1 << number
        if turn == starts[-1]:
            members[-1] = inside
        else:
            starts.append(turn)
            members.append(inside)
    return starts, members


def _address_sets(indexes: Iterable[PolicyIndex]) -> list[AddressSet]:
    found = {}
    for index in indexes:
        naming = (one for by_whom in (index.allows, index.denies) for one in by_whom.values())
        ready = (*(one for several in naming for one in several), *index.denies_anybody)
        for one in (*ready, *index.by_address):
            if one.addresses is not None:
                found[id(one.addresses)] = one.addresses
    return list(found.values())


def _united(parts: Iterable[frozenset[Hashable]]) -> frozenset[Hashable]:
    return frozenset().union(*parts)


def _says_countries(where: Where) -> bool:
    return bool(where.countries or where.countries_not)


def _says_asns(where: Where) -> bool:
    return bool(where.asns or where.asns_not)
