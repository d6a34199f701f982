"""What would be decided, what was decided and why, and what another policy would have changed."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

from idp_gateway.access import Asked
from idp_gateway.callers import Caller
from idp_gateway.composition import Gateway
from idp_gateway.errors import InvalidInput, NotFound
from idp_gateway.origins import Origin
from idp_gateway.policy_cases import check_cases
from idp_gateway.policy_changes import read_given
from idp_gateway.policy_documents import lists_named, read_stored, stored_form
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord, PolicyVersionRecord
from idp_gateway.records import DecisionRecord, SocketRecord
from idp_gateway.replay import Trial
from idp_gateway.rules import GuardedSocket, effective, policy_set
from idp_gateway.schemas.policies import DiffForm, ExplainForm, ExplainReply
from idp_gateway.store.rules import AccountRules
from idp_gateway.turns import trial
from policy.addresses import EmailAddress
from policy.errors import AddressError, DocumentError
from policy.explain import Explanation, explain
from policy.names import GroupName
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    Decision,
    Identity,
    IPAddress,
    SocketType,
)

_USUAL_ACTION = {
    SocketType.HTTP: Action.HTTP,
    SocketType.HTTPS: Action.HTTP,
    SocketType.TCP: Action.SSH,
    SocketType.TLS: Action.TLS,
}
_TRIED_ID = "this-policy"
"""Id of a policy that is tried before it is there."""


def explain_visit(
    gateway: Gateway, caller: Caller, form: ExplainForm, here: IPAddress
) -> ExplainReply:
    """What would be decided about somebody who came to one of the caller's sockets.

    Raises:
        NotFound: no such socket of this account.
        InvalidInput: an address or name that cannot be read.
        TooManyAttempts: the account has something explained already.
    """
    socket = owned_socket(gateway, caller, form.socket)
    with trial(gateway, socket.account_id):
        return _explain_visit(gateway, socket, form, here)


def _explain_visit(
    gateway: Gateway, socket: SocketRecord, form: ExplainForm, here: IPAddress
) -> ExplainReply:
    door = gateway.rules.guarded(socket)
    at = form.at or gateway.clock()
    if at.tzinfo is None:
        raise InvalidInput("the time needs its offset from UTC", field="at")
    asked = Asked(
        identity=_imagined(form, at),
        action=Action(form.action or _USUAL_ACTION[socket.socket_type]),
        origin=_origin(gateway, form, here),
        client_proof=form.client_proof,
    )
    request = asked.of(door, at)
    found = explain(door.policies, request)
    return explain_reply(socket, found.decision, found)


def explain_reply(
    socket: SocketRecord, decision: Decision, explanation: Explanation
) -> ExplainReply:
    """An explanation as its owner sees it."""
    return ExplainReply(
        socket_id=socket.socket_id,
        dnsname=socket.dns_name,
        effect=str(decision.effect),
        reasons=[str(reason) for reason in decision.reasons],
        policy_ids=list(decision.policy_ids),
        expires_at=decision.expires_at,
        sources=None if decision.sources is None else list(map(str, decision.sources)),
        explanation=dict(explanation.to_json()),
        text=list(explanation.text()),
    )


def owned_socket(gateway: Gateway, caller: Caller, named: str) -> SocketRecord:
    """One of the caller's sockets, by id or by public name.

    Raises:
        NotFound: there is none, or it is another account's.
    """
    found = gateway.store.find_socket_by_dns_name(named.lower().removesuffix("."))
    socket_id = named if found is None else found.socket_id
    return gateway.store.get_socket(caller.account.account_id, socket_id)


def _imagined(form: ExplainForm, at: datetime) -> Identity:
    try:
        email = None if form.as_email is None else EmailAddress.parse(form.as_email)
        groups = frozenset(map(GroupName.parse, form.groups))
    except AddressError as error:
        raise InvalidInput(str(error), field="as", reason=error.reason) from error
    usual = Assurance.PROVIDER_VERIFIED
    if form.provider == "local":
        usual = Assurance.LOCAL_PASSWORD
    return Identity(
        issuer="",
        subject=form.subject or "",
        provider=form.provider or "",
        email=email,
        name=form.as_email or "",
        assurance=Assurance(form.assurance) if form.assurance else usual,
        groups=groups,
        service_account=form.service_account,
        authenticated_at=_logged_in(form, at),
    )


def _logged_in(form: ExplainForm, at: datetime) -> datetime:
    try:
        return at - timedelta(minutes=form.session_minutes)
    except OverflowError as error:
        raise InvalidInput("nobody can have logged in so early", field="at") from error


def _origin(gateway: Gateway, form: ExplainForm, here: IPAddress) -> Origin:
    try:
        address = here if form.from_address is None else ip_address(form.from_address)
    except ValueError as error:
        raise InvalidInput("from is an IP address", field="from") from error
    known = gateway.origins.of(address)
    return Origin(
        address=address,
        country=form.country.upper() if form.country else known.country,
        asn=form.asn or known.asn,
    )


def trials(gateway: Gateway, caller: Caller, form: DiffForm) -> list[Trial]:
    """The sockets on which another policy is to be tried, each with its policies before and after:
    those that are named, and all on which it bears already.

    Raises:
        NotFound: a policy or socket that this account does not have.
        PolicyRefused: the document has faults, or its own cases fail.
        InvalidInput: it bears on nothing, or names a list that is not there.
    """
    account_id = caller.account.account_id
    tried = _tried(gateway, caller, form)
    mine = gateway.store.sockets_of(account_id)
    wanted = frozenset(form.socket_ids or ())
    if not wanted <= {socket.socket_id for socket in mine}:
        raise NotFound("no such socket", reason="socket-unknown")
    rules = gateway.store.rules_of(mine).get(account_id, AccountRules())
    before_policy = rules.policies.get(tried.policy_id)
    everywhere = tried.org_wide or (before_policy is not None and before_policy.org_wide)
    sockets = [
        socket
        for socket in mine
        if socket.cloud_authentication_enabled
        and (
            everywhere
            or socket.socket_id in wanted
            or tried.policy_id in rules.attached.get(socket.socket_id, ())
        )
    ]
    after = _with_tried(gateway, rules, tried, wanted)
    blocked = gateway.rules.blocked_on(sockets)
    pairs = zip(
        gateway.rules.guarded_all(sockets),
        gateway.rules.guarded_under(sockets, after),
        strict=True,
    )
    return [
        Trial(
            socket=replace(before.socket, blocked=blocked[before.socket.socket_id]),
            before=before.policies,
            after=then.policies,
        )
        for before, then in pairs
    ]


def _tried(gateway: Gateway, caller: Caller, form: DiffForm) -> PolicyRecord:
    account_id = caller.account.account_id
    document = read_given(form.policy_data, form.policy_text)
    check_cases(gateway, account_id, document)
    now = gateway.clock()
    if form.policy_id is not None:
        policy = gateway.store.get_policy(account_id, form.policy_id)
    else:
        if form.socket_ids is None and not form.org_wide:
            raise InvalidInput(
                "a new policy bears on nothing: say socket_ids or org_wide",
                field="socket_ids",
                reason="sockets-missing",
            )
        policy = PolicyRecord(
            policy_id=_TRIED_ID,
            account_id=account_id,
            name="",
            description="",
            document="",
            created_at=now,
            updated_at=now,
        )
    return replace(
        policy,
        document=stored_form(document),
        prefix_lists=lists_named(document),
        org_wide=policy.org_wide if form.org_wide is None else form.org_wide,
    )


def _with_tried(
    gateway: Gateway,
    rules: AccountRules,
    tried: PolicyRecord,
    attached_to: AbstractSet[str],
) -> AccountRules:
    lists = {found.name: found for found in gateway.store.prefix_lists_of(tried.account_id)}
    missing = sorted(set(tried.prefix_lists) - set(lists))
    if missing:
        raise InvalidInput(
            f"there is no prefix list called {missing[0]}",
            field="policy_data",
            reason="prefix-list-unknown",
        )
    places = dict(rules.attached)
    for socket_id in attached_to:
        places[socket_id] = places.get(socket_id, frozenset()) | {tried.policy_id}
    named = {name: lists[name] for name in tried.prefix_lists}
    return AccountRules(
        policies={**rules.policies, tried.policy_id: tried},
        attached=places,
        prefix_lists={**rules.prefix_lists, **named},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """A recorded decision, asked again."""

    rules: str
    """``in-force``: under the rules of now, which are those of then; ``then``: under the policies
    of then, as far as they are kept, with the same outcome; ``recorded``: they cannot be had."""
    explanation: Explanation | None


def reconstruct(gateway: Gateway, socket: SocketRecord, record: DecisionRecord) -> Reconstruction:
    """Explain a decision from what was recorded of it.

    Raises:
        TooManyAttempts: the account has something explained already.
    """
    with trial(gateway, socket.account_id):
        return _reconstruct(gateway, socket, record)


def _reconstruct(gateway: Gateway, socket: SocketRecord, record: DecisionRecord) -> Reconstruction:
    door = gateway.rules.guarded(socket)
    request = _request(record, door)
    if request is None:
        return Reconstruction(rules="recorded", explanation=None)
    if record.epoch == socket.epoch and socket.cloud_authentication_enabled:
        found = explain(door.policies, request)
        # Who was let in for a while since then has not begun a new epoch.
        if _outcome(found.decision) == (record.effect, record.reasons, record.policy_ids):
            return Reconstruction(rules="in-force", explanation=found)
    rules = rules_at(gateway, socket, record.at)
    then = policy_set(effective(socket, rules), rules)
    found = explain(then, request)
    # The socket's own lists are those of now: only the same outcome will do.
    if _outcome(found.decision) != (record.effect, record.reasons, record.policy_ids):
        return Reconstruction(rules="recorded", explanation=None)
    return Reconstruction(rules="then", explanation=found)


def _outcome(decision: Decision) -> tuple[Any, ...]:
    return decision.effect, tuple(map(str, decision.reasons)), decision.policy_ids


def rules_at(gateway: Gateway, socket: SocketRecord, at: datetime) -> AccountRules:
    """The policies that bore on a socket at a moment, and their prefix lists as they were then."""
    entries: dict[str, PolicyVersionRecord] = {}
    attached: set[str] = set()
    for entry in gateway.store.policy_changes_until(socket.account_id, at):
        if entry.change is PolicyChangeKind.DELETED:
            entries.pop(entry.policy_id, None)
            attached.discard(entry.policy_id)
        elif entry.change is PolicyChangeKind.ATTACHED:
            attached |= {entry.policy_id} if socket.socket_id in entry.socket_ids else set()
        elif entry.change is PolicyChangeKind.DETACHED:
            attached -= {entry.policy_id} if socket.socket_id in entry.socket_ids else set()
        else:
            entries[entry.policy_id] = entry
    policies = {policy_id: _as_then(entry) for policy_id, entry in entries.items()}
    names = {name for policy in policies.values() for name in policy.prefix_lists}
    lists = gateway.store.prefix_lists_at(socket.account_id, names, at)
    return AccountRules(
        policies=policies,
        attached={socket.socket_id: frozenset(attached)},
        prefix_lists={found.name: found for found in lists},
    )


def _as_then(entry: PolicyVersionRecord) -> PolicyRecord:
    return PolicyRecord(
        policy_id=entry.policy_id,
        account_id=entry.account_id,
        name=entry.name,
        description=entry.description,
        document=entry.document or "{}",
        prefix_lists=_lists_in(entry.document),
        org_wide=entry.org_wide,
        version=entry.version,
        created_at=entry.at,
        updated_at=entry.at,
    )


def _lists_in(document: str | None) -> tuple[str, ...]:
    try:
        return lists_named(read_stored(document or "{}"))
    except (DocumentError, ValueError):
        return ()


def _request(record: DecisionRecord, door: GuardedSocket) -> AccessRequest | None:
    if record.assurance is None or record.authenticated_at is None:
        return None
    identity = Identity(
        issuer=record.issuer,
        subject=record.subject,
        provider=record.provider or "",
        email=None if record.email is None else EmailAddress.parse(record.email),
        name="",
        assurance=record.assurance,
        groups=frozenset(map(GroupName.parse, record.groups)),
        service_account=record.service_account,
        authenticated_at=record.authenticated_at,
    )
    return AccessRequest(
        identity=identity,
        socket=door.facing(identity.email),
        action=record.action,
        source_ip=ip_address(record.source_ip),
        country=record.country,
        asn=record.asn,
        client_proof=bool(record.client_proof),
        at=record.at,
    )


def diff_result(outcome: Mapping[str, Any], since: datetime, until: datetime) -> dict[str, Any]:
    """The last line of a replay."""
    return {
        "type": "result",
        "since": since.isoformat(),
        "until": until.isoformat(),
        **outcome,
    }
