"""The one place that builds policy sets: what goes into one, and what is remembered."""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from idp_gateway import rules as rules_module
from idp_gateway.composition import Gateway
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import SocketRecord
from idp_gateway.rules import Rules
from idp_gateway.store.policies import Author
from policy.addresses import EmailAddress
from policy.evaluate import evaluate
from policy.native import MAX_NETWORKS
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, Reason, SocketType, Where, Who
from tests.idp_gateway.store.test_revocations import revocation
from tests.support import policies, rows
from tests.support.rows import NOW, PORTS

DAMAGED = '{"version":"v3"}'
BY = Author(email="owner@corp.test", at=NOW)


def sockets_of_an_owner(gateway: Gateway, count: int) -> list[SocketRecord]:
    owner = rows.account()
    gateway.store.add_account(owner)
    made = (rows.socket(owner, cloud_authentication_enabled=True) for _ in range(count))
    return [gateway.store.add_socket(socket, ports=PORTS) for socket in made]


def wide(owner_id: str, name: str = "everybody") -> PolicyRecord:
    return PolicyRecord(
        policy_id=name,
        account_id=owner_id,
        name=name,
        description="",
        document='{"action":["http"],"condition":{"who":{"domain":["corp.test"]}},"version":"v1"}',
        org_wide=True,
        created_at=NOW,
        updated_at=NOW,
    )


def fresh(gateway: Gateway, socket: SocketRecord) -> SocketRecord:
    found = gateway.store.find_socket(socket.socket_id)
    assert found is not None
    return found


def test_sockets_with_the_same_policies_share_one_set(gateway: Gateway) -> None:
    sockets = sockets_of_an_owner(gateway, 3)
    gateway.store.add_policy(wide(sockets[0].account_id), BY)
    doors = gateway.rules.guarded_all([fresh(gateway, socket) for socket in sockets])
    assert len({id(door.policies) for door in doors}) == 1
    assert [door.socket.socket_id for door in doors] == [socket.socket_id for socket in sockets]


def test_what_is_remembered_is_not_asked_for_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    (socket,) = sockets_of_an_owner(gateway, 1)
    first = gateway.rules.guarded(socket)
    with monkeypatch.context() as patched:
        patched.setattr(type(gateway.store), "rules_of", None)
        assert gateway.rules.guarded(socket).policies is first.policies
    gateway.store.add_policy(wide(socket.account_id), BY)
    assert len(gateway.rules.guarded(fresh(gateway, socket)).policies.policies) == 1


