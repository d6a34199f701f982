"""How each policy that names the caller stands to one request: what of it is met, and how long."""

from datetime import datetime
from typing import NamedTuple, Self

from policy.conditions import LASTING, Facts, address
from policy.index import PolicyIndex, ReadyDeny, ReadyPolicy
from policy.types import Reason
from policy.windows import FOREVER


class Standing(NamedTuple):
    """One policy that lists the caller."""

    ready: ReadyPolicy
    named_as: set[Reason]
    lasting: tuple[Reason, ...]
    """What is not met whatever the address and the time."""
    address: Reason | None
    until: datetime | Reason
    """When its times end, or why they are over."""

    @classmethod
    def of(cls, ready: ReadyPolicy, named_as: set[Reason], facts: Facts) -> Self:
        lasting = [reason for check in LASTING if (reason := check(ready.policy, facts))]
        until = ready.until(facts.at, facts.identity.authenticated_at)
        return cls(ready, named_as, tuple(lasting), address(ready.addresses, facts), until)

    @property
    def unmet(self) -> tuple[Reason, ...]:
        """Why the policy does not allow the request; empty if it does."""
        place = () if self.address is None else (self.address,)
        time = (self.until,) if isinstance(self.until, Reason) else ()
        return (*self.lasting, *place, *time)


class Denials(NamedTuple):
    """How the deny rules stand to one request."""

    policy_ids: tuple[str, ...]
    """The policies that have a rule that matches, in order."""
    cuts: tuple[ReadyDeny, ...]
    """Rules that would match now from some other address."""
    dormant: tuple[tuple[ReadyDeny, datetime], ...]
    """Rules that will match, perhaps from some other address, and the moment from which on."""

    @classmethod
    def of(cls, index: PolicyIndex, facts: Facts) -> Self:
        ids = index.denied_at.ids_at(facts.address)
        cuts, dormant = [], []
        for deny in index.denying(facts):
            if not deny.open_at(facts.at):
                start = deny.opens(facts.at)
                if start < FOREVER:
                    dormant.append((deny, start))
            elif address(deny.addresses, facts) is not None:
                cuts.append(deny)
            else:
                ids.update(deny.policy_ids)
        return cls(tuple(sorted(ids)), tuple(cuts), tuple(dormant))

    def begin(self, facts: Facts | None = None) -> datetime:
        """When the first dormant rule matches at the address of ``facts``, or at any."""
        starts = (
            start
            for deny, start in self.dormant
            if facts is None or address(deny.addresses, facts) is None
        )
        return min(starts, default=FOREVER)
