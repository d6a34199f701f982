"""A host that comes back under the same key: it was removed, or lost its certificate."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ca.formats.krl import parse_krl
from ca.formats.ssh_certificate import parse_certificate_line
from tests.idp_gateway.api.conftest import Person, both_databases
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.conftest import FixedClock


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


@both_databases
def test_a_removed_host_that_is_enrolled_again_is_good_and_its_old_certificate_is_not(
    owner: Person, server: Server
) -> None:
    """Also within one moment of the clock."""
    server.enrol(owner)
    old = parse_certificate_line(server.certificate)
    path = f"/socket/{server.socket['socket_id']}"
    owner.call("DELETE", f"{path}/host/{server.host_id}")
    (revocation,) = owner.call("GET", f"{path}/revocation").json()
    owner.call("DELETE", f"{path}/revocation/{revocation['revocation_id']}")

    assert server.enrol(owner).status_code == 200

    krl = parse_krl(server.bundle().krl)
    new = parse_certificate_line(server.certificate)
    revoked = [
        krl.revokes_certificate(
            ca=one.signature_key,
            serial=one.serial,
            key_id=one.key_id,
            subject=one.key_blob.blob,
        )
        for one in (old, new)
    ]
    assert revoked == [True, False]


@pytest.mark.parametrize("shown", ["none", "garbage", "another host's", "a user's"])
def test_a_host_that_lost_its_certificate_is_given_it_again(
    shown: str, owner: Person, server: Server, clock: FixedClock
) -> None:
    """It proves the host key, with which it could have kept it."""
    server.enrol(owner)
    given = server.certificate
    other = Server(server.api, clock, server.socket, ec.generate_private_key(ec.SECP256R1()))
    other.enrol(owner)
    server.certificate = {
        "none": "",
        "garbage": "ssh-ed25519-cert-v01@openssh.com AAAA",
        "another host's": other.certificate,
        "a user's": other.line,
    }[shown]

    first = server.bundle()
    assert (first.host_certificate, first.enrol_again) == (given, False)
    clock.advance(days=10)
    due = server.bundle()
    assert due.host_certificate not in {"", given, other.certificate}
    assert not due.enrol_again
    # Renewed and lost once more.
    assert server.bundle().host_certificate == due.host_certificate
    clock.advance(days=15)
    ended = server.bundle()
    assert (ended.host_certificate, ended.enrol_again) == ("", True)


def test_a_host_that_shows_what_ended_is_given_what_is_good(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    """Its files were restored from a backup."""
    server.enrol(owner)
    clock.advance(days=10)
    renewed = server.bundle().host_certificate
    clock.advance(days=5)

    bundle = server.bundle()

    assert (bundle.host_certificate, bundle.enrol_again) == (renewed, False)


def test_a_revoked_certificate_is_not_given_again(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    server.enrol(owner)
    path = f"/socket/{server.socket['socket_id']}/revocation"
    serial = str(parse_certificate_line(server.certificate).serial)
    owner.call("POST", path, json={"scope": "serial", "value": serial})
    server.certificate = ""

    bundle = server.bundle()

    assert (bundle.host_certificate, bundle.enrol_again) == ("", True)
