"""The lists anybody may fetch: right for whoever asks and however, and cheap to ask for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from sqlalchemy import event, insert

from ca.formats.krl import parse_krl
from idp_gateway import capacity, revocations
from idp_gateway.app import create_app
from idp_gateway.ca_generations import user_ca_id
from idp_gateway.composition import Gateway
from idp_gateway.issuance_log import entry_of
from idp_gateway.kept_lists import (
    FEW,
    LONG_LISTS_KEPT_FOR,
    LONGEST_KEPT,
    KeptList,
    KeptLists,
    ListQuestion,
    MadeList,
    right_until,
)
from idp_gateway.records import CertificateKind, RevocationRecord, RevocationScope
from idp_gateway.store import list_position
from idp_gateway.store.base import values_of
from idp_gateway.store.named import REVOCATIONS
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person, both_databases
from tests.idp_gateway.api.test_revocations import ALICE, BOB, Room
from tests.idp_gateway.api.test_withdrawn_cas import rotate
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_capacity import until
from tests.support.subjects import csr, ec_key


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[ALICE, BOB],
    )


@pytest.fixture
def room(api: httpx.Client, tls_socket: dict[str, Any], client_token: ClientTokenMaker) -> Room:
    return Room(api, tls_socket, client_token)


def revoke(owner: Person, room: Room, email: str = ALICE) -> None:
    reply = owner.call("POST", room.path, json={"scope": "person", "value": email})
    assert reply.status_code == 200


def tls(room: Room, email: str) -> int:
    reply = room.ask(email, "csr", csr=csr(ec_key()).decode())
    assert reply.status_code == 200, reply.text
    pem = reply.json()["client_certificate"].encode()
    return x509.load_pem_x509_certificate(pem).serial_number


def listed(api: httpx.Client, query: str = "") -> set[int]:
    reply = api.get(f"/ca/crl{query}")
    assert reply.status_code == 200
    return {one.serial_number for one in x509.load_der_x509_crl(reply.content)}


@pytest.mark.parametrize("spelled", ["0", "00", ":", "000:"])
def test_no_spelling_of_no_ca_gets_an_empty_list(
    owner: Person, room: Room, api: httpx.Client, gateway: Gateway, spelled: str
) -> None:
    serial = tls(room, ALICE)
    revoke(owner, room)
    reply = api.get("/ca/crl", params={"ca": spelled})
    assert (reply.status_code, reply.json()["reason"]) == (400, "serial-invalid")
    signs = gateway.authority.issuing_ca(None).key_id
    assert listed(api) == listed(api, f"?ca={signs.upper()}") == {serial}


@pytest.mark.parametrize("path", ["/ca/log/proof", "/ca/log/entries"])
def test_no_other_question_takes_nothing_for_a_serial_number(owner: Person, path: str) -> None:
    reply = owner.call("GET", path, params={"serial": "0:0"})
    assert (reply.status_code, reply.json()["reason"]) == (400, "serial-invalid")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which lists were made, rather than given out again."""
    found: list[str] = []
    for name in ("_new_krl", "_new_crl"):
        make = getattr(revocations, name)

        def counted(*given: Any, _make: Any = make, _name: str = name) -> MadeList:
            found.append(_name)
            content: MadeList = _make(*given)
            return content

        monkeypatch.setattr(revocations, name, counted)
    return found


def test_asking_again_makes_no_list_whatever_else_goes_on(
    owner: Person, room: Room, api: httpx.Client, made: list[str]
) -> None:
    hers, serial = room.ssh(ALICE), tls(room, ALICE)
    revoke(owner, room)
    numbers = []
    for _ in range(3):
        krl = room.krl()
        assert krl.certificates[0].serials == ((hers.serial, hers.serial),)
        numbers.append(krl.number)
        assert listed(api) == {serial}
        # Others come and go, and people log in here who were not revoked.
        other = owner.socket(socket_type="tls")
        owner.call("DELETE", f"/socket/{other['socket_id']}")
        room.ssh(BOB)
        tls(room, BOB)
    assert made == ["_new_krl", "_new_crl"]
    assert numbers == sorted(set(numbers))


