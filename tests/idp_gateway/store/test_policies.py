"""Policies in the database: whose they are, what happened to them, and whom a change touches."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from idp_gateway.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PolicyNameTaken,
    PrefixListInUse,
    QuotaExceeded,
)
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord, PrefixListRecord
from idp_gateway.records import AccountRecord, ChangeKind, SocketRecord
from idp_gateway.store import Store
from idp_gateway.store.policies import STALE, Author
from policy.types import SocketType
from tests.support import rows
from tests.support.rows import NOW, PORTS

BY = Author(email="owner@corp.test", at=NOW, why="because")


def policy(owner: AccountRecord, name: str = "staff", **changes: Any) -> PolicyRecord:
    plain = PolicyRecord(
        policy_id=f"policy-{owner.account_id[-4:]}-{name}",
        account_id=owner.account_id,
        name=name,
        description="",
        document='{"version":"v1"}',
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(plain, **changes)


def prefix_list(owner: AccountRecord, *prefixes: str, name: str = "office") -> PrefixListRecord:
    return PrefixListRecord(
        account_id=owner.account_id,
        name=name,
        prefixes=prefixes or ("192.0.2.0/24",),
        summary={},
        source="list",
        updated_at=NOW,
        changed_by=owner.email,
        why="",
    )


class Sockets:
    """One account's sockets of every kind, another account's, and who is touched by what."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner, self.other = rows.account(), rows.account()
        self.names: dict[str, str] = {}
        for owner in (self.owner, self.other):
            store.add_account(owner)
        for name, owner, asks, kind in (
            ("a", self.owner, True, SocketType.HTTP),
            ("b", self.owner, True, SocketType.HTTP),
            ("open", self.owner, False, SocketType.HTTP),
            ("tcp", self.owner, False, SocketType.TCP),
            ("other's", self.other, True, SocketType.HTTP),
        ):
            socket = replace(
                rows.socket(owner, cloud_authentication_enabled=asks), socket_type=kind
            )
            self.names[store.add_socket(socket, ports=PORTS).socket_id] = name

    def id_of(self, name: str) -> str:
        return next(socket_id for socket_id, known in self.names.items() if known == name)

    def now(self) -> dict[str, SocketRecord]:
        found = {name: self.store.find_socket(one) for one, name in self.names.items()}
        return {name: socket for name, socket in found.items() if socket is not None}

    def touched(self, change: Callable[[], Any]) -> tuple[set[str], set[str]]:
        """Names of the sockets whose grants a change ended, and of those whose rules it changed.

        An edge is told of exactly the first, and of a port of its own whose rules about addresses
        it holds, by whose version it goes; no epoch goes up by more than one.
        """
        before, revision = self.now(), self.store.revision()
        change()
        after = self.now()
        bumped = {name for name in before if before[name].epoch != after[name].epoch}
        changed = {
            name for name in before if before[name].rules_version != after[name].rules_version
        }
        assert all(after[name].epoch == before[name].epoch + 1 for name in bumped)
        told = [
            (change.kind, self.names[change.entity_id])
            for change in self.store.read_feed(revision).changes
        ]
        assert sorted(told) == sorted(
            (ChangeKind.SOCKET, name) for name in bumped | (changed & {"tcp"})
        )
        return bumped, changed

    def attach(self, found: PolicyRecord, *names: str, there: bool = True) -> None:
        wanted = {found.policy_id: {self.id_of(name): there for name in names}}
        self.store.attach(found.account_id, wanted, BY, limit=2)


@pytest.fixture
def sockets(store: Store) -> Sockets:
    return Sockets(store)


def test_a_new_policy_touches_nothing_until_it_is_attached(sockets: Sockets) -> None:
    store, staff = sockets.store, policy(sockets.owner)
    assert sockets.touched(lambda: store.add_policy(staff, BY)) == (set(), set())
    assert sockets.touched(lambda: sockets.attach(staff, "a")) == ({"a"}, {"a"})
    assert sockets.touched(lambda: sockets.attach(staff, "a")) == (set(), set())
    assert sockets.touched(lambda: sockets.attach(staff, "a", "b")) == ({"b"}, {"b"})
    detach = sockets.touched(lambda: sockets.attach(staff, "a", there=False))
    assert detach == ({"a"}, {"a"})
    assert sockets.touched(lambda: sockets.attach(staff, "a", there=False)) == (set(), set())
    assert store.attached_sockets(sockets.owner.account_id, [staff.policy_id]) == {
        staff.policy_id: (sockets.id_of("b"),)
    }