def test_decisions_at_the_same_time_have_one_set_made(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large sets take seconds, and as many threads as decide may want the same one."""
    (socket,) = sockets_of_an_owner(gateway, 1)
    gateway.store.add_policy(wide(socket.account_id), BY)
    current, build, made = fresh(gateway, socket), PolicySet.build, list[PolicySet]()
    begun, wanted = threading.Event(), threading.Barrier(5)

    def slowly(*given: Any) -> PolicySet:
        begun.set()
        wanted.wait(timeout=30)
        time.sleep(0.05)
        made.append(build(*given))
        return made[-1]

    def ask(rules: Rules) -> PolicySet:
        wanted.wait(timeout=30)
        return rules.guarded(current).policies

    monkeypatch.setattr(PolicySet, "build", slowly)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(gateway.rules.guarded, current)
        assert begun.wait(timeout=30)
        others = [threads.submit(ask, gateway.rules) for _ in range(3)]
        all_at_once = threads.submit(
            lambda: (wanted.wait(timeout=30), gateway.rules.guarded_all([current]))[1][0].policies
        )
        found = [first.result().policies, all_at_once.result(), *(one.result() for one in others)]
    assert len(made) == 1
    assert all(policies is made[0] for policies in found)


def test_what_lets_somebody_in_for_a_while_is_one_more_policy(gateway: Gateway) -> None:
    here, there = sockets_of_an_owner(gateway, 2)
    guest = Policy(
        policy_id="guest", who=Who(emails=frozenset({EmailAddress.parse("guest@lab.test")}))
    )

    def invited(sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
        return {socket.socket_id: [guest] for socket in sockets if socket == here}

    doors = Rules(gateway.store, invited).guarded_all([here, there])
    assert [door.policies.policies for door in doors] == [(guest,), ()]


def test_own_lists_count_beside_policies(gateway: Gateway) -> None:
    (socket,) = sockets_of_an_owner(gateway, 1)
    gateway.store.add_policy(wide(socket.account_id), BY)
    listed = replace(fresh(gateway, socket), emails=("ann@other.test",))
    ids = {policy.policy_id for policy in gateway.rules.guarded(listed).policies.policies}
    assert ids == {"everybody", socket.socket_id}


def test_a_policy_that_cannot_be_read_closes_its_sockets_and_no_others(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    (bad,), (good,) = sockets_of_an_owner(gateway, 1), sockets_of_an_owner(gateway, 1)
    gateway.store.add_policy(wide(good.account_id, "good"), BY)
    gateway.store.add_policy(wide(bad.account_id, "fine"), BY)
    gateway.store.add_policy(replace(wide(bad.account_id, "bad"), document=DAMAGED), BY)
    closed, served = gateway.rules.guarded_all([fresh(gateway, bad), fresh(gateway, good)])
    asked = policies.request("ann@corp.test")
    decision = evaluate(closed.policies, asked)
    assert (decision.reasons, decision.policy_ids) == ((Reason.DENIED_BY_RULE,), ("bad",))
    assert evaluate(served.policies, asked).allowed
    assert "policy bad cannot be read" in caplog.text


@pytest.mark.parametrize("column", ["emails", "domains"])
def test_a_socket_that_cannot_be_read_is_closed_and_no_other(gateway: Gateway, column: str) -> None:
    first, second, third = sockets_of_an_owner(gateway, 3)
    gateway.store.add_policy(wide(first.account_id), BY)
    sockets = [fresh(gateway, first), fresh(gateway, second), fresh(gateway, third)]
    damaged = replace(sockets[1], **{column: ("not an address",)})
    doors = gateway.rules.guarded_all([sockets[0], damaged, sockets[2]])
    asked = policies.request("ann@corp.test")
    assert [evaluate(door.policies, asked).allowed for door in doors] == [True, False, True]


def test_what_lets_somebody_in_for_a_while_and_cannot_be_read_closes_one_socket(
    gateway: Gateway,
) -> None:
    here, there = sockets_of_an_owner(gateway, 2)
    gateway.store.add_policy(wide(here.account_id), BY)

    def damaged(sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
        if any(socket.socket_id == here.socket_id for socket in sockets):
            raise ValueError("a damaged row")
        return {}

    doors = Rules(gateway.store, damaged).guarded_all([fresh(gateway, here), fresh(gateway, there)])
    asked = policies.request("ann@corp.test")
    assert [evaluate(door.policies, asked).allowed for door in doors] == [False, True]


def test_a_database_that_cannot_be_asked_closes_nothing(
    gateway: Gateway,
) -> None:
    (socket,) = sockets_of_an_owner(gateway, 1)

    def gone(_sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
        raise OperationalError("SELECT", None, OSError())

    with pytest.raises(OperationalError):
        Rules(gateway.store, gone).guarded(socket)


def test_what_went_wrong_once_closes_a_socket_only_for_that_time(gateway: Gateway) -> None:
    """Nothing in the socket's row changes when the moment's trouble is over."""
    (socket,) = sockets_of_an_owner(gateway, 1)
    gateway.store.add_policy(wide(socket.account_id), BY)
    troubles = [MemoryError("for a moment")]

    def temporary(_sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
        if troubles:
            raise troubles.pop()
        return {}

    rules, asked = Rules(gateway.store, temporary), policies.request("ann@corp.test")
    allowed = [
        evaluate(rules.guarded(fresh(gateway, socket)).policies, asked).allowed for _ in range(2)
    ]
    assert allowed == [False, True]


def test_a_door_tells_who_is_blocked_now_not_when_it_was_made(gateway: Gateway) -> None:
    here, there = sockets_of_an_owner(gateway, 2)
    ann, bob = map(EmailAddress.parse, ("ann@corp.test", "bob@corp.test"))
    alone = gateway.rules.guarded(here)
    among = gateway.rules.guarded_all([here, there])
    gateway.store.add_revocation(here.account_id, revocation(here))
    for door in (alone, among[0]):
        assert door.facing(ann).blocked == {ann}
        assert not door.facing(bob).blocked
        assert not door.facing(None).blocked
    assert not among[1].facing(ann).blocked
    assert gateway.rules.blocked_on([here, there]) == {
        here.socket_id: {ann},
        there.socket_id: frozenset(),
    }


def test_who_looks_at_many_doors_asks_the_database_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = gateway.rules.guarded_all(sockets_of_an_owner(gateway, 20))
    asked = []
    looked = gateway.store.sockets_blocking

    def watched(email: str, ids: Iterable[str]) -> frozenset[str]:
        asked.append(email)
        return looked(email, ids)

    monkeypatch.setattr(gateway.store, "sockets_blocking", watched)
    for door in doors:
        door.facing(EmailAddress.parse("ann@corp.test"))
    assert asked == ["ann@corp.test"]


def test_a_revocation_of_what_is_no_address_closes_nothing(gateway: Gateway) -> None:
    (socket,) = sockets_of_an_owner(gateway, 1)
    gateway.store.add_revocation(socket.account_id, revocation(socket, value="no address"))
    assert gateway.rules.blocked_on([socket]) == {socket.socket_id: frozenset()}


def test_what_lets_somebody_in_for_a_while_closes_no_socket_for_others(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a long list of strangers' addresses nothing but one's own network is told to edges."""
    owner = rows.account()
    gateway.store.add_account(owner)
    made = rows.socket(owner, socket_type=SocketType.TLS, cloud_authentication_enabled=True)
    socket = gateway.store.add_socket(replace(made, emails=(), domains=(), port=None), ports=PORTS)
    strangers = tuple(IPv4Network(((1 << 30) + 2 * at, 32)) for at in range(MAX_NETWORKS + 1))
    denying = policies.policy(
        "office",
        where=policies.where("192.0.2.0/24"),
        denies=(DenyRule(where=Where(prefixes=Networks.of(strangers))),),
    )
    guest = Policy(policy_id="guest", who=policies.who(emails="guest@corp.test"))

    def set_of(own: Policy) -> PolicySet:
        monkeypatch.setattr(rules_module, "effective", lambda _s, _r, more=(): (own, *more))
        rules = Rules(gateway.store, lambda _: {socket.socket_id: [guest]})
        return rules.guarded(socket).policies

    plain = replace(denying, denies=())
    assert set(set_of(plain).policies) == {plain, guest}
    assert set_of(denying).policies == (denying,)
    assert set_of(denying).told == 2