@both_databases
def test_what_is_revoked_without_a_certificate_keeps_the_list_of_all(
    owner: Person, room: Room, api: httpx.Client, made: list[str]
) -> None:
    """Made-up addresses cost a look at what the socket has that is still good."""
    hers, his = tls(room, ALICE), tls(room, BOB)
    revoke(owner, room)
    for number in range(3):
        revoke(owner, room, f"nobody-{number}@example.com")
        assert listed(api) == {hers}
    assert made == ["_new_crl"]
    revoke(owner, room, BOB)
    assert listed(api) == {hers, his}


@pytest.mark.parametrize("most", ["MAX_GOOD", "MAX_CHANGED"])
def test_where_there_is_much_to_look_through_the_list_is_made(
    owner: Person,
    room: Room,
    api: httpx.Client,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    most: str,
) -> None:
    monkeypatch.setattr(list_position, most, 0)
    serial = tls(room, ALICE)
    for email in ("nobody@example.com", "none@example.com"):
        revoke(owner, room, email)
        assert not listed(api)
    revoke(owner, room)
    assert listed(api) == {serial}
    assert made == ["_new_crl"] * 3


@both_databases
def test_what_is_revoked_is_on_the_next_list_of_every_gateway(
    owner: Person, room: Room, gateway: Gateway, api: httpx.Client
) -> None:
    his, serial = room.ssh(BOB), tls(room, BOB)
    elsewhere = KeptLists(gateway.store, gateway.clock)
    both = [gateway, replace(gateway, lists=elsewhere)]
    socket = revocations.socket_named(gateway, room.dns_name)
    for one in both:
        assert parse_krl(revocations.krl_of(one, socket).make()).is_empty
        assert not list(x509.load_der_x509_crl(revocations.crl_of(one, None).make()))
    revoke(owner, room, BOB)
    for one in both:
        krl = parse_krl(revocations.krl_of(one, socket).make())
        assert krl.certificates[0].serials == ((his.serial, his.serial),)
        (entry,) = x509.load_der_x509_crl(revocations.crl_of(one, None).make())
        assert entry.serial_number == serial


def test_what_was_being_issued_meanwhile_is_on_the_next_list(
    owner: Person, room: Room, api: httpx.Client, gateway: Gateway
) -> None:
    """It comes on record after the list was made, and gives out no revision."""
    room.ssh(ALICE)
    tls(room, ALICE)
    socket = revocations.socket_named(gateway, room.dns_name)
    revoke(owner, room)
    before = room.krl().certificates[0].serials
    on_crl = listed(api)
    slipped = []
    for old in gateway.store.certificates_of(socket.socket_id):
        late = replace(old, serial=str(int(old.serial, 16) % 2**60 + 1))
        gateway.log.append(late, entry_of(late))
        slipped.append(int(late.serial, 10 if late.kind is CertificateKind.SSH_USER else 16))
    assert set(room.krl().certificates[0].serials) - set(before) == {(slipped[0], slipped[0])}
    assert listed(api) - on_crl == {slipped[1]}


def test_what_expired_is_not_named_for_ever(
    owner: Person, room: Room, api: httpx.Client, clock: FixedClock
) -> None:
    room.ssh(ALICE)
    tls(room, ALICE)
    revoke(owner, room)
    assert listed(api)
    assert not room.krl().is_empty
    clock.advance(minutes=30)
    assert not listed(api)
    assert room.krl().is_empty


def test_a_withdrawn_ca_is_on_the_next_list(room: Room, gateway: Gateway) -> None:
    assert not room.krl().keys
    ca_id = user_ca_id(revocations.socket_named(gateway, room.dns_name).socket_id)
    rotate(gateway, ca_id, compromised=True)
    assert len(room.krl().keys) == 1


@pytest.fixture
def slow_krls(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, ...]]:
    """Set when the making of a key revocation list began, and what it waits for."""
    begun, go_on = threading.Event(), threading.Event()
    make = revocations._new_krl

    def slow(*given: Any) -> MadeList:
        begun.set()
        assert go_on.wait(60)
        return make(*given)

    monkeypatch.setattr(revocations, "_new_krl", slow)
    yield begun, go_on
    go_on.set()