def change(
    sockets: Sockets, found: PolicyRecord, *, means_the_same: bool = False, **changes: Any
) -> Callable[[], PolicyRecord]:
    def run() -> PolicyRecord:
        current = sockets.store.get_policy(found.account_id, found.policy_id)
        return sockets.store.change_policy(
            replace(current, **changes),
            PolicyChangeKind.CHANGED,
            BY,
            means_the_same=means_the_same,
        )

    return run


def test_another_meaning_touches_the_sockets_it_is_attached_to(sockets: Sockets) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    spare = sockets.store.add_policy(policy(sockets.owner, "spare"), BY)
    sockets.attach(staff, "a")
    sockets.attach(spare, "b")
    other = change(sockets, staff, document='{"version":"v2"}')
    assert sockets.touched(other) == ({"a"}, {"a"})
    same = change(sockets, staff, means_the_same=True, description="more")
    assert sockets.touched(same) == (set(), set())
    # What is remembered of the rules has the names as they were.
    for named in ({"name": "new"}, {"document": '{"version":"v3"}'}):
        renamed = change(sockets, staff, means_the_same=True, **named)
        assert sockets.touched(renamed) == (set(), {"a"})
    gone = sockets.touched(
        lambda: sockets.store.delete_policy(staff.account_id, staff.policy_id, BY)
    )
    assert gone == ({"a"}, {"a"})


def test_an_organisation_wide_policy_touches_all_sockets_of_its_account(sockets: Sockets) -> None:
    everyone, mine = {"a", "b"}, {"a", "b", "open", "tcp"}
    wide = policy(sockets.owner, org_wide=True)
    assert sockets.touched(lambda: sockets.store.add_policy(wide, BY)) == (everyone, mine)
    other = change(sockets, wide, document='{"version":"v2"}')
    assert sockets.touched(other) == (everyone, mine)
    renamed = change(sockets, wide, means_the_same=True, name="new")
    assert sockets.touched(renamed) == (set(), mine)
    # It bears on the socket already, and goes on doing so.
    assert sockets.touched(lambda: sockets.attach(wide, "a")) == (set(), set())
    narrowed = change(sockets, wide, means_the_same=True, org_wide=False)
    assert sockets.touched(narrowed) == ({"b"}, {"b", "open", "tcp"})
    widened = change(sockets, wide, means_the_same=True, org_wide=True)
    assert sockets.touched(widened) == ({"b"}, {"b", "open", "tcp"})
    gone = sockets.touched(lambda: sockets.store.delete_policy(wide.account_id, wide.policy_id, BY))
    assert gone == (everyone, mine)


def test_a_list_touches_the_sockets_whose_policies_name_it(sockets: Sockets) -> None:
    store, owner = sockets.store, sockets.owner
    for name in ("office", "cloud"):
        store.put_prefix_list(prefix_list(owner, name=name))
    store.put_prefix_list(prefix_list(sockets.other))
    looks = store.add_policy(policy(owner, prefix_lists=("office",)), BY)
    blind = store.add_policy(policy(owner, "blind", prefix_lists=("cloud",)), BY)
    sockets.attach(looks, "a")
    sockets.attach(blind, "b")
    put = store.put_prefix_list
    grown = sockets.touched(lambda: put(prefix_list(owner, "192.0.2.0/23")))
    assert grown == ({"a"}, {"a"})
    assert sockets.touched(lambda: put(prefix_list(owner, "192.0.2.0/23"))) == (set(), set())
    others = sockets.touched(lambda: put(prefix_list(sockets.other, "192.0.2.0/22")))
    assert others == (set(), set())
    assert store.get_prefix_list(owner.account_id, "office").version == 2


