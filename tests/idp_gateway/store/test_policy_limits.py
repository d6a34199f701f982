"""Policies are bounded: how long their history may grow, and what of it is read and forgotten."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from idp_gateway.errors import QuotaExceeded
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.records import SocketRecord
from idp_gateway.store import Store, edge_limits, policy_limits, prefix_lists
from idp_gateway.store.policies import Author
from idp_gateway.store.policy_sizes import PolicySize
from policy.types import SocketType
from tests.idp_gateway.store.test_policies import BY, Sockets, policy, prefix_list
from tests.support import rows
from tests.support.rows import NOW


@pytest.fixture
def sockets(store: Store) -> Sockets:
    return Sockets(store)


def edit(sockets: Sockets, found: PolicyRecord, minutes: int) -> PolicyRecord:
    current = sockets.store.get_policy(found.account_id, found.policy_id)
    return sockets.store.change_policy(
        replace(current, description=f"after {minutes}"),
        PolicyChangeKind.CHANGED,
        replace(BY, at=NOW + timedelta(minutes=minutes)),
        means_the_same=True,
    )


def test_a_history_is_not_pushed_out_and_stops_nobody_from_taking_away(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_limits, "MAX_VERSIONS", 3)
    store = sockets.store
    staff = store.add_policy(policy(sockets.owner), BY)
    sockets.attach(staff, "a")
    for minutes in (1, 2):
        edit(sockets, staff, minutes)
    with pytest.raises(QuotaExceeded):
        edit(sockets, staff, 3)
    store.forget_policy_versions(NOW + timedelta(minutes=2, seconds=30))
    edit(sockets, staff, 4)
    sockets.attach(staff, "a", there=False)
    store.delete_policy(staff.account_id, staff.policy_id, BY)


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_VERSIONS_OF_ACCOUNT"])
def test_all_entries_count_and_all_of_an_account(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(policy_limits, limit, 1)
    first = sockets.store.add_policy(policy(sockets.owner), BY)
    sockets.store.add_policy(policy(sockets.other), BY)
    with pytest.raises(QuotaExceeded):
        edit(sockets, first, 1)


def test_what_was_in_force_is_found_without_what_came_before_it(sockets: Sockets) -> None:
    store = sockets.store
    staff = store.add_policy(policy(sockets.owner), BY)
    spare = store.add_policy(policy(sockets.owner, "spare"), BY)
    sockets.attach(staff, "a")
    for minutes in (2, 4):
        edit(sockets, staff, minutes)
    store.delete_policy(
        spare.account_id, spare.policy_id, replace(BY, at=NOW + timedelta(minutes=4))
    )

    def found(minutes: int) -> list[tuple[str, str, int]]:
        entries = store.policy_changes_until(staff.account_id, NOW + timedelta(minutes=minutes))
        return [(one.name, one.change.value, one.version) for one in entries]

    attached = ("staff", "attached", 1)
    assert found(1) == [("staff", "created", 1), ("spare", "created", 1), attached]
    assert found(3) == [("spare", "created", 1), attached, ("staff", "changed", 2)]
    assert found(5) == [attached, ("staff", "changed", 3)]
    store.forget_policy_versions(NOW + timedelta(minutes=3))
    assert found(3) == [("spare", "created", 1), attached, ("staff", "changed", 2)]
    assert "created" not in [change for name, change, _ in found(1) if name == "staff"]
    store.forget_policy_versions(NOW + timedelta(minutes=5))
    assert store.policy_history(spare.account_id, spare.policy_id, offset=0, limit=9) == ()
    assert found(5) == [attached, ("staff", "changed", 3)]


def test_the_history_of_lists_is_bounded_too(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_lists, "MAX_ENTRIES", 2)
    store, owner = sockets.store, sockets.owner
    store.put_prefix_list(prefix_list(owner))
    later = NOW + timedelta(minutes=2)
    changed = replace(prefix_list(owner, "10.0.0.0/8"), updated_at=later)
    store.put_prefix_list(changed)
    with pytest.raises(QuotaExceeded):
        store.put_prefix_list(prefix_list(owner, "192.168.0.0/16"))
    store.forget_prefix_list_versions(later + timedelta(minutes=1))
    (kept,) = store.prefix_list_history(owner.account_id, "office", offset=0, limit=9)
    assert kept.prefixes == ("10.0.0.0/8",)
    store.put_prefix_list(replace(changed, prefixes=("192.168.0.0/16",)))
    store.delete_prefix_list(owner.account_id, "office", BY)
    store.forget_prefix_list_versions(later + timedelta(minutes=1))
    assert store.prefix_list_history(owner.account_id, "office", offset=0, limit=9) == ()


def denying(sockets: Sockets, name: str, rules: int, **parts: Any) -> PolicyRecord:
    document = json.dumps({"version": "v2", "deny": [{"name": str(at)} for at in range(rules)]})
    return policy(sockets.owner, name, document=document, **parts)


def test_few_deny_rules_bear_on_a_socket_however_they_come_to(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_limits, "MAX_DENY_RULES", 5)
    store = sockets.store
    two = store.add_policy(denying(sockets, "two", 2), BY)
    three = store.add_policy(denying(sockets, "three", 3), BY)
    one = store.add_policy(denying(sockets, "one", 1), BY)
    sockets.attach(two, "a")
    sockets.attach(three, "a")
    sockets.attach(one, "b")
    widened = partial(
        store.change_policy,
        replace(one, org_wide=True),
        PolicyChangeKind.ORG_WIDE,
        BY,
        means_the_same=True,
    )
    longer = partial(
        store.change_policy,
        replace(two, document=denying(sockets, "two", 3).document),
        PolicyChangeKind.CHANGED,
        BY,
        means_the_same=False,
    )
    new = partial(store.add_policy, denying(sockets, "new", 1, org_wide=True), BY)
    alone = partial(store.add_policy, denying(sockets, "alone", 6, org_wide=True), BY)
    attached = partial(store.attach, one.account_id, {one.policy_id: {sockets.id_of("a"): True}})
    for too_much in (widened, longer, new, alone, partial(attached, BY, limit=9)):
        with pytest.raises(QuotaExceeded):
            too_much()
    sockets.attach(three, "a", there=False)
    assert new().org_wide
    assert longer().version == 2


def test_few_policies_bear_on_a_whole_account(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_limits, "MAX_ORG_WIDE", 1)
    sockets.store.add_policy(policy(sockets.owner, "first", org_wide=True), BY)
    with pytest.raises(QuotaExceeded):
        sockets.store.add_policy(policy(sockets.owner, "second", org_wide=True), BY)
    sockets.store.add_policy(policy(sockets.other, "third", org_wide=True), BY)


@pytest.mark.parametrize(
    ("limit", "more"), [("MAX_VERSIONS", 3), ("MAX_ENTRIES", 3), ("MAX_VERSIONS_OF_ACCOUNT", 2)]
)
def test_a_full_history_makes_room_after_a_day_and_never_of_what_is_in_force(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch, limit: str, more: int
) -> None:
    """A change that keeps somebody out must not wait until a year has passed."""
    monkeypatch.setattr(policy_limits, limit, 4)
    store = sockets.store
    still = store.add_policy(policy(sockets.owner, "still"), BY)
    staff = store.add_policy(policy(sockets.owner), BY)
    day = 24 * 60
    for days in range(1, 9):
        edit(sockets, staff, days * day)
    history = store.policy_history(staff.account_id, staff.policy_id, offset=0, limit=99)
    assert history[-1].change is not PolicyChangeKind.CREATED
    assert max(one.version for one in history) == 9
    untouched = store.policy_history(still.account_id, still.policy_id, offset=0, limit=9)
    assert [one.version for one in untouched] == [1]
    for minutes in range(1, more + 1):
        edit(sockets, staff, 8 * day + minutes)
    with pytest.raises(QuotaExceeded, match="of the last day"):
        edit(sockets, staff, 8 * day + more + 1)


def test_the_history_of_lists_makes_room_after_a_day(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_lists, "MAX_ENTRIES", 3)
    store, owner = sockets.store, sockets.owner
    store.put_prefix_list(replace(prefix_list(owner), name="still"))
    for days in range(8):
        at = NOW + timedelta(days=days)
        store.put_prefix_list(replace(prefix_list(owner, f"10.{days}.0.0/16"), updated_at=at))
    history = store.prefix_list_history(owner.account_id, "office", offset=0, limit=9)
    assert [one.prefixes for one in history] == [("10.7.0.0/16",), ("10.6.0.0/16",)]
    assert len(store.prefix_list_history(owner.account_id, "still", offset=0, limit=9)) == 1


def test_too_many_policies_of_an_account_keep_no_other_from_being_attached(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        sockets.store.add_policy(policy(sockets.owner, name, org_wide=True), BY)
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    monkeypatch.setattr(policy_limits, "MAX_ORG_WIDE", 1)
    sockets.attach(staff, "a")
    with pytest.raises(QuotaExceeded):
        sockets.store.add_policy(policy(sockets.owner, "three", org_wide=True), BY)


def naming(sockets: Sockets, name: str, rules: int, **parts: Any) -> PolicyRecord:
    deny = [{"where": {"prefix_list": ["office"]}} for _ in range(rules)]
    document = json.dumps({"version": "v2", "deny": deny})
    return policy(sockets.owner, name, document=document, prefix_lists=("office",), **parts)


def test_the_networks_that_rules_name_are_bounded_together(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few the rules are: each of them goes through the whole list."""
    monkeypatch.setattr(policy_limits, "MAX_LISTED_NETWORKS", 4)
    store, owner = sockets.store, sockets.owner
    two = prefix_list(owner, "10.0.0.0/8", "192.0.2.0/24")
    store.put_prefix_list(two)
    staff = store.add_policy(naming(sockets, "staff", 2), BY)
    sockets.attach(staff, "a")
    more = naming(sockets, "staff", 3).document
    with pytest.raises(QuotaExceeded, match="networks"):
        store.change_policy(
            replace(staff, document=more), PolicyChangeKind.CHANGED, BY, means_the_same=False
        )
    with pytest.raises(QuotaExceeded, match="networks"):
        store.put_prefix_list(replace(two, prefixes=(*two.prefixes, "198.51.100.0/24")))
    with pytest.raises(QuotaExceeded, match="networks"):
        store.add_policy(naming(sockets, "wide", 1, org_wide=True), BY)
    fewer = replace(two, prefixes=("10.0.0.0/8",))
    assert store.put_prefix_list(fewer).prefixes == ("10.0.0.0/8",)


