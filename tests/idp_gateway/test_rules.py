"""The one place that builds policy sets: what goes into one, and what is remembered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from idp_gateway import rules
from idp_gateway.composition import Gateway
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import SocketRecord
from idp_gateway.rules import Rules
from idp_gateway.store.policies import Author
from policy.addresses import EmailAddress
from policy.types import Policy, Who
from tests.support import rows
from tests.support.rows import NOW, PORTS

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


def test_little_is_remembered(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_REMEMBERED", 2)
    for socket in sockets_of_an_owner(gateway, 4):
        gateway.rules.guarded(socket)
    assert len(gateway.rules._known) == 2


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
