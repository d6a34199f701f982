"""What a server is told while the gateway's database can be read and takes no write."""

import logging
import sqlite3
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlalchemy.exc import OperationalError

from ca.formats.krl import parse_krl
from ca.formats.ssh_certificate import parse_certificate_line
from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import Person, both_databases
from tests.idp_gateway.api.test_hosts import TRUSTED, Server
from tests.idp_gateway.conftest import FixedClock


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


def full(*_: Any, **__: Any) -> Any:
    raise OperationalError("INSERT", {}, Exception("database or disk is full"))


def full_for_the_driver() -> Any:
    """Certificates are written by SQLite's own driver."""
    raise sqlite3.OperationalError("database or disk is full")


def revoke_all(owner: Person, server: Server) -> None:
    path = f"/socket/{server.socket['socket_id']}/revocation"
    assert owner.call("POST", path, json={"scope": "socket"}).status_code == 200


@both_databases
def test_a_revocation_reaches_servers_although_nothing_can_be_written(
    owner: Person,
    server: Server,
    gateway: Gateway,
    clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.enrol(owner)
    before = server.bundle()
    revoke_all(owner, server)
    kept = gateway.store.find_host(server.host_id)
    clock.advance(minutes=1)

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "idp_gateway.hosts"):
        patched.setattr(gateway.store.database, "writing", full)
        bundle = server.bundle(said={"number": before.number})

    assert parse_krl(before.krl).is_empty
    assert not parse_krl(bundle.krl).is_empty
    assert bundle.number > before.number
    assert gateway.store.find_host(server.host_id) == kept
    assert len(caplog.records) == 1
    assert server.host_id in caplog.text
    assert "INSERT" not in caplog.text
    server.bundle(said={"number": bundle.number})
    found = gateway.store.find_host(server.host_id)
    assert found is not None
    assert found.synced_number == bundle.number
    assert found.trusted_cas == (TRUSTED,)


def test_no_certificate_comes_while_nothing_can_be_written(
    owner: Person,
    server: Server,
    gateway: Gateway,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.enrol(owner)
    clock.advance(days=8)

    with monkeypatch.context() as patched:
        patched.setattr(gateway.store.database, "writing", full)
        bundle = server.bundle()

    assert (bundle.host_certificate, bundle.enrol_again) == ("", False)
    assert server.bundle().host_certificate


def test_a_disk_that_fills_up_in_between_costs_the_certificate_alone(
    owner: Person,
    server: Server,
    gateway: Gateway,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the host has was written, and then there was no room for a certificate."""
    server.enrol(owner)
    revoked = server.bundle().number
    clock.advance(days=8)
    monkeypatch.setattr(gateway.store, "appending", full_for_the_driver)

    bundle = server.bundle(said={"number": revoked})

    assert bundle.host_certificate == ""
    found = gateway.store.find_host(server.host_id)
    assert found is not None
    assert found.synced_number == revoked


def test_which_certificate_is_shown_may_fail_to_be_kept(
    owner: Person,
    server: Server,
    gateway: Gateway,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.enrol(owner)
    clock.advance(days=8)
    server.certificate = server.bundle().host_certificate

    with monkeypatch.context() as patched:
        patched.setattr(gateway.store, "note_shown", full)
        bundle = server.bundle()

    assert (bundle.host_certificate, bundle.enrol_again) == ("", False)
    found = gateway.store.find_host(server.host_id)
    assert found is not None
    assert found.serial != str(parse_certificate_line(server.certificate).serial)


def test_a_certificate_on_record_needs_no_write(
    owner: Person, server: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.enrol(owner)
    given, server.certificate = server.certificate, ""
    monkeypatch.setattr(gateway.store.database, "writing", full)

    assert server.bundle().host_certificate == given
