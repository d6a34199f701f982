"""The choke point: every decision on record, and no grant but from an allowing one."""

import ast
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from idp_gateway import access, denials
from idp_gateway.composition import Gateway
from idp_gateway.denials import RecentDenials
from idp_gateway.errors import AccessDenied
from idp_gateway.origins import Origin
from idp_gateway.records import LoginSessionRecord
from idp_gateway.rules import GuardedSocket
from policy.addresses import EmailAddress
from policy.policy_set import PolicySet
from policy.types import (
    Action,
    Assurance,
    Decision,
    Effect,
    Policy,
    Reason,
    Socket,
    SocketType,
    Who,
)
from tests.idp_gateway.conftest import FixedClock

ROOT = Path(access.__file__).parents[1]
PACKAGES = ("idp_gateway", "ca", "policy", "proxy", "clients", "templates")
ADDRESS = ip_address("192.0.2.7")
PLACE: dict[str, Any] = {"place_counts": True}


def socket() -> Socket:
    return Socket(
        socket_id="11111111-1111-4111-8111-111111111111",
        dns_name="calm-otter-1000.edge.localhost",
        socket_type=SocketType.TLS,
        epoch=7,
        ports=(20001,),
        identity_required=True,
    )


BLOCKED = "mallory@corp.test"


def door(*emails: str, epoch: int = 7) -> GuardedSocket:
    addresses = frozenset(EmailAddress.parse(email) for email in emails)
    policies = PolicySet.build([Policy(policy_id="p", who=Who(emails=addresses))])
    return GuardedSocket(
        socket=replace(socket(), epoch=epoch),
        policies=policies,
        blocks=lambda email: str(email) == BLOCKED,
    )


def asked(session: LoginSessionRecord, **changes: Any) -> access.Asked:
    plain = access.Asked(
        identity=access.identity_of(session), action=Action.TLS, origin=Origin(address=ADDRESS)
    )
    return replace(plain, **changes)


@pytest.fixture
def session(clock: FixedClock) -> LoginSessionRecord:
    return LoginSessionRecord(
        session_id="s",
        issuer="https://idp.lab.test",
        subject="42",
        email="alice@lab.test",
        name="Alice",
        assurance=Assurance.PROVIDER_VERIFIED,
        provider="lab",
        groups=("lab:ops", "lab:staff"),
        authenticated_at=clock(),
        expires_at=clock() + timedelta(hours=1),
    )


def judge(gateway: Gateway, session: LoginSessionRecord, *emails: str) -> access.Verdict:
    return access.authorize(gateway.store, gateway.clock, door(*emails), asked(session))


def test_an_allowing_decision_becomes_a_grant_for_minutes(
    gateway: Gateway, clock: FixedClock, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, session, "alice@lab.test")
    granted = access.grant(verdict, session=session)
    assert granted.not_before == clock() - timedelta(minutes=5)
    assert granted.not_after == clock() + timedelta(minutes=5)
    assert (granted.socket_id, granted.epoch) == (socket().socket_id, 7)
    assert granted.dns_name == socket().dns_name
    assert str(granted.email) == "alice@lab.test"
    assert granted.decision_id == verdict.decision_id
    assert granted.session_id == session.session_id


def test_a_grant_says_from_where_it_may_be_used(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, session, "alice@lab.test")
    assert access.grant(verdict, session=session).sources is None
    here = replace(
        verdict.decision, sources=(ip_network("192.0.2.0/24"),), source_ids=("0123456789abcdef",)
    )
    granted = access.grant(replace(verdict, decision=here), session=session)
    assert granted.sources == here.sources
    assert granted.source_ids == here.source_ids


def test_a_grant_ends_with_the_login(gateway: Gateway, session: LoginSessionRecord) -> None:
    soon = replace(session, expires_at=gateway.clock() + timedelta(seconds=90))
    granted = access.grant(judge(gateway, soon, "alice@lab.test"), session=soon)
    assert granted.not_after == soon.expires_at


