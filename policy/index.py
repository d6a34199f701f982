"""Policies made ready to be decided on: found by whom they name, not by looking at each.

``PolicyIndex`` is what ``PolicySet.build`` makes; only this package reads it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from policy.address_sets import EVERYWHERE, NOWHERE, AddressSet, union, unmapped
from policy.conditions import (
    Facts,
    WhoKey,
    address,
    admitted_as,
    entries,
    kept_out_as,
    placed_in,
)
from policy.names import SubjectName
from policy.networks import Networks
from policy.reach import Reaches
from policy.types import DenyRule, Identity, IPAddress, IPNetwork, Policy, Reason, When, Where
from policy.windows import EVER, FOREVER, Window, in_utc

PrefixLists = Mapping[str, tuple[IPNetwork, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class ReadyPolicy:
    """A policy that names somebody. Two are equal only if they are the same one."""

    policy: Policy
    addresses: AddressSet | None
    """``None`` if the policy says nothing of addresses."""
    window: Window | None

    def until(self, at: datetime, authenticated_at: datetime) -> datetime | Reason:
        """When its times and its session length end, ``FOREVER`` if never, or why they are over."""
        end = FOREVER if self.window is None else self.window.until(at)
        if end is None:
            return Reason.OUTSIDE_TIME_WINDOW
        if self.policy.max_session is None:
            return end
        limit = _later(authenticated_at, self.policy.max_session)
        return Reason.LOGIN_TOO_OLD if at >= limit else min(end, limit)


def _later(moment: datetime, span: timedelta) -> datetime:
    try:
        return in_utc(moment) + span
    except OverflowError:
        return FOREVER if span > timedelta(0) else EVER


@dataclass(frozen=True, slots=True, eq=False)
class ReadyDeny:
    """A deny rule and every policy that has it, word for word."""

    rule: DenyRule
    addresses: AddressSet | None
    window: Window | None
    """``None`` if it holds at all times."""
    policy_ids: tuple[str, ...]

    def open_at(self, at: datetime) -> bool:
        return self.window is None or self.window.until(at) is not None

    def opens(self, at: datetime) -> datetime:
        """When it holds next, if it does not at ``at``; ``FOREVER`` if never again."""
        start = None if self.window is None else self.window.opens(at)
        return FOREVER if start is None else start


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyIndex:
    """Immutable but for what it remembers of its own results."""

    allows: Mapping[WhoKey, tuple[ReadyPolicy, ...]]
    denies: Mapping[WhoKey, tuple[ReadyDeny, ...]]
    """Deny rules that name somebody, by whom."""
    denies_anybody: tuple[ReadyDeny, ...]
    """Deny rules that say something else than addresses, of anybody."""
    subjects: bool
    """Whether any rule names somebody beside a provider: such names are dear to make."""
    by_address: tuple[ReadyDeny, ...]
    """Deny rules that say nothing but addresses."""
    denied_at: "PrefixTable | Unsorted"
    """Which policies have deny rules that say nothing but addresses."""
    reaches: Reaches
    places_of_nobody: frozenset[AddressSet] = frozenset()
    """Address conditions of policies that would let somebody in, and name nobody."""

    @classmethod
    def build(
        cls, policies: Iterable[Policy], lists: "ListSets", *, for_cases: bool = False
    ) -> Self:
        """``for_cases``: for a few decisions of which none becomes a grant. What takes long with
        large lists is left out then, and no decision says from where else it would be allowed.
        """
        sets = _AddressSets(lists)
        allows: dict[WhoKey, list[ReadyPolicy]] = defaultdict(list)
        rules: dict[DenyRule, list[str]] = defaultdict(list)
        windows: dict[When, Window | None] = {}
        nobodys = set[AddressSet]()
        for policy in policies:
            window = _window(policy.when, windows)
            ready = ReadyPolicy(policy, sets.allowed(policy.where), window)
            named = tuple(entries(policy.who))
            for entry in named:
                allows[entry].append(ready)
            if policy.actions and not named and ready.addresses is not None:
                nobodys.add(ready.addresses)
            for rule in policy.denies:
                rules[DenyRule(who=rule.who, where=rule.where, when=rule.when)].append(
                    policy.policy_id
                )
        ready_denies = [
            ReadyDeny(
                rule, sets.denied(rule.where), _deny_window(rule, windows), tuple(sorted(set(ids)))
            )
            for rule, ids in rules.items()
        ]
        by_address = [deny for deny in ready_denies if says_only_addresses(deny)]
        others = [deny for deny in ready_denies if not says_only_addresses(deny)]
        denies: dict[WhoKey, list[ReadyDeny]] = defaultdict(list)
        for deny in others:
            for entry in () if deny.rule.who is None else entries(deny.rule.who):
                denies[entry].append(deny)
        index = cls(
            allows={entry: tuple(found) for entry, found in allows.items()},
            denies={entry: tuple(found) for entry, found in denies.items()},
            denies_anybody=tuple(deny for deny in others if deny.rule.who is None),
            subjects=any(isinstance(entry, SubjectName) for entry in (*allows, *denies)),
            by_address=tuple(by_address),
            denied_at=Unsorted(by_address) if for_cases else PrefixTable.of(by_address),
            reaches=_NO_REACHES,
            places_of_nobody=frozenset(nobodys),
        )
        return index if for_cases else replace(index, reaches=index.reaching().prepare())

    def reaching(self) -> Reaches:
        """What the policies reach; nothing of it is made ready."""
        allowing = (one for found in self.allows.values() for one in found if one.policy.actions)
        denying = (deny for found in self.denies.values() for deny in found)
        return Reaches.of(
            (one.addresses for one in allowing),
            (deny.addresses for deny in self.by_address),
            (deny.addresses for deny in (*denying, *self.denies_anybody)),
        )

    def ready(self) -> dict[int, ReadyPolicy]:
        """The policies that list somebody, by their ``id()``. Looks at each."""
        return {id(one.policy): one for found in self.allows.values() for one in found}

    def naming(self, identity: Identity) -> dict[ReadyPolicy, set[Reason]]:
        """The policies that list ``identity``, and as what."""
        found: dict[ReadyPolicy, set[Reason]] = {}
        for entry, reason in admitted_as(identity, subjects=self.subjects):
            for ready in self.allows.get(entry, ()):
                found.setdefault(ready, set()).add(reason)
        return found

    def denying(self, facts: Facts) -> Iterator[ReadyDeny]:
        """The deny rules that match but perhaps for their addresses and times, each once; without
        those that say nothing but addresses.
        """
        seen = set()
        known = kept_out_as(facts.identity, subjects=self.subjects) if self.denies else ()
        for entry in known:
            for deny in self.denies.get(entry, ()):
                if deny not in seen and placed_in(deny.rule.where or _ANY, facts):
                    seen.add(deny)
                    yield deny
        for deny in self.denies_anybody:
            if placed_in(deny.rule.where or _ANY, facts):
                yield deny

    def matching(self, facts: Facts) -> set[DenyRule]:
        """The deny rules that match, without their names. Looks at each, so not for hot paths."""
        return {
            deny.rule
            for deny in (*self.by_address, *self.denying(facts))
            if deny.open_at(facts.at) and address(deny.addresses, facts) is None
        }


_ANY = Where()


def says_only_addresses(deny: ReadyDeny) -> bool:
    """Whether an edge can hold the rule by itself: it says addresses, and nothing else."""
    where = deny.rule.where or _ANY
    elsewhere = where.countries or where.countries_not or where.asns or where.asns_not
    return (
        deny.addresses is not None
        and not elsewhere
        and deny.rule.who is None
        and deny.window is None
    )


def _deny_window(rule: DenyRule, made: dict[When, Window | None]) -> Window | None:
    window = None if rule.when is None else _window(rule.when, made)
    return window if window is None or window.readable else None


def _window(when: When, made: dict[When, Window | None]) -> Window | None:
    """Equal ones are one window, which remembers for all of them."""
    if when not in made:
        made[when] = Window.of(when)
    return made[when]


class ListSets:
    """The addresses of prefix lists, each list sorted once for all policies that name it."""

    def __init__(self, prefix_lists: PrefixLists) -> None:
        self.prefix_lists = prefix_lists
        self._made: dict[str, AddressSet | None] = {}

    def named(self, name: str) -> AddressSet | None:
        """The addresses of a list; ``None`` if it is not there."""
        if name not in self._made:
            networks = self.prefix_lists.get(name)
            self._made[name] = None if networks is None else AddressSet.of(networks)
        return self._made[name]


class _AddressSets:
    """The address conditions of one set of policies; equal ones are made once."""

    def __init__(self, lists: ListSets) -> None:
        self._lists = lists
        self._made: dict[tuple[Networks, frozenset[str]], AddressSet] = {}

    def allowed(self, where: Where) -> AddressSet | None:
        """What an allowing policy asks for; ``None`` if nothing."""
        if not where.prefixes and not where.prefix_lists:
            return None
        key = where.prefixes, where.prefix_lists
        if key not in self._made:
            listed = (self._lists.named(name) for name in where.prefix_lists)
            made = union([AddressSet.of(where.prefixes), *(one for one in listed if one)])
            self._made[key] = made
        return self._made[key]

    def denied(self, where: Where | None) -> AddressSet | None:
        """What a deny rule asks for: everywhere, if a list it names is not known."""
        if where is None:
            return None
        if any(self._lists.named(name) is None for name in where.prefix_lists):
            return EVERYWHERE
        return self.allowed(where)


@dataclass(frozen=True, slots=True)
class PrefixTable:
    """Ids of policies by network: as many look-ups as there are lengths of prefix."""

    by_length: tuple[tuple[int, int, Mapping[int | bytes, tuple[str, ...]]], ...]
    """(version, bits after the prefix, ids by ``_prefix``)."""

    @classmethod
    def of(cls, denies: Iterable[ReadyDeny]) -> Self:
        tables: dict[tuple[int, int], dict[int | bytes, tuple[str, ...]]] = defaultdict(dict)
        # Most prefixes are one rule's, and a list has two hundred thousand: no set for each.
        several: dict[tuple[int, int, int | bytes], set[str]] = {}
        for deny in denies:
            ids = tuple(sorted(deny.policy_ids))
            for version, first, bits in (deny.addresses or NOWHERE).blocks():
                prefix = _prefix(version, first >> bits)
                others = tables[version, bits].setdefault(prefix, ids)
                if others is not ids:
                    several.setdefault((version, bits, prefix), set(others)).update(ids)
        for (version, bits, prefix), found in several.items():
            tables[version, bits][prefix] = tuple(sorted(found))
        return cls(tuple((version, bits, table) for (version, bits), table in tables.items()))

    def ids_at(self, address: IPAddress) -> set[str]:
        """The policies that have a network with ``address`` in it."""
        address = unmapped(address)
        number, found = int(address), set[str]()
        for version, bits, table in self.by_length:
            if version == address.version:
                found.update(table.get(_prefix(version, number >> bits), ()))
        return found


def _prefix(version: int, number: int) -> int | bytes:
    """A key that no two prefixes share the hash of: Python's of a number is the number itself up to
    2**61, and beyond it anybody can find others with the same.
    """
    return number if version == 4 else number.to_bytes(16, "big")


class Unsorted(NamedTuple):
    """As ``PrefixTable``, for a few questions: looks at every rule, and takes nothing to make."""

    denies: Sequence[ReadyDeny]

    def ids_at(self, address: IPAddress) -> set[str]:
        """The policies that have a network with ``address`` in it."""
        found = (deny for deny in self.denies if address in (deny.addresses or NOWHERE))
        return {policy_id for deny in found for policy_id in deny.policy_ids}


_NO_REACHES = Reaches(frozenset(), NOWHERE, frozenset())
