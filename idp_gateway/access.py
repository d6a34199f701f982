"""The choke point: the one place where a decision is asked for, recorded, and becomes a grant.

``authorize`` is the only caller of ``policy.evaluate`` in the gateway and ``grant`` the only maker
of a ``Grant``; a test reads the syntax trees of all other modules to keep it so. Tokens,
certificates and cookies that open a socket are made from a ``Grant`` and from nothing else.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from idp_gateway.clock import Clock
from idp_gateway.denials import RecentDenials
from idp_gateway.errors import AccessDenied
from idp_gateway.origins import Origin
from idp_gateway.records import DecisionRecord, LoginSessionRecord
from idp_gateway.rules import GuardedSocket
from idp_gateway.store import Store
from policy.addresses import EmailAddress
from policy.evaluate import evaluate
from policy.names import GroupName
from policy.policy_set import PolicySet
from policy.types import (
    AccessRequest,
    Action,
    Decision,
    Grant,
    Identity,
    Reason,
)

GRANT_LIFE = timedelta(minutes=5)
"""How long a grant is good for, at most."""
CLOCK_LEEWAY = timedelta(minutes=5)
"""How far before its making a grant starts, for verifiers whose clock is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision together with the request it answers, so that the two cannot part."""

    decision_id: str
    request: AccessRequest
    decision: Decision
    unrecorded: DecisionRecord | None = None
    """What is still to be put on record; of a verdict of ``authorize`` nothing is."""

    @property
    def allowed(self) -> bool:
        return self.decision.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who wants to do what, and from where."""

    identity: Identity
    action: Action
    origin: Origin
    client_proof: bool = False
    """Whether the caller proved that it has the private key it asks a certificate for."""

    def of(self, door: GuardedSocket, at: datetime) -> AccessRequest:
        """The same as a question about one socket at one moment."""
        return AccessRequest(
            identity=self.identity,
            socket=door.facing(self.identity.email),
            action=self.action,
            source_ip=self.origin.address,
            country=self.origin.country,
            asn=self.origin.asn,
            client_proof=self.client_proof,
            at=at,
        )


def authorize(
    store: Store,
    clock: Clock,
    door: GuardedSocket,
    asked: Asked,
    *,
    denials: RecentDenials | None = None,
) -> Verdict:
    """Decide whether somebody may use a socket now, and put the decision on record.

    The record is durable before this returns, whichever way the decision fell; only a denial that
    repeats one among ``denials`` has that one's.
    """
    verdict = decide(clock, door, asked, denials=denials)
    put_on_record(store, verdict, denials)
    return replace(verdict, unrecorded=None)


def decide(
    clock: Clock, door: GuardedSocket, asked: Asked, *, denials: RecentDenials | None = None
) -> Verdict:
    """As ``authorize``, but the caller sees to it that ``unrecorded`` is on record before anything
    that rests on the decision leaves: with ``put_on_record``, or in one transaction with it.
    """
    request = asked.of(door, clock())
    decision = evaluate(door.policies, request)
    if denials is not None and not decision.allowed:
        recorded = denials.find(request, decision)
        if recorded is not None:
            return Verdict(decision_id=recorded, request=request, decision=decision)
    decision_id = str(uuid.uuid4())
    return Verdict(
        decision_id=decision_id,
        request=request,
        decision=decision,
        unrecorded=_record(decision_id, request, decision),
    )


def put_on_record(store: Store, verdict: Verdict, denials: RecentDenials | None = None) -> None:
    """Make what is unrecorded of a verdict durable."""
    if verdict.unrecorded is None:
        return
    store.record_decision(verdict.unrecorded)
    if denials is not None:
        denials.remember(verdict.request, verdict.decision, verdict.decision_id)


def put_vain_on_record(store: Store, verdict: Verdict, denials: RecentDenials) -> None:
    """As ``put_on_record``, where a decision allowed something and nothing came of it: one that
    follows another like it within seconds is not kept. Nobody was told of it.
    """
    if denials.is_first_in_vain(verdict.request):
        put_on_record(store, verdict)


def admits(door: GuardedSocket, asked: Asked, *, at: datetime) -> bool:
    """Whether ``authorize`` would allow it now: for listing what somebody may open, never for
    letting them in. Nothing is recorded and nothing can be made from the answer.
    """
    return evaluate(door.policies, asked.of(door, at)).allowed


