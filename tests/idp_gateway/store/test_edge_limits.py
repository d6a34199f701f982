"""What edges are told of one account is counted as it is told, not as documents say it."""

import json
from collections.abc import ItemsView, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from sqlalchemy import update

from idp_gateway.address_rules import AddressRules
from idp_gateway.errors import Conflict, QuotaExceeded
from idp_gateway.policy_documents import Remembered, policy_in
from idp_gateway.policy_records import PolicyChangeKind, PolicyRecord
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.store import Store, edge_limits, policy_places, told_counting
from idp_gateway.store.rules import LISTS, AccountRules
from policy.policy_set import PolicySet
from policy.types import SocketType
from tests.idp_gateway.store.test_policies import BY, policy, prefix_list
from tests.support import rows
from tests.support.requests import guest_of, owner_person, person
from tests.support.rows import NOW

ANN, EVE = {"email": ["ann@corp.test"]}, {"email": ["eve@corp.test"]}
OFFICE = {"allowed_ip": ["192.0.2.0/24"]}
PORTS = range(30_000, 30_100)


def scattered(count: int) -> list[str]:
    return [str(IPv6Address((2 << 124) | (at << 116) | (at * 0x9E3779B97F4A7C15) % 2**80))
            for at in range(count)]  # fmt: skip


def document(*denies: dict[str, Any], **where: Any) -> str:
    condition = {"who": ANN, **({"where": where} if where else {})}
    found = {"version": "v2", "action": ["tls"], "condition": condition, "deny": list(denies)}
    return json.dumps(found)


def told_of(record: PolicyRecord) -> int:
    rules = AddressRules.of(PolicySet.build([policy_in(record)]))
    sets = (rules.sets or {}).values()
    return len(rules.rule.allow or ()) + len(rules.rule.deny) + sum(map(len, sets))


@pytest.fixture
def owner(store: Store) -> AccountRecord:
    owner = rows.account()
    store.add_account(owner)
    return owner


def publish(store: Store, owner: AccountRecord, name: str = "one") -> SocketRecord:
    made = rows.socket(owner, socket_id=name, dns_name=f"{name}.edge.test",
                       socket_type=SocketType.TLS, cloud_authentication_enabled=True)  # fmt: skip
    return store.add_socket(replace(made, port=None, emails=(), domains=()), ports=PORTS)


def attach(store: Store, record: PolicyRecord, *sockets: SocketRecord) -> None:
    wanted = {record.policy_id: {one.socket_id: True for one in sockets}}
    store.attach(record.account_id, wanted, BY, limit=9)


def test_addresses_denied_to_one_person_count_with_all_that_they_leave(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = document({"who": EVE, "where": {"allowed_ip": scattered(20)}})
    record = store.add_policy(policy(owner, document=few), BY)
    told = told_of(record)
    assert told > 50 * 20
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 3 * told - 1)
    one, two, three = (publish(store, owner, name) for name in ("one", "two", "three"))
    attach(store, record, one, two)
    with pytest.raises(QuotaExceeded, match=f"come to {3 * told}"):
        attach(store, record, three)
    store.attach(owner.account_id, {record.policy_id: {"one": False}}, BY, limit=9)
    attach(store, record, three)


def test_a_rule_that_only_now_names_somebody_is_counted_anew(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document has as many rules and networks as before, and edges a hundred times as many."""
    places = {"where": {"allowed_ip": scattered(20)}}
    record = store.add_policy(policy(owner, document=document(places)), BY)
    attach(store, record, publish(store, owner))
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 1000)

    def change(text: str) -> PolicyRecord:
        current = store.get_policy(owner.account_id, record.policy_id)
        return store.change_policy(
            replace(current, document=text), PolicyChangeKind.CHANGED, BY, means_the_same=False
        )

    with pytest.raises(QuotaExceeded):
        change(document({"who": EVE, **places}))
    # What was too much before the limit may become less, though it still is too much.
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 1)
    assert change(document({"where": {"allowed_ip": scattered(19)}})).version == 2
    with pytest.raises(QuotaExceeded):
        change(document(places))


def test_of_what_there_was_no_time_to_count_as_much_counts_as_edges_take(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = document({"who": EVE, "where": {"allowed_ip": scattered(21)}})
    record = store.add_policy(policy(owner, document=few), BY)
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 20)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 19_999)
    socket = publish(store, owner)
    with pytest.raises(QuotaExceeded, match="come to 20000"):
        attach(store, record, socket)


def test_what_documents_say_is_never_less_than_what_is_told(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no deny rule says more than addresses, nothing has to be sorted to know enough."""
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 0)
    texts = [
        document(**OFFICE),
        document({"where": {"allowed_ip": scattered(30)}}),
        document({"where": {"allowed_ip": ["192.0.2.7"]}}, {"where": OFFICE}, **OFFICE),
        document({"where": {"allowed_ip": ["0.0.0.0/0", "::/0"]}}, allowed_ip=scattered(9)),
    ]
    socket = publish(store, owner)
    for at, text in enumerate(texts):
        record = store.add_policy(policy(owner, str(at), document=text), BY)
        monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", told_of(record) - 1)
        with pytest.raises(QuotaExceeded):
            attach(store, record, socket)