def test_a_grant_ends_with_the_policys_window(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, session, "alice@lab.test")
    end = gateway.clock() + timedelta(seconds=30)
    windowed = replace(verdict, decision=replace(verdict.decision, expires_at=end))
    assert access.grant(windowed, session=session).not_after == end
    over = replace(verdict, decision=replace(verdict.decision, expires_at=gateway.clock()))
    with pytest.raises(AccessDenied):
        access.grant(over, session=session)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("held", [{}, {"sources": (ip_network("192.0.2.0/24"),)}, PLACE])
def test_what_may_be_used_elsewhere_ends_when_other_addresses_might(
    gateway: Gateway, session: LoginSessionRecord, action: Action, held: dict[str, Any]
) -> None:
    verdict = judge(gateway, session, "alice@lab.test")
    soon = gateway.clock() + timedelta(seconds=30)
    decision = replace(verdict.decision, sources_until=soon, **held)
    asked = replace(verdict.request, action=action)
    granted = access.grant(replace(verdict, request=asked, decision=decision), session=session)
    # Only a session can be held to one address; and it is, if the decision rests on that.
    stays = action is Action.HTTP and held != {}
    assert (granted.not_after == soon) is not stays


def test_a_deny_becomes_nothing_but_an_error_with_its_decision(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, session, "bob@lab.test")
    with pytest.raises(AccessDenied) as caught:
        access.grant(verdict, session=session)
    assert caught.value.decision_id == verdict.decision_id
    assert caught.value.reason == "not-on-list"


