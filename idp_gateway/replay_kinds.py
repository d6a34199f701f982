"""Which recorded requests are alike to sets of policies, told by their columns.

Addresses and people of which most come once are the same to a rule that names neither: what was
decided on one request holds for all whose columns are of the same kinds.
"""

import json
import socket
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import count
from operator import itemgetter
from typing import Any

from idp_gateway.store.replays import ASKED
from policy.addresses import EmailAddress
from policy.alike import Alike
from policy.errors import AddressError
from policy.names import GroupName
from policy.policy_set import PolicySet

MAX_KNOWN = 100_000
"""Values of a column, or of several together, whose kind is remembered."""
_UNREADABLE = "unreadable"
_FIELD = {name: place for place, name in enumerate(ASKED)}


class RowKinds:
    """Immutable but for what it remembers of its own results."""

    def __init__(self, sets: Sequence[PolicySet], blocked: frozenset[EmailAddress]) -> None:
        alike = Alike(sets, blocked)
        proof = ("client_proof",) if alike.proofs_matter else ()
        self._plain = _columns("assurance", "action", *proof)
        self._looked_at = [
            (_columns(*names), _Kinds(kind)) for names, kind in _kinds_of(alike).items()
        ]

    def of(self, row: Sequence[Any]) -> Hashable:
        """The same for rows that are alike but for their times."""
        return self._plain(row), *[kinds[columns(row)] for columns, kinds in self._looked_at]


class _Kinds(dict[Any, int]):
    """Numbers of the kinds of values, by the value. A number never comes to mean another kind."""

    def __init__(self, kind: Callable[..., Hashable]) -> None:
        super().__init__()
        self._kind = kind
        self._fresh = count()
        self._numbers: dict[Hashable, int] = {}

    def __missing__(self, value: Any) -> int:
        try:
            kind = self._kind(value)
        except (AddressError, ValueError):
            kind = _UNREADABLE
        if len(self) >= MAX_KNOWN:
            self.clear()
            self._numbers.clear()
        number = self._numbers.get(kind)
        if number is None:
            number = self._numbers[kind] = next(self._fresh)
        self[value] = number
        return number


def _kinds_of(alike: Alike) -> dict[tuple[str, ...], Callable[..., Hashable]]:
    """What tells kinds apart, by the columns it needs: one as it is, several as a tuple."""
    found: dict[tuple[str, ...], Callable[..., Hashable]] = {
        ("email",): lambda text: alike.email(email_of(text)),
        ("service_account",): alike.program,
    }
    if alike.subjects_matter:
        found["provider", "email", "subject"] = lambda said: alike.subject(
            said[0] or "", email_of(said[1]), said[2]
        )
    if alike.groups_matter:
        found["groups",] = lambda text: alike.groups(groups_of(text))
    if alike.addresses_matter:
        found["source_ip",] = lambda text: alike.address(*_number(text))
    if alike.countries_matter:
        found["country",] = alike.country
    if alike.asns_matter:
        found["asn",] = alike.asn
    return found


def _columns(*names: str) -> Callable[[Sequence[Any]], Any]:
    return itemgetter(*(_FIELD[name] for name in names))


def _number(text: str) -> tuple[int, int]:
    """Version and number of an address; the library that is used elsewhere takes ten times as long.

    Raises:
        ValueError: not an address.
    """
    family, version = (socket.AF_INET6, 6) if ":" in text else (socket.AF_INET, 4)
    try:
        return version, int.from_bytes(socket.inet_pton(family, text), "big")
    except (OSError, ValueError):  # not one, or with a scope
        address = ip_address(text)
        return address.version, int(address)


@lru_cache(10_000)
def email_of(text: str | None) -> EmailAddress | None:
    """A recorded e-mail address. Raises AddressError."""
    return None if text is None else EmailAddress.parse(text)


@lru_cache(10_000)
def groups_of(text: str) -> frozenset[GroupName]:
    """Recorded groups. Raises AddressError or ValueError."""
    return frozenset(map(GroupName.parse, json.loads(text)))
