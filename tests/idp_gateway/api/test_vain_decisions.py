"""Decisions that allowed something of which nothing came: one in a while is on record."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp_gateway.composition import Gateway
from idp_gateway.denials import REPEAT_WINDOW
from idp_gateway.paces import CertificatePace
from idp_gateway.records import DecisionRecord
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.conftest import FixedClock
from tests.support.rows import race
from tests.support.subjects import csr, ec_key, public_line

ALICE, BOB = "alice@lab.test", "bob@lab.test"
GOOD = {
    "csr": {"csr": csr(ec_key()).decode()},
    "ssh": {"ssh_public_key": public_line(ec_key())},
}
BAD = {"csr": {"csr": "x"}, "ssh": {"ssh_public_key": "x"}}

Ask = Callable[..., httpx.Response]


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE, BOB],
    )


@pytest.fixture
def ask(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Ask:
    name = tls_socket["dnsname"]
    tokens = {who: client_token(name, email=who) for who in (ALICE, BOB, "eve@lab.test")}

    def post(kind: str, body: dict[str, str], who: str = ALICE) -> httpx.Response:
        headers = {"x-access-token": tokens[who]}
        return api.post(f"/mtls-ca/socket/{name}/{kind}", json=body, headers=headers)

    return post


@pytest.fixture
def on_record(gateway: Gateway, tls_socket: dict[str, Any]) -> Callable[[], list[DecisionRecord]]:
    def read() -> list[DecisionRecord]:
        return list(gateway.store.decisions_page(tls_socket["socket_id"], offset=0, limit=100))

    return read


Recorded = Callable[[], list[DecisionRecord]]


@pytest.mark.parametrize("kind", ["csr", "ssh"])
def test_refused_keys_leave_one_record_in_a_while(
    ask: Ask, on_record: Recorded, clock: FixedClock, kind: str
) -> None:
    assert {ask(kind, BAD[kind]).status_code for _ in range(10)} == {400}
    assert len(on_record()) == 1
    ask(kind, BAD[kind], BOB)
    assert {one.email for one in on_record()} == {ALICE, BOB}
    clock.advance(seconds=REPEAT_WINDOW.total_seconds())
    ask(kind, BAD[kind])
    assert len(on_record()) == 3


@pytest.mark.parametrize("kind", ["csr", "ssh"])
def test_what_is_over_the_pace_leaves_one_record_and_each_certificate_its_own(
    ask: Ask, on_record: Recorded, gateway: Gateway, kind: str
) -> None:
    pace = CertificatePace(3, for_socket=5, for_account=5)
    gateway.authority._tls_pace = gateway.authority._ssh_pace = pace
    answers = [ask(kind, GOOD[kind]).status_code for _ in range(12)]
    assert answers == [200] * 3 + [429] * 9
    assert len(on_record()) == 4
    rested_on = {one.decision_id for one in gateway.store.certificates_of(on_record()[0].socket_id)}
    assert len(rested_on) == 3
    assert rested_on < {one.decision_id for one in on_record()}


@pytest.mark.parametrize("kind", ["csr", "ssh"])
def test_a_denial_is_on_record_as_it_was_and_told_by_its_id(
    ask: Ask, on_record: Recorded, kind: str
) -> None:
    replies = [ask(kind, BAD[kind], "eve@lab.test") for _ in range(3)]
    assert {reply.status_code for reply in replies} == {403}
    (record,) = on_record()
    assert {reply.json()["decision_id"] for reply in replies} == {record.decision_id}


def test_of_many_that_come_to_nothing_at_once_one_is_on_record(
    ask: Ask, on_record: Recorded
) -> None:
    race([lambda: ask("csr", BAD["csr"]) for _ in range(8)])
    assert len(on_record()) == 1
