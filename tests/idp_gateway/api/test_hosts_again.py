"""A host that was removed and comes back under the same key."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

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
