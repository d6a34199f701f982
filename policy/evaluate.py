"""The one function that decides. Pure and total: the same request always gets the same answer.

Default deny. A socket's policies are joined by OR, and so is everything one policy's ``who`` lists;
its other conditions are joined by AND. One deny rule that matches, of whichever policy, outweighs
all that is allowed. Whoever was revoked on the socket stays out whatever the policies say, and so
do people without a verified e-mail address, for nobody could revoke them.
Whether a socket asks for an identity at all (``Socket.identity_required``) is not decided here: who
gets as far as this is decided on like everybody else.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from policy.address_sets import EVERYWHERE
from policy.conditions import Facts, offers
from policy.policy_set import PolicySet
from policy.standing import Denials, Standing
from policy.types import AccessRequest, Decision, Effect, IPNetwork, Reason
from policy.windows import FOREVER

_ORDER = {reason: place for place, reason in enumerate(Reason)}
_MOST_STEPS = 64
"""Windows of different policies that are followed from one to the next."""


def evaluate(policies: PolicySet, request: AccessRequest) -> Decision:
    """Decide on one request; a deny always says why, an allow names the policies it rests on.

    A deny by rule names the policies that have the rule. Where no policy's conditions are all met,
    the reasons are what those that name the caller and come nearest still ask for.
    """
    refused = refusal(policies, request)
    if refused is not None:
        return _deny(refused)
    facts = Facts.of(request)
    denials = Denials.of(policies.index, facts)
    if denials.policy_ids:
        return _deny(Reason.DENIED_BY_RULE, policy_ids=denials.policy_ids)
    naming = standings(policies, facts)
    if not naming:
        return _deny(Reason.NOT_ON_LIST)
    allowing = [standing for standing in naming if not standing.unmet]
    if not allowing:
        return _deny(*_nearest(naming))
    reach = _reach(policies, naming, denials, facts)
    here = [standing for standing in naming if not standing.lasting and standing.address is None]
    end = _end(here, denials.begin(facts), facts)
    return Decision(
        effect=Effect.ALLOW,
        reasons=_in_order(reason for standing in allowing for reason in standing.named_as),
        policy_ids=_ids(allowing),
        expires_at=_finite(end),
        sources=reach.sources,
        source_ids=reach.source_ids,
        sources_until=_finite(reach.until) if reach.until < end else None,
        place_counts=policies.place_counts,
    )


def refusal(policies: PolicySet, request: AccessRequest) -> Reason | None:
    """What keeps the caller out before any policy is looked at."""
    email, program = request.identity.email, request.identity.service_account is not None
    if not offers(request.socket.socket_type, request.action):
        return Reason.ACTION_NOT_OFFERED
    if not policies.index.allows:
        return Reason.NO_POLICY
    if email is None:
        return None if program else Reason.EMAIL_UNVERIFIED
    return Reason.PERSON_REVOKED if email in request.socket.blocked else None


def standings(policies: PolicySet, facts: Facts) -> list[Standing]:
    """How the policies stand that name the caller."""
    naming = policies.index.naming(facts.identity)
    return [Standing.of(ready, named_as, facts) for ready, named_as in naming.items()]


class _Reach(NamedTuple):
    sources: tuple[IPNetwork, ...] | None
    source_ids: tuple[str, ...] | None
    until: datetime


def _reach(policies: PolicySet, naming: list[Standing], denials: Denials, facts: Facts) -> _Reach:
    """From where else the request would be allowed now, and up to when that holds at least."""
    reaches = policies.index.reaches
    if reaches.unbounded or reaches.nameless:
        return _Reach(None, None, FOREVER)
    conditions, ends, everywhere = set(), [denials.begin()], list[Standing]()
    for standing in naming:
        if standing.lasting:
            continue
        addresses = standing.ready.addresses
        if addresses is None:
            everywhere.append(standing)
        if not isinstance(standing.until, Reason):
            conditions.add(EVERYWHERE if addresses is None else addresses)
            ends.append(standing.until)
    cuts = frozenset(deny.addresses for deny in denials.cuts if deny.addresses is not None)
    until = min(ends)
    if any(not isinstance(standing.until, Reason) for standing in everywhere):
        # Those that ask for no address hold everywhere, whenever the others end.
        until = _end(everywhere, ends[0], facts)
    return _Reach(*reaches.said(frozenset(conditions), cuts), until)


def _end(standings: list[Standing], limit: datetime, facts: Facts) -> datetime:
    """The first moment at which none of ``standings`` is open, of which one is; at most ``limit``,
    at which a rule denies.
    """
    end = max(one.until for one in standings if not isinstance(one.until, Reason))
    for _ in range(_MOST_STEPS):
        if end >= limit or len(standings) == 1:
            break
        login = facts.identity.authenticated_at
        untils = [standing.ready.until(end, login) for standing in standings]
        further = [until for until in untils if not isinstance(until, Reason)]
        if not further:
            break
        end = max(further)
    return min(end, limit)


def _finite(moment: datetime) -> datetime | None:
    return None if moment == FOREVER else moment


def _nearest(naming: list[Standing]) -> tuple[Reason, ...]:
    """What the policies ask for that ask for least."""
    unmet = [standing.unmet for standing in naming]
    fewest = min(map(len, unmet))
    return _in_order(reason for reasons in unmet if len(reasons) == fewest for reason in reasons)


def _ids(standings: Iterable[Standing]) -> tuple[str, ...]:
    return tuple(sorted({standing.ready.policy.policy_id for standing in standings}))


def _in_order(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    distinct = set(reasons)
    return (
        tuple(distinct) if len(distinct) == 1 else tuple(sorted(distinct, key=_ORDER.__getitem__))
    )


def _deny(*reasons: Reason, policy_ids: tuple[str, ...] = ()) -> Decision:
    return Decision(effect=Effect.DENY, reasons=reasons, policy_ids=policy_ids)
