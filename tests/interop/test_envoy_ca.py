"""Our own chain in front of the real Envoy (BoringSSL): every kind of CA key, and its limits."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca import x509
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from ca.subject_keys import parse_csr
from policy.types import SocketType
from proxy.envoy.tls import ServerCertificate
from tests.support.envoy import DOMAIN, GATEWAY, Edge, a_socket, running_edge
from tests.support.forged import forged_leaf
from tests.support.processes import free_port
from tests.support.subjects import (
    DNS_NAMES,
    client_spec,
    csr,
    ec_key,
    private_pem,
    server_spec,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

BANNER = b"hello\n"
KEYS: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("e")
    async with running_edge(folder) as running:
        made = a_socket("db", socket_type=SocketType.TLS, ports=(free_port(),))
        await running.add(made, greeting=BANNER)
        yield running


class ProductAuthority:
    """Stands where the edge's tests have an authority of their own: what the feed carries, which
    is the issuing CA without its root."""

    def __init__(self, issuing: x509.Issuer) -> None:
        self.pem = issuing.pem.decode("ascii")


async def install(edge: Edge, make_key: Callable[[], Any]) -> x509.Issuer:
    """Give the edge a server certificate of a new CA, and that CA to trust clients by."""
    now = datetime.now(UTC)

    def spec(name: str) -> CaCertSpec:
        return CaCertSpec(
            common_name=name,
            serial=x509_serial(),
            not_before=now - timedelta(minutes=5),
            not_after=now + ISSUING_LIFE,
        )

    root = x509.make_root(MemorySigner(name="root", signing_key=make_key()), spec("root"))
    signer = MemorySigner(name="issuing", signing_key=make_key())
    issuing = x509.make_issuing_ca(root, signer, spec("issuing"), dns_names=DNS_NAMES)
    key = ec_key()
    names = (GATEWAY, f"*.{DOMAIN}")
    served = server_spec(now, public_key=parse_csr(csr(key)), dns_names=names)
    edge.certificate = ServerCertificate(
        chain_pem=x509.issue_server_certificate(issuing, served).chain_pem.decode("ascii"),
        key_pem=private_pem(key).decode("ascii"),
    )
    edge.authority = ProductAuthority(issuing)  # type: ignore[assignment]
    await edge.apply()
    return issuing


async def talk(edge: Edge, issuing: x509.Issuer, certificate: bytes) -> bytes:
    """What the origin says to a client with that certificate; nothing if it is refused."""
    root = issuing.parents[-1].public_bytes(serialization.Encoding.PEM).decode("ascii")
    # The machine that visits trusts the root alone, and strictly.
    tls = ssl.create_default_context(cadata=root)
    tls.verify_flags |= ssl.VERIFY_X509_STRICT
    path = edge.folder / "client.pem"
    path.write_bytes(certificate)
    tls.load_cert_chain(path)
    port = edge.sockets["db"].ports[0]
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls, server_hostname=f"db.{DOMAIN}"
            )
            try:
                return await reader.read(100)
            finally:
                writer.close()
    except ssl.SSLCertVerificationError:
        # The server's own certificate must be good in any case.
        raise
    except (ConnectionError, ssl.SSLError):
        return b""


def client(issuing: x509.Issuer, socket_id: str = "db") -> bytes:
    key = ec_key()
    spec = client_spec(
        datetime.now(UTC), public_key=parse_csr(csr(key)), socket_id=socket_id, epoch=1
    )
    return x509.issue_client_certificate(issuing, spec).chain_pem + private_pem(key)


@pytest.mark.parametrize("make_key", KEYS.values(), ids=KEYS.keys())
async def test_envoy_takes_every_kind_of_ca_key(edge: Edge, make_key: Callable[[], Any]) -> None:
    issuing = await install(edge, make_key)
    assert await talk(edge, issuing, client(issuing)) == BANNER
    assert await talk(edge, issuing, client(issuing, "other")) == b""


URN = cryptography_x509.UniformResourceIdentifier("urn:mysocket:socket:db:1")


@pytest.mark.parametrize(
    ("names", "good"),
    [
        ([URN], True),
        ([URN, cryptography_x509.RFC822Name("anybody@anywhere.example")], True),
        ([URN, cryptography_x509.DNSName("x.edge.localhost")], True),
        ([URN, cryptography_x509.DNSName("bank.example")], False),
    ],
    ids=["urn", "any-mail", "own-name", "elsewhere"],
)
async def test_envoy_obeys_the_limits(
    edge: Edge, names: list[cryptography_x509.GeneralName], *, good: bool
) -> None:
    issuing = await install(edge, ec_key)
    key = ec_key()
    forged = forged_leaf(issuing, names, key)
    received = await talk(edge, issuing, forged.chain_pem + private_pem(key))
    assert received == (BANNER if good else b"")
