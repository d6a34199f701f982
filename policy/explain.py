"""Why a decision fell: every policy, condition by condition, and the nearest rule that would have
changed it. For the owner; a denied person is told ``safe_reason`` and no more.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from policy.conditions import Facts, admitted_as, entries
from policy.evaluate import evaluate, refusal
from policy.index import ListSets, PolicyIndex, ReadyPolicy
from policy.policy_set import PolicySet
from policy.standing import Denials, Standing
from policy.types import AccessRequest, Decision, DenyRule, Policy, Reason, When, Where, Who

_MOST_SHOWN = 8


class Outcome(StrEnum):
    MET = "met"
    NOT_MET = "not-met"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition of one policy."""

    condition: str
    """As in the document: ``who``, ``where.country``, ``when``."""
    outcome: Outcome
    wanted: str
    found: str
    reason: Reason | None = None
    """What it adds to a denial."""


@dataclass(frozen=True, slots=True)
class PolicyFindings:
    """One policy: what it asks for, and how the request stands to it."""

    policy_id: str
    name: str
    findings: tuple[Finding, ...]
    denying: tuple[str, ...] = ()
    """Its deny rules that match, by name or number."""
    admits: bool = True
    """Whether it lists anybody: one that does not can let nobody in, whatever else is met."""

    @property
    def unmet(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.outcome is not Outcome.MET)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with everything it rests on."""

    decision: Decision
    policies: tuple[PolicyFindings, ...]
    deciding: str
    """The rule that decided, as a sentence."""
    nearest: str
    """What would have changed the decision, as a sentence; empty if no rule could."""

    @property
    def safe_reason(self) -> str:
        """What a denied person may be told: nothing of who, where or when others may."""
        return safe_reason(self.decision)

    def to_json(self) -> dict[str, Any]:
        """For the API and the CLI."""
        decision = self.decision
        return {
            "effect": str(decision.effect),
            "reasons": [str(reason) for reason in decision.reasons],
            "policy_ids": list(decision.policy_ids),
            "expires_at": decision.expires_at.isoformat() if decision.expires_at else None,
            "sources": None if decision.sources is None else [str(one) for one in decision.sources],
            "deciding": self.deciding,
            "nearest": self.nearest,
            "safe_reason": self.safe_reason,
            "policies": [
                {
                    "policy_id": one.policy_id,
                    "name": one.name,
                    "denying": list(one.denying),
                    "findings": [
                        {
                            "condition": finding.condition,
                            "outcome": str(finding.outcome),
                            "wanted": finding.wanted,
                            "found": finding.found,
                        }
                        for finding in one.findings
                    ],
                }
                for one in self.policies
            ],
        }

    def text(self) -> list[str]:
        """Lines for people."""
        decision = self.decision
        lines = [f"{decision.effect}: {', '.join(decision.reasons)}", self.deciding]
        if decision.expires_at is not None:
            lines.append(f"until {decision.expires_at.isoformat()}")
        if self.nearest:
            lines.append(self.nearest)
        for one in self.policies:
            lines.append(f"policy {_title(one)}")
            lines += [f"  deny rule {rule}: matches" for rule in one.denying]
            lines += [
                f"  {each.condition}: {each.outcome} (wants {each.wanted}; is {each.found})"
                for each in one.findings
            ]
        return lines


_SAFE = {
    Reason.ACTION_NOT_OFFERED: "this is not what the address is for",
    Reason.EMAIL_UNVERIFIED: "your e-mail address has not been verified by who you logged in with",
    Reason.OUTSIDE_TIME_WINDOW: "not at this time",
    Reason.ADDRESS_NOT_ALLOWED: "not from the network you are on",
    Reason.COUNTRY_NOT_ALLOWED: "not from the network you are on",
    Reason.COUNTRY_UNKNOWN: "not from the network you are on",
    Reason.NETWORK_NOT_ALLOWED: "not from the network you are on",
    Reason.NETWORK_UNKNOWN: "not from the network you are on",
    Reason.ASSURANCE_TOO_LOW: "log in with a provider that has verified you more strongly",
    Reason.LOGIN_TOO_OLD: "log in again",
    Reason.CLIENT_PROOF_REQUIRED: "only with a client that proves that it has its key",
}
_NOT_FOR_YOU = "the rules here do not admit you"


def safe_reason(decision: Decision) -> str:
    """What a denied person may be told. Whoever no policy lists learns nothing but that; the same
    is said of deny rules, so that nobody learns of them by trying, and of revocation, which has a
    reason of its own beside this sentence.
    """
    if decision.allowed:
        return ""
    return _SAFE.get(decision.reasons[0], _NOT_FOR_YOU)


def explain(policies: PolicySet, request: AccessRequest) -> Explanation:
    """Decide like ``evaluate``, and say why. Looks at every policy, so it is not for hot paths; but
    makes nothing ready anew, which takes long where lists are.
    """
    decision = evaluate(policies, request)
    facts = Facts.of(request)
    index = policies.index
    ready, matching = index.ready(), index.matching(facts)
    explained = tuple(
        _explained(ready.get(id(one)) or _naming_nobody(one, policies), matching, facts)
        for one in policies.policies
    )
    return Explanation(
        decision=decision,
        policies=explained,
        deciding=_deciding(decision, explained),
        nearest=_nearest(policies, request, decision, explained),
    )


def _explained(ready: ReadyPolicy, matching: AbstractSet[DenyRule], facts: Facts) -> PolicyFindings:
    policy = ready.policy
    denying = tuple(
        rule.name or f"#{number}"
        for number, rule in enumerate(policy.denies, 1)
        if matching and replace(rule, name="") in matching
    )
    return PolicyFindings(
        policy.policy_id,
        policy.name,
        tuple(_findings(ready, facts)),
        denying,
        admits=any(True for _ in entries(policy.who)),
    )


def _findings(ready: ReadyPolicy, facts: Facts) -> Iterator[Finding]:
    """Every condition the policy has, in the order of a document."""
    policy = ready.policy
    yield _action(policy, facts)
    who = policy.who
    listed = set(entries(who))
    matched = [entry for entry, _ in admitted_as(facts.identity) if entry in listed]
    outcome = Outcome.MET if matched else Outcome.NOT_MET
    caller = facts.identity.service_account or facts.identity.email or "no verified e-mail address"
    reason = None if matched else Reason.NOT_ON_LIST
    yield Finding("who", outcome, _listing(who), str(caller), reason)
    standing = Standing.of(ready, set(), facts)
    yield from _placed(policy.where, standing, facts)
    yield from _timed(policy, standing, facts)
    yield from _proved(policy, standing, facts)


def _naming_nobody(policy: Policy, policies: PolicySet) -> ReadyPolicy:
    """A policy made ready that lists nobody, and so is in no index."""
    somebody = replace(policy, who=Who(service_accounts=frozenset({""})), denies=())
    index = PolicyIndex.build([somebody], ListSets(policies.prefix_lists), for_cases=True)
    return replace(index.allows[""][0], policy=policy)


def _action(policy: Policy, facts: Facts) -> Finding:
    good = facts.action in policy.actions
    return Finding(
        "action",
        Outcome.MET if good else Outcome.NOT_MET,
        _some(policy.actions) or "nothing",
        str(facts.action),
        None if good else Reason.ACTION_NOT_ALLOWED,
    )


def _placed(where: Where, standing: Standing, facts: Facts) -> Iterator[Finding]:
    if standing.ready.addresses is not None:
        wanted = _some([*where.prefixes, *(f"list {name}" for name in where.prefix_lists)])
        yield _finding("where.allowed_ip", wanted, str(facts.address), standing.address)
    country = _reason_in(standing, Reason.COUNTRY_NOT_ALLOWED, Reason.COUNTRY_UNKNOWN)
    if where.countries or where.countries_not:
        wanted = _either(where.countries, where.countries_not)
        yield _finding("where.country", wanted, facts.country or "unknown", country)
    network = _reason_in(standing, Reason.NETWORK_NOT_ALLOWED, Reason.NETWORK_UNKNOWN)
    if where.asns or where.asns_not:
        wanted = _either(where.asns, where.asns_not)
        yield _finding("where.asn", wanted, str(facts.asn or "unknown"), network)


def _timed(policy: Policy, standing: Standing, facts: Facts) -> Iterator[Finding]:
    reason = standing.until if isinstance(standing.until, Reason) else None
    if standing.ready.window is not None:
        outside = reason if reason is Reason.OUTSIDE_TIME_WINDOW else None
        yield _finding("when", _times(policy.when), facts.at.isoformat(), outside)
    if policy.max_session is not None:
        old = reason if reason is Reason.LOGIN_TOO_OLD else None
        login = f"logged in at {facts.identity.authenticated_at.isoformat()}"
        yield _finding("max_session", str(policy.max_session), login, old)


def _proved(policy: Policy, standing: Standing, facts: Facts) -> Iterator[Finding]:
    if policy.min_assurance is not None:
        weak = _reason_in(standing, Reason.ASSURANCE_TOO_LOW)
        found = str(facts.identity.assurance)
        yield _finding("assurance", f"{policy.min_assurance} or stronger", found, weak)
    if policy.client_proof:
        missing = _reason_in(standing, Reason.CLIENT_PROOF_REQUIRED)
        found = "proved" if facts.client_proof else "not proved"
        yield _finding("client_proof", "proof of the client's key", found, missing)


def _finding(condition: str, wanted: str, found: str, reason: Reason | None) -> Finding:
    unknown = reason in {Reason.COUNTRY_UNKNOWN, Reason.NETWORK_UNKNOWN}
    outcome = Outcome.UNKNOWN if unknown else Outcome.NOT_MET if reason else Outcome.MET
    return Finding(condition, outcome, wanted, found, reason)


def _reason_in(standing: Standing, *reasons: Reason) -> Reason | None:
    return next((reason for reason in standing.lasting if reason in reasons), None)


def _deciding(decision: Decision, explained: tuple[PolicyFindings, ...]) -> str:
    if decision.allowed:
        names = ", ".join(_title(one) for one in explained if one.policy_id in decision.policy_ids)
        return f"allowed by policy {names}"
    if decision.reasons == (Reason.DENIED_BY_RULE,):
        rules = [f"{rule} of policy {_title(one)}" for one in explained for rule in one.denying]
        return f"denied by rule {', '.join(rules)}"
    return _BY_ITSELF.get(decision.reasons[0], "no policy allows it")


_BY_ITSELF = {
    Reason.ACTION_NOT_OFFERED: "a socket of this type is not used in this way",
    Reason.NO_POLICY: "no policy of the socket lists anybody",
    Reason.EMAIL_UNVERIFIED: "the caller has no verified e-mail address",
    Reason.PERSON_REVOKED: "the person is revoked on this socket",
    Reason.NOT_ON_LIST: "no policy of the socket lists the caller",
}


def _nearest(
    policies: PolicySet,
    request: AccessRequest,
    decision: Decision,
    explained: tuple[PolicyFindings, ...],
) -> str:
    """The rule that would have changed the decision with the least of it different."""
    if decision.allowed:
        return _nearest_deny(policies, request, decision, explained)
    if refusal(policies, request) not in {None, Reason.NO_POLICY}:
        return ""
    least = _least([one for one in explained if one.admits] or explained)
    if decision.reasons == (Reason.DENIED_BY_RULE,):
        return f"without the deny rule it would be as if {least}"
    return f"nearest: {least}" if explained else ""


def _least(explained: Sequence[PolicyFindings]) -> str:
    if not explained:
        return ""
    best = min(explained, key=lambda one: (len(one.unmet), one.policy_id))
    if not best.unmet:
        return f"policy {_title(best)} allowed it"
    asks = "; ".join(f"{one.condition} {one.wanted}, not {one.found}" for one in best.unmet)
    return f"policy {_title(best)} asks for {asks}"


def _nearest_deny(
    policies: PolicySet,
    request: AccessRequest,
    decision: Decision,
    explained: tuple[PolicyFindings, ...],
) -> str:
    """Of an allow: what it hangs on."""
    if len(decision.policy_ids) > 1:
        return f"{len(decision.policy_ids)} policies allow it, each by itself"
    one = next(one for one in explained if one.policy_id in decision.policy_ids)
    wants = "; ".join(f"{finding.condition} {finding.wanted}" for finding in one.findings)
    dormant = Denials.of(policies.index, Facts.of(request)).dormant
    later = f"; a deny rule begins at {min(at for _, at in dormant).isoformat()}" if dormant else ""
    return f"it hangs on policy {_title(one)} alone: {wants}{later}"


def _title(one: PolicyFindings) -> str:
    return f"{one.name} ({one.policy_id})" if one.name else one.policy_id


def _listing(who: Who) -> str:
    return _some([str(entry) for entry in entries(who)]) or "nobody"


def _either(these: Any, but_not: Any) -> str:
    parts = [_some(these)] if these else []
    return " and ".join([*parts, f"not {_some(but_not)}"] if but_not else parts)


def _some(values: Any) -> str:
    """A few of the values, in order, and how many more there are."""
    texts = sorted(map(str, values))
    more = f" and {len(texts) - _MOST_SHOWN} more" if len(texts) > _MOST_SHOWN else ""
    return ", ".join(texts[:_MOST_SHOWN]) + more


def _times(when: When) -> str:
    parts = [f"from {when.after.isoformat()}"] if when.after else []
    parts += [f"before {when.before.isoformat()}"] if when.before else []
    if when.weekdays:
        parts.append(", ".join(day.name[:3].lower() for day in sorted(when.weekdays)))
    if when.day_starts is not None or when.day_ends is not None:
        starts = when.day_starts.isoformat() if when.day_starts else "00:00:00"
        parts.append(f"{starts} to {when.day_ends.isoformat() if when.day_ends else '24:00:00'}")
    return f"{' '.join(parts)} {when.zone}"
