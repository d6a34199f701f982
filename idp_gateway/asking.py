"""Asking to be let in: what has to hold before a request reaches an owner."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from idp_gateway.access import Asked, authorize
from idp_gateway.approving import ApprovalRules, Person
from idp_gateway.client_access import find_account_of
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict, Forbidden, InvalidInput, NotAuthenticated, NotFound
from idp_gateway.rates import regulate
from idp_gateway.records import SocketRecord
from idp_gateway.request_records import AccessRequestRecord
from idp_gateway.sessions import secret_digest
from idp_gateway.store.access_requests import AskingLimits
from policy.conditions import offers
from policy.types import Action, Effect, Identity, IPAddress, Reason, SocketType

UNANSWERED_LIFE = timedelta(days=7)
"""How long a request waits for an answer."""
TRIES, TRIES_WINDOW = 60, timedelta(hours=1)
"""How often one person may try to ask, or see the form for it, whatever comes of it: names of
sockets are not to be guessed at, and each try may leave a decision on record."""
LIMITS = AskingLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants, in their words."""

    dns_name: str
    action: Action | None = None
    """What for; if not said, what the type of the socket suggests."""
    decision_id: str | None = None
    """A denial of theirs; if not said, the socket is decided on now."""
    reason: str
    minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Somebody before a socket they may ask for."""

    identity: Identity
    person: Person
    source_ip: IPAddress
    socket: SocketRecord
    rules: ApprovalRules


def person_of(gateway: Gateway, identity: Identity) -> Person:
    """The person behind a login, with the account they own sockets with, if any."""
    return Person.of(identity, find_account_of(gateway, identity))


def approach(gateway: Gateway, identity: Identity, source_ip: IPAddress, dns_name: str) -> Asking:
    """Who asks and for what socket, before anything is decided.

    Raises:
        NotAuthenticated: the login is from before this was possible.
        Forbidden: nobody vouches for their address, or the owner revoked them.
        NotFound: no such socket, it asks nobody who they are, or nobody may ask: all alike.
        Conflict: it is their own, and there is nobody else to ask.
        TooManyAttempts: they tried too often lately, whatever the names.
    """
    now = gateway.clock()
    key = f"ask:{secret_digest(f'{identity.issuer} {identity.subject}')}"
    regulate(gateway.store, key, TRIES, TRIES_WINDOW, now)
    gateway.store.record_failure(key, now)
    person = person_of(gateway, identity)
    if not person.provider:
        # A login from before the provider's name was kept: no policy could name it.
        raise NotAuthenticated("log in anew first", reason="login-ended")
    if person.email is None:
        raise Forbidden(
            "only somebody whose e-mail address a provider has verified can ask",
            reason=Reason.EMAIL_UNVERIFIED,
        )
    socket = gateway.store.find_socket_by_dns_name(dns_name.lower())
    rules = None if socket is None else gateway.store.rules_for_socket(socket.socket_id)
    if (
        socket is None
        or rules is None
        or not rules.asking
        or not socket.cloud_authentication_enabled
    ):
        raise NotFound("there is no such service", reason=Reason.SOCKET_UNKNOWN)
    if gateway.store.blocks_person(socket.socket_id, person.email):
        raise Forbidden(
            "the owner of this service has taken your access back, and no request changes that",
            reason=Reason.PERSON_REVOKED,
        )
    if person.account_id == rules.account_id and rules.owner_decides_alone:
        raise Conflict(
            "this is your own socket: add yourself to its list instead", reason="own-socket"
        )
    return Asking(identity=identity, person=person, source_ip=source_ip, socket=socket, rules=rules)


def ask(
    gateway: Gateway, identity: Identity, source_ip: IPAddress, wish: Wish
) -> AccessRequestRecord:
    """Put a request before the owner of a socket.

    Raises:
        Forbidden, NotFound, Conflict: as ``approach``; or Conflict if they are let in already or a
            request of theirs is open.
        InvalidInput: the time, the action or the decision is not one to ask for.
        TooManyAttempts: too much was asked, by them or for the socket.
    """
    now = gateway.clock()
    longest = gateway.settings.approval_max_minutes
    if not 1 <= wish.minutes <= longest:
        raise InvalidInput(f"from 1 to {longest} minutes", field="minutes", reason="time-too-long")
    if not wish.reason.strip():
        raise InvalidInput("say why you should be let in", field="reason", reason="text-blank")
    asking = approach(gateway, identity, source_ip, wish.dns_name)
    action = wish.action or _usual_action(asking.socket)
    if not offers(asking.socket.socket_type, action):
        raise InvalidInput(
            f"a {asking.socket.socket_type} socket is not for {action}",
            field="action",
            reason=Reason.ACTION_NOT_OFFERED,
        )
    person = asking.person
    assert person.email is not None  # noqa: S101 - approach lets nobody else ask
    request = AccessRequestRecord(
        request_id=str(uuid.uuid4()),
        account_id=asking.rules.account_id,
        socket_id=asking.socket.socket_id,
        action=action,
        decision_id=_denial(gateway, asking, action, wish.decision_id),
        issuer=person.issuer,
        subject=person.subject,
        provider=person.provider,
        email=person.email,
        name=person.name,
        asker_account_id=person.account_id,
        reason=wish.reason,
        minutes=wish.minutes,
        needed=asking.rules.needed,
        created_at=now,
        over_at=now + UNANSWERED_LIFE,
    )
    return gateway.store.add_access_request(request, person, LIMITS)


def _usual_action(socket: SocketRecord) -> Action:
    if not socket.socket_type.has_own_port:
        return Action.HTTP
    return Action.SSH if socket.socket_type is SocketType.TCP else Action.TLS


def _denial(gateway: Gateway, asking: Asking, action: Action, decision_id: str | None) -> str:
    """The id of the denial a request rests on: the one they were shown, or one made now."""
    if decision_id:
        found = gateway.store.find_decision(decision_id)
        theirs = (asking.identity.issuer, asking.identity.subject, asking.socket.socket_id)
        if (
            found is None
            or found.effect is not Effect.DENY
            or (found.issuer, found.subject, found.socket_id) != theirs
        ):
            raise InvalidInput(
                "that is no decision that kept you out of this service",
                field="decision_id",
                reason="decision-unknown",
            )
        return decision_id
    door = gateway.rules.guarded(asking.socket)
    origin = gateway.origins.of(asking.source_ip)
    question = Asked(
        identity=asking.identity,
        action=action,
        origin=origin,
        client_proof=action is not Action.HTTP,
    )
    verdict = authorize(gateway.store, gateway.clock, door, question, denials=gateway.denials)
    if verdict.allowed:
        raise Conflict("you are let in already; there is nothing to ask", reason="already-allowed")
    return verdict.decision_id