def test_a_socket_that_asks_for_no_identity_takes_no_policy(sockets: Sockets) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    with pytest.raises(InvalidInput) as caught:
        sockets.attach(staff, "a", "open")
    assert caught.value.reason == "policy-without-authentication"
    assert sockets.store.attached_sockets(staff.account_id, [staff.policy_id]) == {}


def test_another_accounts_policies_are_not_there(sockets: Sockets) -> None:
    store, owner, other = sockets.store, sockets.owner, sockets.other
    staff = store.add_policy(policy(owner), BY)
    store.add_policy(policy(other), BY)
    sockets.attach(staff, "a")
    stranger = other.account_id
    store.put_prefix_list(prefix_list(owner, name="secret"))
    calls: list[Callable[[], Any]] = [
        lambda: store.get_policy(stranger, staff.policy_id),
        lambda: store.delete_policy(stranger, staff.policy_id, BY),
        lambda: store.get_policy_version(stranger, staff.policy_id, 1),
        lambda: store.attach(stranger, {staff.policy_id: {}}, BY, limit=2),
        lambda: store.get_prefix_list(stranger, "secret"),
        lambda: store.delete_prefix_list(stranger, "secret", BY),
        change(sockets, replace(staff, account_id=stranger)),
        # Neither somebody else's policy on one's socket, nor one's policy on somebody else's.
        lambda: store.attach(
            stranger, {staff.policy_id: {sockets.id_of("other's"): True}}, BY, limit=2
        ),
        lambda: sockets.attach(staff, "other's"),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert store.policy_history(stranger, staff.policy_id, offset=0, limit=9) == ()
    assert store.policy_changes_until(stranger, NOW)[0].account_id == stranger
    assert store.attached_sockets(stranger, [staff.policy_id]) == {}
    assert staff.policy_id not in {found.policy_id for found in store.policies_page(stranger)}
    assert store.find_policy(stranger, "staff") != staff
    hidden = policy(other, "hidden", prefix_lists=("secret",))
    with pytest.raises(InvalidInput, match="secret"):
        store.add_policy(hidden, BY)
    wide = store.add_policy(policy(other, "wide", org_wide=True), BY)
    mine = [socket for socket in sockets.now().values() if socket.account_id == owner.account_id]
    assert wide.policy_id not in store.rules_of(mine)[owner.account_id].policies


def test_what_happened_is_kept_and_outlives_the_policy(sockets: Sockets) -> None:
    store, staff = sockets.store, policy(sockets.owner)
    store.add_policy(staff, BY)
    sockets.attach(staff, "a", "b")
    change(sockets, staff, document="{}")()
    sockets.attach(staff, "b", there=False)
    store.delete_policy(staff.account_id, staff.policy_id, replace(BY, why="done"))
    history = store.policy_history(staff.account_id, staff.policy_id, offset=0, limit=10)
    assert [(entry.change.value, entry.version, entry.document) for entry in history] == [
        ("deleted", 2, None),
        ("detached", 2, None),
        ("changed", 2, "{}"),
        ("attached", 1, None),
        ("created", 1, '{"version":"v1"}'),
    ]
    assert (history[0].why, history[-1].why) == ("done", "because")
    assert set(history[3].socket_ids) == {sockets.id_of("a"), sockets.id_of("b")}
    assert history[1].socket_ids == (sockets.id_of("b"),)
    assert {entry.changed_by for entry in history} == {BY.email}
    assert store.get_policy_version(staff.account_id, staff.policy_id, 1).document is not None


def test_a_change_is_based_on_the_newest_version(sockets: Sockets) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    change(sockets, staff, document="{}")()
    with pytest.raises(Conflict) as caught:
        sockets.store.change_policy(
            replace(staff, document="[]"), PolicyChangeKind.CHANGED, BY, means_the_same=False
        )
    assert caught.value.reason == STALE
    assert sockets.store.get_policy(staff.account_id, staff.policy_id).document == "{}"
    listed = prefix_list(sockets.owner)
    sockets.store.put_prefix_list(listed, based_on=0)
    with pytest.raises(Conflict):
        sockets.store.put_prefix_list(listed, based_on=0)


def test_of_changes_at_once_one_wins(sockets: Sockets) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)

    def put(document: str) -> Callable[[], Any]:
        return lambda: sockets.store.change_policy(
            replace(staff, document=document), PolicyChangeKind.CHANGED, BY, means_the_same=False
        )

    results = rows.race([put(f"[{number}]") for number in range(4)])
    won = [result for result in results if isinstance(result, PolicyRecord)]
    assert len(won) == 1
    assert sockets.store.get_policy(staff.account_id, staff.policy_id) == won[0]
    assert (
        len(sockets.store.policy_history(staff.account_id, staff.policy_id, offset=0, limit=9)) == 2
    )


