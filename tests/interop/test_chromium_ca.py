"""What a browser that trusts our root makes of the issuing CA below it, and of its limits."""

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from playwright.sync_api import Error

from ca import x509
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from ca.subject_keys import parse_csr
from tests.support.chromium import chromium
from tests.support.forged import forged_leaf
from tests.support.subjects import DNS_NAMES, DRIFT, csr, ec_key, private_pem, server_spec


def authority(key: Any) -> x509.Issuer:
    now = datetime.now(UTC)

    def spec(name: str) -> CaCertSpec:
        return CaCertSpec(
            common_name=name,
            serial=x509_serial(),
            not_before=now - DRIFT,
            not_after=now - DRIFT + ISSUING_LIFE,
        )

    root = x509.make_root(MemorySigner(name="root", signing_key=ec_key()), spec("root"))
    signer = MemorySigner(name="issuing", signing_key=key)
    return x509.make_issuing_ca(root, signer, spec("issuing"), dns_names=DNS_NAMES)


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(certificate: bytes, folder: Path) -> Iterator[int]:
    (folder / "server.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def visit(issuing: x509.Issuer, host: str, certificate: bytes, folder: Path) -> str:
    """``200``, or why the browser does not show the page."""
    (folder / "root.pem").write_bytes(issuing.parents[-1].public_bytes(serialization.Encoding.PEM))
    with (
        serving(certificate, folder) as port,
        chromium(folder, folder / "root.pem") as browser,
    ):
        try:
            answer = browser.new_page().goto(f"https://{host}:{port}/")
        except Error as error:
            return error.message
    return str(answer and answer.status)


KEYS: dict[str, tuple[Callable[[], Any], str]] = {
    "p256": (ec_key, "200"),
    "p384": (lambda: ec.generate_private_key(ec.SECP384R1()), "200"),
    "rsa3072": (lambda: rsa.generate_private_key(65537, 3072), "200"),
    # Why a setting refuses it, although Envoy and OpenSSL would not mind.
    "ed25519": (ed25519.Ed25519PrivateKey.generate, "ERR_CERT_INVALID"),
}


@pytest.mark.parametrize(("make_key", "expected"), KEYS.values(), ids=KEYS.keys())
def test_a_browser_takes_our_names(
    make_key: Callable[[], Any], expected: str, tmp_path: Path
) -> None:
    issuing, key = authority(make_key()), ec_key()
    spec = server_spec(datetime.now(UTC), public_key=parse_csr(csr(key)))
    issued = x509.issue_server_certificate(issuing, spec)
    said = visit(issuing, "x.edge.localhost", issued.chain_pem + private_pem(key), tmp_path)
    assert expected in said


def test_a_browser_takes_no_other_name(tmp_path: Path) -> None:
    issuing, key = authority(ec_key()), ec_key()
    forged = forged_leaf(issuing, [cryptography_x509.DNSName("bank.localhost")], key)
    said = visit(issuing, "bank.localhost", forged.chain_pem + private_pem(key), tmp_path)
    assert "ERR_CERT_INVALID" in said