def what_if(policies: PolicySet, request: AccessRequest) -> Decision:
    """What these policies would decide on a request, past or imagined. As with ``admits`` nothing
    is recorded and nothing can be made from the answer.
    """
    return evaluate(policies, request)


def grant(
    verdict: Verdict,
    *,
    session: LoginSessionRecord,
    life: timedelta = GRANT_LIFE,
    leeway: timedelta = CLOCK_LEEWAY,
) -> Grant:
    """Leave to use the socket, for minutes, never longer than the login or the policy's window; nor
    than other addresses are sure to be good, if it is good from those too.

    Raises:
        AccessDenied: the decision is a deny, rests on no verified address, was made for somebody
            else than the session's owner, or the login session is over.
    """
    request, decision = verdict.request, verdict.decision
    identity, at = request.identity, request.at
    if not decision.allowed:
        raise _denied(verdict, decision.reasons[0])
    if identity.email is None:
        raise _denied(verdict, Reason.EMAIL_UNVERIFIED)
    if not session.stands(at) or (session.issuer, session.subject) != _key(identity):
        raise _denied(verdict, Reason.SESSION_EXPIRED)
    ends = [at + life, session.expires_at]
    if decision.expires_at is not None:
        ends.append(decision.expires_at)
    # A session that rests on the address is good from that one only, and a certificate from others
    # too; what rests on none is good wherever it is taken, and may not outlive that.
    held = request.action is Action.HTTP and _rests_on_address(decision)
    if decision.sources_until is not None and not held:
        ends.append(decision.sources_until)
    if min(ends) <= at:
        raise _denied(verdict, Reason.SESSION_EXPIRED)
    return Grant(
        grant_id=str(uuid.uuid4()),
        decision_id=verdict.decision_id,
        identity=identity,
        email=identity.email,
        socket_id=request.socket.socket_id,
        dns_name=request.socket.dns_name,
        epoch=request.socket.epoch,
        action=request.action,
        not_before=at - leeway,
        not_after=min(ends),
        session_id=session.session_id,
        source_ip=request.source_ip,
        sources=decision.sources,
        source_ids=decision.source_ids,
        place_counts=decision.place_counts,
        policy_ids=decision.policy_ids,
    )


def _rests_on_address(decision: Decision) -> bool:
    """Whether another address might be decided on otherwise, so that a session is held to one."""
    return decision.sources is not None or decision.place_counts


def identity_of(session: LoginSessionRecord) -> Identity:
    """The person a login session stands for; the record's e-mail is a verified one or none."""
    return Identity(
        issuer=session.issuer,
        subject=session.subject,
        provider=session.provider,
        email=EmailAddress.parse(session.email) if session.email is not None else None,
        name=session.name,
        assurance=session.assurance,
        groups=frozenset(map(GroupName.parse, session.groups)),
        authenticated_at=session.authenticated_at,
    )


def _key(identity: Identity) -> tuple[str, str]:
    return identity.issuer, identity.subject


def _denied(verdict: Verdict, reason: Reason) -> AccessDenied:
    return AccessDenied(
        "you are known here, but the rules of this socket do not admit you",
        decision_id=verdict.decision_id,
        reason=str(told_reason(reason)),
    )


def told_reason(reason: Reason) -> Reason:
    """The word a denied person is told: whom a deny rule names is not for them to find out."""
    return Reason.NOT_ON_LIST if reason is Reason.DENIED_BY_RULE else reason


def _record(decision_id: str, request: AccessRequest, decision: Decision) -> DecisionRecord:
    identity, email = request.identity, request.identity.email
    return DecisionRecord(
        decision_id=decision_id,
        at=request.at,
        effect=decision.effect,
        reasons=tuple(str(reason) for reason in decision.reasons),
        policy_ids=decision.policy_ids,
        issuer=identity.issuer,
        subject=identity.subject,
        email=str(email) if email is not None else None,
        socket_id=request.socket.socket_id,
        action=request.action,
        source_ip=str(request.source_ip),
        country=request.country,
        expires_at=decision.expires_at,
        epoch=request.socket.epoch,
        provider=identity.provider,
        assurance=identity.assurance,
        groups=tuple(sorted(map(str, identity.groups))) if identity.groups else (),
        service_account=identity.service_account,
        authenticated_at=identity.authenticated_at,
        asn=request.asn,
        client_proof=request.client_proof,
    )