def test_who_is_blocked_is_denied_whatever_the_policies_say(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    gone = replace(session, email=BLOCKED)
    verdict = judge(gateway, gone, BLOCKED)
    assert verdict.decision.reasons == (Reason.PERSON_REVOKED,)
    assert not access.admits(door(BLOCKED), asked(gone), at=gateway.clock())
    assert judge(gateway, session, "alice@lab.test").allowed


@pytest.mark.parametrize("emails", [(), ("alice@lab.test",), ("bob@lab.test",)])
def test_every_decision_is_on_record(
    gateway: Gateway, session: LoginSessionRecord, emails: tuple[str, ...]
) -> None:
    verdict = judge(gateway, session, *emails)
    record = gateway.store.find_decision(verdict.decision_id)
    assert record is not None
    assert record.effect is verdict.decision.effect
    assert record.reasons == tuple(str(reason) for reason in verdict.decision.reasons)
    assert (record.issuer, record.subject) == ("https://idp.lab.test", "42")
    assert record.email == "alice@lab.test"
    assert record.source_ip == str(ADDRESS)
    assert record.at == gateway.clock()
    assert (record.epoch, record.provider) == (7, "lab")
    assert record.groups == ("lab:ops", "lab:staff")
    assert record.assurance is Assurance.PROVIDER_VERIFIED
    assert record.authenticated_at == session.authenticated_at


def test_a_decision_that_cannot_be_recorded_is_none(
    gateway: Gateway, session: LoginSessionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_store: object, _record: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(gateway.store), "record_decision", broken)
    with pytest.raises(OSError, match="disk full"):
        judge(gateway, session, "alice@lab.test")


def test_nobody_is_granted_anything_on_an_unverified_address(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    unverified = replace(session, email=None)
    with pytest.raises(AccessDenied) as caught:
        access.grant(judge(gateway, unverified, "alice@lab.test"), session=unverified)
    assert caught.value.reason == "email-unverified"


def test_even_an_allowing_decision_needs_a_verified_address(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, replace(session, email=None))
    forged = replace(verdict, decision=Decision(effect=Effect.ALLOW, reasons=()))
    with pytest.raises(AccessDenied):
        access.grant(forged, session=session)


def test_a_decision_is_good_for_the_person_it_was_made_for(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    verdict = judge(gateway, session, "alice@lab.test")
    for other in (
        replace(session, subject="43"),
        replace(session, issuer="https://other.lab.test"),
        replace(session, revoked_at=gateway.clock()),
        replace(session, expires_at=gateway.clock()),
    ):
        with pytest.raises(AccessDenied):
            access.grant(verdict, session=other)


def _calls(path: Path) -> set[str]:
    """Names of everything a module calls, without the object it is called on."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        function.id if isinstance(function, ast.Name) else function.attr
        for function in functions
        if isinstance(function, ast.Name | ast.Attribute)
    }


def test_one_module_makes_grants_and_asks_the_policy() -> None:
    """A module that makes a ``Grant``, or decides, beside ``access`` would be a second door.

    The policy package asks itself, to explain and to try cases; nothing comes of its answers.
    """
    only_here = {"Grant", "Verdict", "evaluate"}
    makers = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (only_here - {"evaluate"} if package == "policy" else only_here) & _calls(path)
    }
    assert makers == {"idp_gateway/access.py"}


def repeat(
    gateway: Gateway,
    session: LoginSessionRecord,
    at: GuardedSocket | None = None,
    denials: RecentDenials | None = None,
    **changes: Any,
) -> access.Verdict:
    return access.authorize(
        gateway.store,
        gateway.clock,
        at or door("bob@lab.test"),
        asked(session, **changes),
        denials=denials or gateway.denials,
    )


def test_the_same_denial_within_seconds_is_on_record_once(
    gateway: Gateway, clock: FixedClock, session: LoginSessionRecord
) -> None:
    first = repeat(gateway, session)
    clock.advance(seconds=9)
    again = repeat(gateway, session)
    assert (again.allowed, again.decision_id) == (False, first.decision_id)
    other_login = replace(session, authenticated_at=clock())
    others = [
        repeat(gateway, session, origin=Origin(address=ip_address("192.0.2.8"))),
        repeat(gateway, session, origin=Origin(address=ADDRESS, country="NL")),
        repeat(gateway, session, origin=Origin(address=ADDRESS, asn=64500)),
        repeat(gateway, session, action=Action.SSH),
        repeat(gateway, session, client_proof=True),
        repeat(gateway, session, at=door("bob@lab.test", epoch=8)),
        repeat(gateway, session, identity=access.identity_of(other_login)),
        repeat(gateway, session, denials=RecentDenials()),
    ]
    clock.advance(seconds=1)
    others.append(repeat(gateway, session))
    ids = {first.decision_id, *(verdict.decision_id for verdict in others)}
    assert len(ids) == 10
    assert len(gateway.store.decisions_page(socket().socket_id, offset=0, limit=50)) == 10
    with pytest.raises(AccessDenied) as caught:
        access.grant(again, session=session)
    assert caught.value.decision_id == first.decision_id


def test_every_decision_that_lets_somebody_in_is_on_record(
    gateway: Gateway, session: LoginSessionRecord
) -> None:
    for _ in range(3):
        assert repeat(gateway, session, at=door("alice@lab.test")).allowed
    assert not repeat(gateway, session).allowed
    assert repeat(gateway, session, at=door("alice@lab.test")).allowed
    assert len(gateway.store.decisions_page(socket().socket_id, offset=0, limit=50)) == 5


def test_few_denials_are_remembered(
    gateway: Gateway, session: LoginSessionRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denials, "MAX_REMEMBERED", 2)
    addresses = [ip_address(f"192.0.2.{number}") for number in (1, 2, 3)]
    origins = [Origin(address=ip) for ip in addresses]
    first, _, third = (repeat(gateway, session, origin=one).decision_id for one in origins)
    assert len(gateway.denials._known) == 2
    assert repeat(gateway, session, origin=origins[2]).decision_id == third
    assert repeat(gateway, session, origin=origins[0]).decision_id != first
