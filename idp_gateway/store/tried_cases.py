"""What the cases of policies were tried on, and whether that still holds when a change is written.

Cases are tried before the change takes the lock of ``Database.changing``, which everybody waits
for: large lists take long. What was looked at may be another by then; the change is refused then,
and its cases have to be tried anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from idp_gateway.errors import Conflict
from idp_gateway.policy_records import PolicyRecord, PrefixListHead, PrefixListRecord
from idp_gateway.store.rules import list_heads

CASES_OLD = "policy-cases-old"
"""Reason of the conflict that a change is whose cases were tried on something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedOn:
    """Versions that cases were tried on."""

    lists: Mapping[str, int]
    """By name; those that were there."""
    policies: Mapping[str, int] = field(default_factory=dict)
    """Policies whose cases were tried, by id."""

    @classmethod
    def of(
        cls,
        lists: Iterable[PrefixListHead | PrefixListRecord],
        policies: Iterable[PolicyRecord] = (),
    ) -> "TriedOn":
        """What these cases were tried on."""
        return cls(
            lists={one.name: one.version for one in lists},
            policies={one.policy_id: one.version for one in policies},
        )


def check_still_so(
    connection: Connection,
    account_id: str,
    tried: TriedOn | None,
    *,
    names: Iterable[str],
    policies: Iterable[PolicyRecord] = (),
) -> None:
    """Compare what was tried with what is there: the account's lists of these names, and the
    policies whose cases are to hold. Nothing tried is nothing to hold.

    Raises:
        Conflict: something has changed; its reason is ``CASES_OLD``.
    """
    if tried is None:
        return
    lists = list_heads(connection, account_id, names).values()
    if TriedOn.of(lists, policies) != tried:
        raise Conflict("lists or policies changed in the meantime; try again", reason=CASES_OLD)
