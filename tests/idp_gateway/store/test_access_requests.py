"""Requests for access on both databases: who may do what, how much, and in any order at once."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from idp_gateway.errors import Conflict, Forbidden, InvalidInput, NotFound, TooManyAttempts
from idp_gateway.request_records import AccessEventKind, RequestState
from idp_gateway.store import Store
from idp_gateway.store.access_requests import AskingLimits
from tests.support.requests import ask, owner_person, person, rule
from tests.support.rows import NOW, account, owner_with_socket, race, socket

ANN, BEA, CAT = person("ann"), person("bea"), person("cat")
SOON = NOW + timedelta(minutes=1)


def numbers(store: Store, socket_id: str) -> tuple[int, int]:
    found = store.find_socket(socket_id)
    assert found is not None
    return found.epoch, found.rules_version


def test_an_approval_lets_in_and_ends_no_grant(store: Store) -> None:
    owner, wiki = owner_with_socket(store, cloud_authentication_enabled=True)
    made = ask(store, ANN, wiki)
    epoch, version = numbers(store, wiki.socket_id)
    revision = store.revision()

    done = store.approve_access_request(
        made.request_id, owner_person(owner), minutes=30, note="fine", now=SOON
    )

    assert (done.state, done.starts_at) == (RequestState.APPROVED, SOON)
    assert done.ends_at == done.over_at == SOON + timedelta(minutes=30)
    assert numbers(store, wiki.socket_id) == (epoch, version + 1)
    assert [change.entity_id for change in store.changes_since(revision)] == [wiki.socket_id]
    assert store.approved_on([wiki.socket_id], SOON) == (done,)
    assert store.approved_on([wiki.socket_id], done.over_at) == ()
    assert done.state_at(done.over_at) is RequestState.ENDED


def test_ending_it_early_ends_grants_too(store: Store) -> None:
    owner, wiki = owner_with_socket(store, cloud_authentication_enabled=True)
    for ending, by in (("revoke", owner_person(owner)), ("cancel", ANN)):
        made = ask(store, ANN, wiki)
        store.approve_access_request(
            made.request_id, owner_person(owner), minutes=None, note="", now=NOW
        )
        epoch, _ = numbers(store, wiki.socket_id)
        end = getattr(store, f"{ending}_access_request")
        ended = end(made.request_id, by, note="done", now=SOON)
        assert ended.ends_at == SOON
        assert numbers(store, wiki.socket_id)[0] == epoch + 1
        assert store.approved_on([wiki.socket_id], SOON) == ()
        with pytest.raises(Conflict):
            end(made.request_id, by, note="", now=SOON)


def test_others_learn_of_nothing(store: Store) -> None:
    _, wiki = owner_with_socket(store)
    stranger, _ = owner_with_socket(store)
    made = ask(store, ANN, wiki)
    for answer in (store.deny_access_request, store.revoke_access_request):
        for somebody in (owner_person(stranger), BEA, ANN):
            with pytest.raises(NotFound):
                answer(made.request_id, somebody, note="", now=SOON)
    with pytest.raises(NotFound):
        store.approve_access_request(made.request_id, ANN, minutes=1, note="", now=SOON)
    with pytest.raises(NotFound):
        store.cancel_access_request(made.request_id, BEA, note="", now=SOON)
    assert store.sockets_to_answer_for(ANN) == ()
    events = store.access_events_page(stranger.account_id, offset=0, limit=9)
    assert events == ()


def test_an_approver_answers_for_the_sockets_they_were_named_for(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    other = store.add_socket(socket(owner), ports=range(0))
    rule(store, owner, "bea@corp.test", socket_id=wiki.socket_id)
    assert store.sockets_to_answer_for(BEA) == (wiki.socket_id,)
    with pytest.raises(NotFound):
        store.deny_access_request(ask(store, ANN, other).request_id, BEA, note="", now=SOON)
    rule(store, owner, "bea@corp.test")
    assert set(store.sockets_to_answer_for(BEA)) == {wiki.socket_id, other.socket_id}
    rule(store, owner, socket_id=wiki.socket_id)
    rule(store, owner)
    assert store.sockets_to_answer_for(BEA) == ()
    assert len(store.sockets_to_answer_for(owner_person(owner))) == 2


def test_nobody_answers_for_themselves_under_any_of_their_names(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "ann@corp.test", "bea@corp.test")
    made = ask(store, ANN, wiki).request_id
    at_another_provider = person("ann", issuer="https://other.test", subject="x")
    for me in (ANN, at_another_provider):
        with pytest.raises(Forbidden, match="own request"):
            store.approve_access_request(made, me, minutes=None, note="", now=SOON)
        with pytest.raises(Forbidden, match="own request"):
            store.deny_access_request(made, me, note="", now=SOON)
    theirs = ask(store, owner_person(owner), wiki).request_id
    with pytest.raises(Forbidden, match="own request"):
        store.approve_access_request(theirs, owner_person(owner), minutes=None, note="", now=SOON)
    done = store.approve_access_request(theirs, BEA, minutes=None, note="", now=SOON)
    assert done.state is RequestState.APPROVED


def test_two_people_are_two_and_the_shorter_time_counts(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "bea@corp.test", owner.email, two_person=True)
    made = ask(store, ANN, wiki).request_id

    first = store.approve_access_request(
        made, owner_person(owner), minutes=10, note="one", now=SOON
    )
    assert first.state is RequestState.PENDING
    assert store.approved_on([wiki.socket_id], SOON) == ()
    owner_elsewhere = person("x", email=owner.email, subject="somebody")
    for same in (owner_person(owner), owner_elsewhere):
        with pytest.raises(Conflict) as refused:
            store.approve_access_request(made, same, minutes=None, note="", now=SOON)
        assert refused.value.reason == "already-approved"
    second = store.approve_access_request(made, BEA, minutes=30, note="two", now=SOON)

    assert second.ends_at == SOON + timedelta(minutes=10)
    assert {one.note for one in store.approvals_of([made])} == {"one", "two"}
    kinds = [e.kind for e in store.access_events_page(owner.account_id, offset=0, limit=9)]
    assert kinds == [
        AccessEventKind.APPROVED,
        AccessEventKind.SECONDED,
        AccessEventKind.ASKED,
        AccessEventKind.RULES_CHANGED,
    ]


def test_a_rule_that_cannot_be_met_is_refused_and_said(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    with pytest.raises(InvalidInput):
        rule(store, owner, two_person=True)
    with pytest.raises(InvalidInput):
        rule(store, owner, owner.email, socket_id=wiki.socket_id, two_person=True)
    rule(store, owner, "ann@corp.test")
    rule(store, owner, socket_id=wiki.socket_id, two_person=True)
    with pytest.raises(InvalidInput):
        rule(store, owner)  # the socket's rule would be left without a second person
    made = ask(store, ANN, wiki).request_id
    with pytest.raises(Conflict) as refused:
        store.approve_access_request(made, owner_person(owner), minutes=None, note="", now=SOON)
    assert refused.value.reason == "two-person-impossible"


def test_who_was_taken_off_the_list_counts_no_longer(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "bea@corp.test", "cat@corp.test", two_person=True)
    made = ask(store, ANN, wiki).request_id
    yes = partial(store.approve_access_request, made, minutes=None, note="", now=SOON)
    yes(person=BEA)
    rule(store, owner, "cat@corp.test", two_person=True)

    assert yes(person=CAT).state is RequestState.PENDING
    assert store.approved_on([wiki.socket_id], SOON) == ()
    assert yes(person=owner_person(owner)).state is RequestState.APPROVED


def test_an_owner_counts_by_whatever_identity_they_have(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "bea@corp.test", two_person=True)
    made = ask(store, ANN, wiki).request_id
    elsewhere = replace(person("other"), account_id=owner.account_id)
    store.upsert_identity(
        issuer=elsewhere.issuer,
        subject=elsewhere.subject,
        email=elsewhere.email,
        name="",
        account_id=owner.account_id,
        now=NOW,
    )
    yes = partial(store.approve_access_request, made, minutes=None, note="", now=SOON)
    yes(person=elsewhere)
    assert yes(person=BEA).state is RequestState.APPROVED


def test_relaxing_the_rule_does_not_relax_what_was_asked_before(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "bea@corp.test", two_person=True)
    made = ask(store, ANN, wiki).request_id
    rule(store, owner, "bea@corp.test")
    one = store.approve_access_request(made, owner_person(owner), minutes=None, note="", now=SOON)
    assert one.state is RequestState.PENDING


def test_asking_is_bounded(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    others = [store.add_socket(socket(owner), ports=range(0)) for _ in range(3)]
    limits = AskingLimits(by_person=4, by_person_and_socket=2, open_per_socket=2)
    first = ask(store, ANN, wiki, limits=limits)
    with pytest.raises(Conflict) as again:
        ask(store, ANN, wiki, limits=limits)
    assert again.value.reason == "request-open"
    store.deny_access_request(first.request_id, owner_person(owner), note="", now=NOW)
    second = ask(store, ANN, wiki, limits=limits)
    store.cancel_access_request(second.request_id, ANN, note="", now=NOW)
    with pytest.raises(TooManyAttempts):
        ask(store, ANN, wiki, limits=limits)
    for other in others[:2]:
        ask(store, ANN, other, limits=limits)
    with pytest.raises(TooManyAttempts):
        ask(store, ANN, others[2], limits=limits)
    for name in ("x", "y"):
        ask(store, person(name), wiki, limits=limits)
    with pytest.raises(TooManyAttempts):
        ask(store, BEA, wiki, limits=limits)
    later = NOW + timedelta(days=8)
    assert ask(store, ANN, wiki, limits=limits, created_at=later)


def test_what_nobody_answered_expires_and_may_be_asked_anew(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    made = ask(store, ANN, wiki)
    late = made.over_at
    with pytest.raises(Conflict):
        store.approve_access_request(
            made.request_id, owner_person(owner), minutes=None, note="", now=late
        )
    found = store.access_requests_of(person=ANN, state=RequestState.EXPIRED, now=late, limit=9)
    assert [one.request_id for one in found] == [made.request_id]
    again = ask(store, ANN, wiki, created_at=late)
    listed = {
        state: [
            one.request_id
            for one in store.access_requests_of(
                socket_ids=[wiki.socket_id], state=state, now=late, limit=9
            )
        ]
        for state in (RequestState.EXPIRED, RequestState.PENDING, None)
    }
    assert listed == {
        RequestState.EXPIRED: [made.request_id],
        RequestState.PENDING: [again.request_id],
        None: [again.request_id, made.request_id],
    }


def test_where_nobody_may_ask_nobody_asks(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, socket_id=wiki.socket_id, asking=False)
    with pytest.raises(NotFound):
        ask(store, ANN, wiki)


@pytest.mark.parametrize("two_person", [False, True])
def test_two_who_approve_at_once_are_counted_once_each(store: Store, *, two_person: bool) -> None:
    owner, wiki = owner_with_socket(store)
    rule(store, owner, "bea@corp.test", "cat@corp.test", two_person=two_person)
    made = ask(store, ANN, wiki).request_id
    _, version = numbers(store, wiki.socket_id)
    yes = partial(store.approve_access_request, made, minutes=None, note="", now=SOON)
    people = (owner_person(owner), BEA, BEA, CAT)

    results = race([partial(yes, person=one) for one in people])

    done = [one for one in results if not isinstance(one, Exception)]
    assert all(isinstance(one, Conflict) for one in results if isinstance(one, Exception))
    assert len(done) == (2 if two_person else 1)
    assert [one.state for one in done].count(RequestState.APPROVED) == 1
    assert len(store.approvals_of([made])) == len(done)
    assert numbers(store, wiki.socket_id)[1] == version + 1


def test_of_approving_and_cancelling_at_once_the_last_word_is_no(store: Store) -> None:
    """Whichever comes first: who takes a request back is not let in by it afterwards."""
    owner, wiki = owner_with_socket(store)
    for number in range(4):
        asker = person(f"p{number}")
        made = ask(store, asker, wiki).request_id
        approve = partial(
            store.approve_access_request, made, owner_person(owner), minutes=None, note="", now=SOON
        )
        cancel = partial(store.cancel_access_request, made, asker, note="", now=SOON)
        results = race([approve, cancel])
        assert not isinstance(results[1], Exception)
        found = store.find_access_request(made)
        assert found is not None
        assert found.state is RequestState.CANCELLED
        assert store.approved_on([wiki.socket_id], SOON) == ()


def test_asking_twice_at_once_asks_once(store: Store) -> None:
    _, wiki = owner_with_socket(store)
    results = race([partial(ask, store, ANN, wiki)] * 3)
    assert sum(isinstance(one, Conflict) for one in results) == 2


def test_the_audit_outlives_the_socket_and_is_forgotten_in_time(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    made = ask(store, ANN, wiki)
    store.deny_access_request(made.request_id, owner_person(owner), note="no", now=SOON)
    store.delete_socket(owner.account_id, wiki.socket_id, SOON)

    denied, asked = store.access_events_page(owner.account_id, offset=0, limit=9)
    assert (denied.email, denied.words, denied.about) == (owner.email, "no", ANN.email)
    assert (asked.email, asked.words, asked.dns_name) == (ANN.email, "on call", wiki.dns_name)
    assert store.find_access_request(made.request_id) is None
    store.forget_access_requests(SOON)
    assert len(store.access_events_page(owner.account_id, offset=0, limit=9)) == 1
    store.forget_access_requests(SOON + timedelta(seconds=1))
    assert store.access_events_page(owner.account_id, offset=0, limit=9) == ()


def test_only_what_is_over_is_forgotten(store: Store) -> None:
    owner, wiki = owner_with_socket(store)
    denied, waiting = ask(store, ANN, wiki), ask(store, BEA, wiki)
    store.deny_access_request(denied.request_id, owner_person(owner), note="", now=SOON)
    store.forget_access_requests(SOON + timedelta(days=1))
    assert store.find_access_request(denied.request_id) is None
    assert store.find_access_request(waiting.request_id) == waiting


def test_an_unknown_request_is_nobodys(store: Store) -> None:
    owner = account()
    store.add_account(owner)
    with pytest.raises(NotFound):
        store.deny_access_request("none", owner_person(owner), note="", now=NOW)