def test_what_edges_are_told_of_an_account_is_bounded(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every edge keeps the rules of every socket with a port, whoever has how many of them."""
    store, owner = sockets.store, sockets.owner
    there = sum(one.socket_type.has_own_port for one in store.sockets_of(owner.account_id))
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 2 * there + 2)
    store.put_prefix_list(prefix_list(owner, "10.0.0.0/8", "192.0.2.0/24"))
    store.add_policy(naming(sockets, "wide", 1, org_wide=True), BY)

    def publish(name: str, kind: SocketType) -> SocketRecord:
        made = rows.socket(owner, socket_id=name, dns_name=f"{name}.edge.test", socket_type=kind)
        return store.add_socket(replace(made, port=None), ports=range(30_000, 30_010))

    publish("one", SocketType.TCP)
    with pytest.raises(QuotaExceeded, match=f"come to {2 * there + 4}"):
        publish("two", SocketType.TLS)
    publish("web", SocketType.HTTP)
    more = prefix_list(owner, "10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24")
    with pytest.raises(QuotaExceeded, match=f"come to {3 * (there + 1)}"):
        store.put_prefix_list(more)


def bringing(sockets: Sockets, name: str, *rules: dict[str, Any], **parts: Any) -> PolicyRecord:
    """A policy with a list of two networks of its own, called as one of the account's might be."""
    own = {"office": ["10.0.0.0/8", "192.0.2.0/24"]}
    document = {"version": "v2", "deny": [{"where": rule} for rule in rules], "prefix_lists": own}
    return policy(sockets.owner, name, document=json.dumps(document), **parts)


def test_the_networks_of_documents_count_as_those_of_lists_do(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred documents bear on a socket, and each may bring thousands of networks."""
    monkeypatch.setattr(policy_limits, "MAX_LISTED_NETWORKS", 5)
    store, listed = sockets.store, {"prefix_list": ["office"]}
    first = store.add_policy(bringing(sockets, "first", listed, listed), BY)
    second = store.add_policy(bringing(sockets, "second", listed), BY)
    third = store.add_policy(bringing(sockets, "third", {"allowed_ip": ["10.0.0.0/8"] * 2}), BY)
    sockets.attach(first, "a")
    sockets.attach(second, "a")
    longer = bringing(sockets, "second", {**listed, "allowed_ip": ["10.0.0.1", "10.0.0.2"]})
    changed = partial(
        store.change_policy,
        replace(second, document=longer.document),
        PolicyChangeKind.CHANGED,
        BY,
        means_the_same=False,
    )
    wide = partial(store.add_policy, bringing(sockets, "wide", listed, org_wide=True), BY)
    for too_much in (changed, wide):
        with pytest.raises(QuotaExceeded, match="documents and prefix lists together"):
            too_much()
    store.attach(first.account_id, {third.policy_id: {sockets.id_of("a"): True}}, BY, limit=9)
    sockets.attach(first, "a", there=False)
    assert changed().version == 2


@pytest.mark.parametrize(
    "document", ["", "[]", '{"deny": 3}', '{"deny": [3]}', '{"condition": {"where": 3}}']
)
def test_what_cannot_be_read_has_no_size(sockets: Sockets, document: str) -> None:
    assert PolicySize.of(policy(sockets.owner, document=document)) == PolicySize()


def at_day(days: float) -> Author:
    return replace(BY, at=NOW + timedelta(days=days))


def test_what_is_deleted_makes_room_for_what_is_there(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever made and deleted enough could change nothing until the history is forgotten."""
    monkeypatch.setattr(policy_limits, "MAX_VERSIONS_OF_ACCOUNT", 4)
    store = sockets.store
    staff = store.add_policy(policy(sockets.owner), BY)
    for day in range(1, 7):
        other = policy(sockets.owner, str(day))
        store.add_policy(other, at_day(day))
        store.delete_policy(other.account_id, other.policy_id, at_day(day))
    assert edit(sockets, staff, 8 * 24 * 60).version == 2
    first = policy(sockets.owner, "1")
    for one, left in ((first, ["deleted"]), (other, ["deleted", "created"])):
        gone = store.policy_history(staff.account_id, one.policy_id, offset=0, limit=9)
        assert [entry.change.value for entry in gone] == left


def test_lists_that_are_deleted_make_room_for_those_that_are_there(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_lists, "MAX_ENTRIES", 4)
    store, owner = sockets.store, sockets.owner
    store.put_prefix_list(prefix_list(owner))
    for day in range(2, 12, 2):
        at = at_day(day)
        store.put_prefix_list(replace(prefix_list(owner, name=str(day)), updated_at=at.at))
        store.delete_prefix_list(owner.account_id, str(day), at)
    tighter = replace(prefix_list(owner, "192.0.2.1/32"), updated_at=at_day(12).at)
    assert store.put_prefix_list(tighter).version == 2
    history = store.prefix_list_history(owner.account_id, "office", offset=0, limit=9)
    assert [one.version for one in history] == [2, 1]
    assert store.prefix_list_history(owner.account_id, "2", offset=0, limit=9) == ()


def test_what_is_in_force_leaves_room_however_much_it_is(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_limits, "MAX_VERSIONS_OF_ACCOUNT", 2)
    monkeypatch.setattr(prefix_lists, "MAX_ENTRIES", 2)
    store, owner = sockets.store, sockets.owner
    for day in range(3):
        store.add_policy(policy(owner, f"staff-{day}"), at_day(day))
        named = replace(prefix_list(owner, name=f"list-{day}"), updated_at=at_day(day).at)
        store.put_prefix_list(named)
    edit(sockets, policy(owner, "staff-0"), 9 * 24 * 60)
    tighter = replace(prefix_list(owner, "192.0.2.1/32", name="list-0"), updated_at=at_day(9).at)
    store.put_prefix_list(tighter)
    edit(sockets, policy(owner, "staff-0"), 9 * 24 * 60 + 1)
    with pytest.raises(QuotaExceeded, match="history is full: its 4 entries"):
        edit(sockets, policy(owner, "staff-0"), 9 * 24 * 60 + 2)


def test_a_policy_is_attached_whatever_documents_there_were(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = sockets.store.add_policy(policy(sockets.owner), BY)
    for limit in ("MAX_VERSIONS", "MAX_VERSIONS_OF_ACCOUNT", "MAX_TEXT"):
        monkeypatch.setattr(policy_limits, limit, 0)
    sockets.attach(staff, "a")


def test_attachments_that_stand_stay_in_a_full_history(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a decision rested on could not be said without them."""
    monkeypatch.setattr(policy_limits, "MAX_ENTRIES", 5)
    store = sockets.store
    staff = store.add_policy(policy(sockets.owner), BY)

    def attach(name: str, day: float, *, there: bool) -> None:
        wanted = {staff.policy_id: {sockets.id_of(name): there}}
        store.attach(staff.account_id, wanted, at_day(day), limit=9)

    attach("a", 1, there=True)
    for day in range(2, 10):
        attach("b", day, there=True)
        attach("b", day + 0.5, there=False)
    history = store.policy_history(staff.account_id, staff.policy_id, offset=0, limit=99)
    assert [one.socket_ids for one in history if one.change is PolicyChangeKind.ATTACHED][-1] == (
        sockets.id_of("a"),
    )
    assert history[-1].change is PolicyChangeKind.CREATED
    assert len(history) <= 6


def test_histories_are_bounded_by_their_text_too(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list may have twenty thousand networks, and a thousand versions."""
    store, owner = sockets.store, sockets.owner
    staff = store.add_policy(policy(owner), BY)
    monkeypatch.setattr(policy_limits, "MAX_TEXT", 3 * len(staff.document))
    monkeypatch.setattr(prefix_lists, "MAX_TEXT", 3 * len('["10.0.0.0/16"]'))
    for day in range(8):
        edit(sockets, staff, (day * 24 + 1) * 60)
        changed = prefix_list(owner, f"10.{day}.0.0/16")
        store.put_prefix_list(replace(changed, updated_at=at_day(day).at))
    history = store.policy_history(staff.account_id, staff.policy_id, offset=0, limit=99)
    assert [one.version for one in history] == [9, 8, 7, 6]
    lists = store.prefix_list_history(owner.account_id, "office", offset=0, limit=9)
    assert [one.version for one in lists] == [8, 7, 6, 5]
    for hour in (2, 3, 4):
        edit(sockets, staff, (7 * 24 + hour) * 60)
    with pytest.raises(QuotaExceeded, match="characters"):
        edit(sockets, staff, (7 * 24 + 5) * 60)
