"""How many certificates an owner gets for servers and tunnels."""

from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.ssh_certificate import parse_certificate_line
from idp_gateway.composition import Gateway
from idp_gateway.paces import OwnersPace
from tests.idp_gateway.api.conftest import Person
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.conftest import FixedClock


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


def test_another_name_is_another_certificate(owner: Person, server: Server) -> None:
    server.enrol(owner)
    name, first = f"db.{server.socket['dnsname']}", server.certificate
    server.enrol(owner, proved={"principals": (name,)}, principals=[name])

    assert parse_certificate_line(server.certificate).principals == (name.encode(),)
    assert server.certificate != first


@pytest.mark.parametrize("path", ["host", "signkey"])
def test_an_owner_is_not_given_certificates_without_end(
    owner: Person, server: Server, gateway: Gateway, path: str
) -> None:
    gateway.authority._host_pace = gateway.authority._tunnel_pace = OwnersPace(2)
    body = {"ssh_public_key": server.line}

    def ask() -> httpx.Response:
        if path == "signkey":
            return owner.call("POST", f"/socket/{server.socket['socket_id']}/signkey", json=body)
        server.key = ed25519.Ed25519PrivateKey.generate()
        return server.enrol(owner)

    assert [ask().status_code for _ in range(3)] == [200, 200, 429]
    assert ask().json()["reason"] == "too-many-certificates"


def test_a_host_gets_its_news_where_very_many_certificates_were_issued(
    owner: Person, server: Server, clock: FixedClock, gateway: Gateway
) -> None:
    server.enrol(owner)
    gateway.authority._host_pace = OwnersPace(0)
    clock.advance(days=10)

    bundle = server.bundle()

    assert (bundle.host_certificate, bundle.enrol_again) == ("", False)