def test_a_guest_who_would_close_the_socket_for_everybody_is_refused(
    store: Store, owner: AccountRecord
) -> None:
    """A long list beside a rule for one's own network takes nothing away, until somebody may come
    from anywhere.
    """
    blocked = [f"{IPv4Address((1 << 30) + 2 * at)}/32" for at in range(10_001)]
    for name in ("first", "second"):
        store.put_prefix_list(prefix_list(owner, *blocked, name=name))
        blocked = [f"{IPv4Address((1 << 31) + 2 * at)}/32" for at in range(10_001)]
    denied = [{"where": {"prefix_list": [name]}} for name in ("first", "second")]
    text = document(*denied, **OFFICE)
    record = policy(owner, document=text, prefix_lists=("first", "second"))
    record = store.add_policy(record, BY)
    socket = publish(store, owner)
    attach(store, record, socket)
    guest = store.add_guest(guest_of(socket), owner_person(owner), limit=9)
    with pytest.raises(Conflict, match="closed for everybody") as refused:
        store.claim_guest(guest.code_hash, person("ann"), NOW)
    assert refused.value.reason == "source-rules-too-large"
    assert store.guests_admitted_on([socket.socket_id], NOW) == ()
    less = document(denied[0], **OFFICE)
    store.change_policy(
        replace(record, document=less, prefix_lists=("first",)),
        PolicyChangeKind.CHANGED, BY, means_the_same=False,
    )  # fmt: skip
    assert store.claim_guest(guest.code_hash, person("ann"), NOW).claimed_at == NOW


