"""Servers and edges too are given the proof that their certificates are in the log."""

from typing import Any, Literal

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.checkpoint import LogKey
from ca.formats.host_messages import parse_bundle
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.ssh_certificate import parse_certificate_line
from idp_gateway.authority import HOST_LIFE
from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import Person
from tests.idp_gateway.api.test_hosts import Server
from tests.idp_gateway.conftest import FixedClock
from tests.support.subjects import ec_key


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


def check(
    api: httpx.Client, document: Any, certificate: bytes, kind: Literal["ssh", "x509"] = "ssh"
) -> None:
    key = LogKey.parse(api.get("/ca/log/key").json()["key"])
    proof = InclusionProof.from_json(document)
    proof.verify(LogEntry(kind=kind, issued_at_ms=proof.issued_at_ms, certificate=certificate), key)


def test_a_host_is_given_proofs_at_enrolment_and_renewal(
    api: httpx.Client, owner: Person, server: Server, clock: FixedClock
) -> None:
    reply = server.enrol(owner).json()
    check(api, reply["log_proof"], parse_certificate_line(server.certificate).blob)
    assert server.ask().json()["log_proof"] is None
    clock.advance(seconds=HOST_LIFE.total_seconds() * 0.6)
    answer = server.ask().json()
    renewed = parse_bundle(answer["bundle"]).host_certificate
    assert renewed not in {"", server.certificate}
    check(api, answer["log_proof"], parse_certificate_line(renewed).blob)


def test_an_edge_is_given_the_proof_of_its_certificate(api: httpx.Client, gateway: Gateway) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = request.sign(ec_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    headers = {"authorization": f"Bearer {gateway.edge_key.decode()}"}
    body = {"csr": pem.decode()}
    reply = api.post("/internal/server-certificate", json=body, headers=headers).json()
    leaf = x509.load_pem_x509_certificate(reply["certificate_chain"].encode())
    der = leaf.public_bytes(serialization.Encoding.DER)
    check(api, reply["log_proof"], der, "x509")
