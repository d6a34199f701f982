"""One account changes one thing at a time, and nothing that others do keeps it from revoking."""

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest

from idp_gateway.account_turns import MOST_AT_ONCE, MOST_SOCKETS_AT_ONCE
from idp_gateway.asking import person_of
from idp_gateway.composition import Gateway
from idp_gateway.errors import Forbidden, TooManyAttempts
from idp_gateway.inviting import claim
from idp_gateway.providers.local import local_identity
from idp_gateway.records import RevocationRecord
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_access_requests import (
    answer,
    asked,
    window,
)
from tests.idp_gateway.api.test_revocations import ALICE, Room
from tests.idp_gateway.conftest import FixedClock


@pytest.fixture
def room(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Room:
    return Room(api, tls_socket, client_token)


def test_an_account_that_changes_too_much_at_once_is_sent_away_for_a_moment(
    owner: Person, room: Room, gateway: Gateway
) -> None:
    """What takes the lock of all who write for long: policies and lists."""
    mine, turns = owner.account.account_id, gateway.store.database.turns
    assert turns is not None
    document = {"version": "v2", "deny": [{"where": {"allowed_ip": ["192.0.2.1"]}}]}
    wishes: list[tuple[str, str, Any]] = [
        ("PUT", "/prefix-lists/office", {"prefixes": ["192.0.2.0/24"]}),
        ("POST", "/policies", {"name": "p", "policy_data": document}),
    ]
    web = {"name": "s", "socket_type": "http"}
    with ExitStack() as waiting:
        for _ in range(MOST_SOCKETS_AT_ONCE):
            waiting.callback(turns._leave, mine, turns._join(mine, MOST_SOCKETS_AT_ONCE))
        for method, path, wish in wishes:
            refused = owner.call(method, path, json=wish)
            assert (refused.status_code, refused.json()["reason"]) == (429, "too-many-attempts")
            assert refused.headers["retry-after"] == "1"
        # Of which edges are told no rules: nobody waits for that.
        assert owner.call("POST", "/socket", json=web).status_code == 200
    for method, path, wish in wishes:
        assert owner.call(method, path, json=wish).status_code in {200, 201}, path


def test_of_one_account_one_revocation_is_counted_at_a_time(
    owner: Person, room: Room, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at every certificate that is good, with one of the threads that all share."""
    counting, most = [], []
    count = gateway.store.count_revoked_by

    def noted(record: RevocationRecord, now: datetime) -> int:
        counting.append(record)
        most.append(len(counting))
        time.sleep(0.02)  # long enough for another to come in, if it could
        counting.pop()
        return count(record, now)

    monkeypatch.setattr(gateway.store, "count_revoked_by", noted)
    wish = {"scope": "person", "value": ALICE}
    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        asked = [
            threads.submit(owner.call, "POST", room.path, json=wish) for _ in range(MOST_AT_ONCE)
        ]
        assert {one.result().status_code for one in asked} == {200}
    assert most == [1] * MOST_AT_ONCE


@contextmanager
def taken(gateway: Gateway, *whose: str) -> Iterator[None]:
    """Nobody else gets these turns meanwhile."""
    turns = gateway.store.database.turns
    assert turns is not None
    with ExitStack() as waiting:
        for one in whose:
            for _ in range(MOST_AT_ONCE):
                waiting.callback(turns._leave, one, turns._join(one))
        yield


def test_who_may_not_answer_waits_for_no_turn(
    gateway: Gateway, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    """So they keep nobody from theirs."""
    request_id = asked(ann, wiki)
    account = owner.account.account_id
    with taken(gateway, account, f"approving:{account}"):
        assert answer(ann, request_id, "approve").status_code == 404
        assert answer(owner, request_id, "approve").status_code == 429
    assert answer(owner, request_id, "approve").status_code == 200


def test_a_guest_who_comes_again_waits_for_no_turn(
    gateway: Gateway, clock: FixedClock, owner: Person, ann: Person, wiki: dict[str, Any]
) -> None:
    body = {"socket_id": wiki["socket_id"], "email": ann.account.email, **window(clock)}
    secret = owner.call("POST", "/guests", json=body).json()["link"].partition("code=")[2]
    who = local_identity(ann.account, issuer=gateway.settings.base_url, now=clock())
    guest, account = person_of(gateway, who), owner.account.account_id
    with taken(gateway, account, f"claiming:{account}"):
        with pytest.raises(TooManyAttempts):
            claim(gateway, secret, guest)
        with pytest.raises(Forbidden):
            claim(gateway, secret, dataclasses.replace(guest, email="bob@lab.test"))
    claimed = claim(gateway, secret, guest)
    with taken(gateway, account, f"claiming:{account}"):
        assert claim(gateway, secret, guest) == claimed


def test_whatever_an_account_changes_it_can_revoke(
    gateway: Gateway, owner: Person, wiki: dict[str, Any]
) -> None:
    account, path = owner.account.account_id, f"/socket/{wiki['socket_id']}/revocation"
    wish = {"scope": "person", "value": "ann@lab.test"}
    with taken(gateway, account, f"claiming:{account}", f"approving:{account}"):
        assert owner.call("POST", path, json=wish).status_code == 200
        assert owner.call("PUT", "/prefix-lists/x", json={"prefixes": ["::/0"]}).status_code == 429