def test_names_and_numbers_are_limited(sockets: Sockets) -> None:
    store, owner = sockets.store, sockets.owner
    staff = store.add_policy(policy(owner), BY, limit=3)
    with pytest.raises(PolicyNameTaken):
        store.add_policy(policy(owner, policy_id="another"), BY)
    others = [store.add_policy(policy(owner, name), BY, limit=3) for name in ("b", "c")]
    with pytest.raises(PolicyNameTaken):
        change(sockets, others[0], name="staff")()
    with pytest.raises(QuotaExceeded):
        store.add_policy(policy(owner, "d"), BY, limit=3)
    store.add_policy(policy(sockets.other, "d"), BY, limit=3)
    for found in (staff, others[0]):
        sockets.attach(found, "a")
    with pytest.raises(QuotaExceeded):
        sockets.attach(others[1], "a")
    store.put_prefix_list(prefix_list(owner), limit=1)
    with pytest.raises(QuotaExceeded):
        store.put_prefix_list(prefix_list(owner, name="more"), limit=1)


def test_a_list_that_a_policy_names_stays(sockets: Sockets) -> None:
    store, owner = sockets.store, sockets.owner
    store.put_prefix_list(prefix_list(owner))
    looks = store.add_policy(policy(owner, prefix_lists=("office",)), BY)
    with pytest.raises(PrefixListInUse) as caught:
        store.delete_prefix_list(owner.account_id, "office", BY)
    assert caught.value.policies == ("staff",)
    store.delete_policy(owner.account_id, looks.policy_id, BY)
    store.delete_prefix_list(owner.account_id, "office", BY)
    assert store.prefix_lists_of(owner.account_id) == ()


def test_a_socket_that_goes_takes_its_attachments_with_it(sockets: Sockets) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    sockets.attach(staff, "a", "b")
    sockets.store.delete_socket(sockets.owner.account_id, sockets.id_of("a"), NOW)
    assert sockets.store.attached_sockets(staff.account_id, [staff.policy_id]) == {
        staff.policy_id: (sockets.id_of("b"),)
    }


def test_a_list_has_a_history_that_outlives_it(sockets: Sockets) -> None:
    store, owner = sockets.store, sockets.owner
    account_id = owner.account_id
    for minutes, prefix, why in ((0, "192.0.2.0/24", "one"), (2, "0.0.0.0/0", "two")):
        at = NOW + timedelta(minutes=minutes)
        store.put_prefix_list(replace(prefix_list(owner, prefix), updated_at=at, why=why))
    last = NOW + timedelta(minutes=4)
    store.delete_prefix_list(account_id, "office", replace(BY, at=last, why="three"))
    history = store.prefix_list_history(account_id, "office", offset=0, limit=10)
    assert [(one.version, one.change, one.prefixes, one.why) for one in history] == [
        (2, "deleted", (), "three"),
        (2, "changed", ("0.0.0.0/0",), "two"),
        (1, "created", ("192.0.2.0/24",), "one"),
    ]
    assert {one.changed_by for one in history} == {owner.email, BY.email}
    assert store.prefix_list_history(account_id, "office", offset=1, limit=1) == history[1:2]
    assert store.prefix_list_history(sockets.other.account_id, "office", offset=0, limit=9) == ()
    then = {
        minutes: [
            one.prefixes
            for one in store.prefix_lists_at(
                account_id, ["office", "none"], NOW + timedelta(minutes=minutes)
            )
        ]
        for minutes in (-1, 1, 3, 5)
    }
    assert then == {-1: [], 1: [("192.0.2.0/24",)], 3: [("0.0.0.0/0",)], 5: []}
    assert store.put_prefix_list(prefix_list(owner)).version == 3
