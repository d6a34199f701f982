"""How much there is to a policy as it is stored: what has to be looked at and sorted to decide."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from idp_gateway.policy_documents import Remembered
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.store.policy_places import digest_of, is_cut

_Placed = tuple[frozenset[str], frozenset[str]]
"""Networks of a rule, and names of the document's own lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySize:
    """A document that cannot be read has none: it stands for one rule that keeps everybody out."""

    denies: int = 0
    """Deny rules."""
    placed: int = 0
    """Networks of its rules, with those of its own lists; what several rules say counts once."""
    named: Counter[str] = field(default_factory=Counter)
    """How many of its rules name each list of the account."""
    placed_allowed: int = 0
    placed_denied: int = 0
    """As ``placed``, of its condition and of its deny rules alone."""
    named_allowed: frozenset[str] = frozenset()
    """Lists of the account that its condition names."""
    cuts: bool = False
    """Whether a deny rule says addresses and something else, so that what is left has names."""

    @classmethod
    def of(cls, policy: PolicyRecord) -> Self:
        """The size of a policy, whatever is in its place in the database."""
        try:
            document = json.loads(policy.document)
            own = {name: len(found) for name, found in document.get("prefix_lists", {}).items()}
            wheres = list(_wheres(document))
            denied = list(_wheres({"deny": document.get("deny", ())}))
            allowed = list(_wheres({"condition": document.get("condition")}))
            return cls(
                denies=len(document.get("deny", ())),
                placed=_counted(wheres, own),
                placed_allowed=_counted(allowed, own),
                placed_denied=_counted(denied, own),
                named_allowed=frozenset(
                    name
                    for where in allowed
                    for name in set(where.get("prefix_list", ())).difference(own)
                ),
                cuts=any(map(is_cut, document.get("deny", ()))),
                named=Counter(
                    name
                    for where in wheres
                    for name in set(where.get("prefix_list", ())).difference(own)
                ),
            )
        except (ValueError, AttributeError, TypeError, RecursionError):
            return cls()

    def networks(self, lists: Mapping[str, int]) -> int:
        """Networks it names in all, where the account's lists have so many."""
        return self.placed + sum(lists.get(name, 0) * times for name, times in self.named.items())

    def allowed(self, lists: Mapping[str, int]) -> int:
        """As ``networks``, of its condition alone."""
        return self.placed_allowed + sum(lists.get(name, 0) for name in self.named_allowed)

    def denied(self, lists: Mapping[str, int]) -> int:
        """As ``networks``, of its deny rules alone. A list that is not there is everywhere."""
        named = self.named - Counter(self.named_allowed)
        return self.placed_denied + sum(lists.get(name, 2) * times for name, times in named.items())

    def exceeds(self, before: "PolicySize") -> bool:
        """Whether there is more to it, in any way, than there was before."""
        more = self.denies > before.denies or self.placed > before.placed
        return more or bool(self.named - before.named)


def _wheres(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for rule in (document.get("condition"), *document.get("deny", ())):
        where = rule.get("where") if rule else None
        if where:
            yield where


def _counted(wheres: Iterable[Mapping[str, Any]], own: Mapping[str, int]) -> int:
    return sum(_count(*one, own) for one in {_placed(where, own) for where in wheres})


def _placed(where: Mapping[str, Any], own: Mapping[str, int]) -> _Placed:
    names = frozenset(where.get("prefix_list", ()))
    return frozenset(where.get("allowed_ip", ())), names.intersection(own)


def _count(prefixes: frozenset[str], names: frozenset[str], own: Mapping[str, int]) -> int:
    return len(prefixes) + sum(own[name] for name in names)


_known: Remembered[PolicySize] = Remembered(20_000)


def size_of(policy: PolicyRecord) -> PolicySize:
    """As ``PolicySize.of``, remembered by the digest of the document."""
    return _known.get(digest_of(policy.document), lambda: (PolicySize.of(policy), 1))