def test_taking_a_rule_away_tells_no_more_than_was_counted(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seventeen rules that take something away none is told apart, of sixteen each."""
    office = [f"{IPv4Address((10 << 24) + 2 * at)}/32" for at in range(100)]
    records = [policy(owner, "allow", document=document(allowed_ip=office))]
    for at in range(17):
        deny = [{"who": EVE, "where": {"allowed_ip": [office[at]]}}]
        text = json.dumps({"version": "v2", "deny": deny})
        records.append(policy(owner, f"cut{at}", document=text))
    less = [one for one in records if one.name != "cut0"]
    told = PolicySet.build(map(policy_in, less)).told
    assert told is not None
    records = [store.add_policy(one, BY) for one in records]
    socket = publish(store, owner)
    wanted = {one.policy_id: {socket.socket_id: True} for one in records}
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", told - 1)
    with pytest.raises(QuotaExceeded):
        store.attach(owner.account_id, wanted, BY, limit=99)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 2 * told)
    store.attach(owner.account_id, wanted, BY, limit=99)


def test_a_guest_of_whom_it_is_not_known_that_edges_can_be_told_is_refused(
    store: Store, owner: AccountRecord
) -> None:
    """Where the rules are made it is known, and the guest would be left out."""
    for name, first in (("first", 1 << 30), ("second", 1 << 31)):
        blocked = [f"{IPv4Address(first + 2 * at)}/32" for at in range(10_001)]
        store.put_prefix_list(prefix_list(owner, *blocked, name=name))
    denied = [
        {"where": {"prefix_list": [name], "allowed_ip": [f"198.51.100.{at}"]}}
        for name in ("first", "second")
        for at in range(3)
    ]
    record = policy(owner, document=document(*denied, **OFFICE), prefix_lists=("first", "second"))
    record = store.add_policy(record, BY)
    socket = publish(store, owner)
    attach(store, record, socket)
    guest = store.add_guest(guest_of(socket), owner_person(owner), limit=9)
    with pytest.raises(Conflict) as refused:
        store.claim_guest(guest.code_hash, person("ann"), NOW)
    assert refused.value.reason == "source-rules-too-large"


def test_a_guest_for_whom_only_the_account_has_no_room_is_told_so(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = document({"who": EVE, "where": {"allowed_ip": scattered(20)}}, **OFFICE)
    record = store.add_policy(policy(owner, document=text), BY)
    socket = publish(store, owner)
    attach(store, record, socket)
    guest = store.add_guest(guest_of(socket), owner_person(owner), limit=9)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 1000)
    with pytest.raises(QuotaExceeded, match="all TCP and TLS sockets of an account"):
        store.claim_guest(guest.code_hash, person("ann"), NOW)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 10_000)
    assert store.claim_guest(guest.code_hash, person("ann"), NOW).claimed_at == NOW


def test_whom_rules_name_is_not_looked_at_for_every_socket(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document is read once, however many sockets have another set of policies with it."""
    read: list[str] = []
    places_in = policy_places.PolicyPlaces.of

    def counted(text: str) -> policy_places.PolicyPlaces:
        read.append(text)
        return places_in(text)

    monkeypatch.setattr(policy_places.PolicyPlaces, "of", counted)
    monkeypatch.setattr(policy_places, "_known", Remembered(1 << 20))
    monkeypatch.setattr(told_counting, "_counted", told_counting._Counted())
    shared = document({"who": EVE, "where": {"allowed_ip": ["198.51.100.77"]}})
    records = [store.add_policy(policy(owner, "shared", document=shared), BY)]
    sockets = [publish(store, owner, f"s{at}") for at in range(5)]
    for at in range(5):
        deny = [{"who": EVE, "where": {"allowed_ip": [f"203.0.113.{at}"]}}]
        text = json.dumps({"version": "v2", "deny": deny})
        records.append(store.add_policy(policy(owner, f"cut{at}", document=text), BY))
    attach(store, records[0], *sockets)
    for record, socket in zip(records[1:], sockets, strict=True):
        attach(store, record, socket)
    assert sorted(read) == sorted(one.document for one in records)


def test_a_person_can_be_taken_out_of_what_could_not_be_counted(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses are the same, so edges are told the same."""
    text = document({"who": EVE, "where": {"allowed_ip": scattered(23)}})
    record = store.add_policy(policy(owner, document=text), BY)
    attach(store, record, publish(store, owner))
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 0)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 1)
    without_ann = text.replace("ann@corp.test", "bob@corp.test")
    changed = store.change_policy(
        replace(record, document=without_ann),
        PolicyChangeKind.CHANGED, BY, means_the_same=False,
    )  # fmt: skip
    assert changed.version == 2


class Asked(dict[str, PolicyRecord]):
    """Policies that count how often all of them were looked through."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()

    def items(self) -> ItemsView[str, PolicyRecord]:
        self.times += 1
        return super().items()


def test_what_bears_on_a_socket_is_found_without_looking_at_all_policies(
    owner: AccountRecord,
) -> None:
    made = [policy(owner, f"p{at}", org_wide=at == 7) for at in range(9)]
    policies = Asked({one.policy_id: one for one in made})
    own = frozenset({made[3].policy_id})
    rules = AccountRules(policies=policies, attached={str(at): own for at in range(50)})
    for at in range(50):
        assert {one.name for one in rules.of_socket(str(at))} == {"p3", "p7"}
    assert policies.times <= 1


def test_lists_are_not_read_to_count_them(store: Store, owner: AccountRecord) -> None:
    """They may be megabytes, and whoever writes would wait for it."""
    store.put_prefix_list(prefix_list(owner, "192.0.2.0/24", "198.51.100.0/24", name="long"))
    record = store.add_policy(
        policy(owner, document=document(prefix_list=["long"]), prefix_lists=("long",)), BY
    )
    with store.database.writing() as connection:
        connection.execute(update(LISTS).values(prefixes=["no", "addresses"]))
    attach(store, record, publish(store, owner))


def test_what_takes_long_to_count_is_counted_bit_by_bit(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is refused does not depend on what was counted before."""
    monkeypatch.setattr(told_counting, "_counted", told_counting._Counted())
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 50_000)
    texts = [document({"who": EVE, "where": {"allowed_ip": scattered(21 + at)}}) for at in range(3)]
    records = [
        store.add_policy(policy(owner, str(at), document=text), BY) for at, text in enumerate(texts)
    ]
    sockets = [publish(store, owner, f"s{at}") for at in range(3)]
    for record, socket in zip(records[:2], sockets, strict=False):
        attach(store, record, socket)
    monkeypatch.setattr(told_counting, "_counted", told_counting._Counted())
    # Enough for one of them at a time.
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 1500)
    attach(store, records[2], sockets[2])


def test_what_is_never_counted_is_refused_in_the_end(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 20)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 30_000)
    cut = document({"who": EVE, "where": {"allowed_ip": scattered(24)}})
    record = store.add_policy(policy(owner, document=cut), BY)
    with pytest.raises(QuotaExceeded, match="come to 40000"):
        attach(store, record, publish(store, owner, "a"), publish(store, owner, "b"))


def test_what_cannot_be_counted_keeps_nothing_else_from_it(
    store: Store, owner: AccountRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as the most that edges take; small rules beside it as what they are."""
    monkeypatch.setattr(told_counting, "_counted", told_counting._Counted())
    monkeypatch.setattr(told_counting, "MAX_COUNTED", 1500)
    monkeypatch.setattr(edge_limits, "MAX_TOLD_NETWORKS", 40_000)
    heavy = document({"who": EVE, "where": {"allowed_ip": scattered(400)}})
    attach(store, store.add_policy(policy(owner, document=heavy), BY), publish(store, owner, "a"))
    for at in range(6):
        text = document({"who": EVE, "where": {"allowed_ip": [f"2001:db8::{at + 1}"]}})
        record = store.add_policy(policy(owner, f"p{at}", document=text), BY)
        attach(store, record, publish(store, owner, f"s{at}"))