@asynccontextmanager
async def visiting(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(gateway))
    async with httpx.AsyncClient(
        transport=transport, base_url=gateway.settings.base_url, timeout=120
    ) as client:
        yield client


async def test_who_asks_for_a_list_holds_up_nobody_else(
    room: Room, gateway: Gateway, slow_krls: tuple[threading.Event, ...]
) -> None:
    """While it takes its time, other questions are answered, those for other lists too."""
    begun, go_on = slow_krls
    async with visiting(gateway) as client:
        path = f"/ssh/{room.dns_name}/krl"
        asked = [asyncio.ensure_future(client.get(path)) for _ in range(45)]
        assert await asyncio.to_thread(begun.wait, 30)
        assert (await client.get("/ca/log/key")).status_code == 200
        assert (await client.get("/ca/crl")).status_code == 200
        assert not any(task.done() for task in asked)
        go_on.set()
        served = [await task for task in asked]
    assert {reply.status_code for reply in served} == {200}
    assert len({reply.content for reply in served}) == 1
    assert not gateway.capacity.making


async def test_one_list_by_two_names_is_made_once_and_keeps_no_other_waiting(
    owner: Person, room: Room, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, go_on, find, make = [], threading.Event(), KeptLists.find, revocations._new_crl

    def noted(lists: KeptLists, question: ListQuestion) -> KeptList | None:
        looks.append(question)
        return find(lists, question)

    def slow(*given: Any) -> MadeList:
        assert go_on.wait(60)
        return make(*given)

    monkeypatch.setattr(KeptLists, "find", noted)
    monkeypatch.setattr(revocations, "_new_crl", slow)
    signs = gateway.authority.issuing_ca(None).key_id
    async with visiting(gateway) as client, asyncio.timeout(90):
        asked = []
        for path in ("/ca/crl", f"/ca/crl?ca={signs}", f"/ca/crl?ca={signs.upper()}"):
            seen = len(looks)
            asked.append(asyncio.create_task(client.get(path)))
            await until(lambda seen=seen: len(looks) > seen)  # type: ignore[misc]
        assert len(set(looks)) == 1
        assert (await client.get(f"/ssh/{room.dns_name}/krl")).status_code == 200
        assert gateway.capacity.made_lists.borrowed_tokens == 1
        go_on.set()
        served = {(await task).content for task in asked}
    assert len(served) == 1


def test_too_many_who_ask_for_lists_are_sent_away(
    room: Room, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "MOST_UNMADE", 0)
    refused = api.get(f"/ssh/{room.dns_name}/krl")
    assert (refused.status_code, refused.json()["reason"]) == (503, "lists-busy")
    assert refused.headers["retry-after"] == "5"


def test_sockets_with_nothing_left_to_name_cost_nothing(gateway: Gateway) -> None:
    """One question however many sockets: each had three to five, and nobody forgets a socket."""
    row = values_of(
        RevocationRecord(
            revocation_id="",
            socket_id="",
            scope=RevocationScope.PERSON,
            value=ALICE,
            reason="",
            created_by="x",
            created_at=gateway.clock(),
        )
    )
    names = [{"revocation_id": str(number), "socket_id": str(number)} for number in range(300)]
    with gateway.store.database.writing() as connection:
        connection.execute(insert(REVOCATIONS), [row | one for one in names])
    questions: list[str] = []
    event.listen(
        gateway.store.database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: questions.append(statement),
    )
    revocations.crl_of(gateway, None).make()
    assert len(questions) < 30


def test_short_lists_are_right_to_the_moment_and_long_ones_to_the_minute() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    soon = now + timedelta(seconds=1)
    later = now + timedelta(minutes=5)
    assert right_until(now, [later, soon]) == soon
    assert right_until(now, [later] * FEW + [soon]) == now + LONG_LISTS_KEPT_FOR
    assert right_until(now, [later] * (FEW + 1)) == later
    assert right_until(now, []) == now + LONGEST_KEPT
