"""TLS sockets: bytes for those with a certificate for this socket, nothing at all for others."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.origins import Origin, banner_origin
from tests.support.processes import eventually
from tests.support.product import Person, Product

SECONDS_OF_GRANT = 12
BANNER = b"220 ready\r\n"


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Grants so short that a test can see one end."""
    return {"MYSOCKET_GRANT_MINUTES": str(SECONDS_OF_GRANT / 60)}


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with banner_origin(BANNER) as serving:
        yield serving


@pytest.fixture(scope="module")
def tls_socket(owner: Person, alice: Person, origin: Origin) -> dict[str, Any]:
    created = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    owner.publish(created, origin.port)
    return created


class Credentials:
    """A client certificate as ``mysocketctl`` keeps it, copied so that it stays as it is."""

    def __init__(self, person: Person, dns_name: str, directory: Path) -> None:
        self.files = []
        for suffix in ("crt", "key"):
            kept = person.home / ".mysocketio" / f"{dns_name}.{suffix}"
            self.files.append(Path(shutil.copy(kept, directory)))

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates(self.files[0].read_bytes())[0]

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = anonymous(version)
        context.load_cert_chain(*self.files)
        return context


def anonymous(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def visit(
    target: dict[str, Any], context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bytes, ssl.SSLSession | None]:
    """Connect, say hello and read; what came back, empty if refused, and a session to resume."""
    port = target["socket_tcp_ports"][0]
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(
                plain, server_hostname=target["dnsname"], session=session
            ) as connection,
        ):
            connection.sendall(b"hello\n")
            seen = b""
            while len(seen) < len(BANNER) + 6 and (chunk := connection.recv(4096)):
                seen += chunk
            return seen, connection.session
    except (ssl.SSLError, ConnectionError):
        return b"", None


@pytest.fixture
def credentials(alice: Person, tls_socket: dict[str, Any], tmp_path: Path) -> Credentials:
    """Fresh ones: alice connects once."""
    for kept in (alice.home / ".mysocketio").glob("*"):
        kept.unlink()
    said = alice.ctl("client", "tls", "--host", tls_socket["dnsname"], stdin=b"hello\n")
    assert said.stdout == BANNER + b"hello\n"
    return Credentials(alice, tls_socket["dnsname"], tmp_path)


def test_hello_goes_there_and_back(credentials: Credentials, tls_socket: dict[str, Any]) -> None:
    answered, _ = visit(tls_socket, credentials.context())

    assert answered == BANNER + b"hello\n"


def test_the_certificate_is_for_one_person_one_socket_and_minutes(
    credentials: Credentials, alice: Person, tls_socket: dict[str, Any]
) -> None:
    certificate = credentials.certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.RFC822Name) == [alice.email]
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.startswith(f"urn:mysocket:socket:{tls_socket['socket_id']}:")
    window = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert window.total_seconds() <= 300 + SECONDS_OF_GRANT


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_without_a_certificate_nothing_reaches_the_origin(
    version: ssl.TLSVersion, tls_socket: dict[str, Any], origin: Origin
) -> None:
    before = len(origin.connections)

    answered, _ = visit(tls_socket, anonymous(version))

    assert answered == b""
    assert len(origin.connections) == before


def test_a_certificate_for_another_socket_is_refused(
    owner: Person,
    alice: Person,
    tls_socket: dict[str, Any],
    origin: Origin,
    tmp_path: Path,
) -> None:
    other = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_domains=["example.com"],
    )
    owner.publish(other, origin.port)
    alice.ctl("client", "tls", "--host", other["dnsname"], stdin=b"hello\n")
    foreign = Credentials(alice, other["dnsname"], tmp_path)
    assert visit(other, foreign.context())[0] == BANNER + b"hello\n"
    before = len(origin.connections)

    answered, _ = visit(tls_socket, foreign.context())

    assert answered == b""
    assert len(origin.connections) == before


def test_a_certificate_of_another_authority_is_refused(
    tls_socket: dict[str, Any], origin: Origin, tmp_path: Path, credentials: Credentials
) -> None:
    (uri,) = credentials.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.UniformResourceIdentifier)
    forged, key = tmp_path / "forged.crt", tmp_path / "forged.key"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=a"
        f" -addext subjectAltName=URI:{uri} -keyout {key} -out {forged}".split(),
        check=True,
        capture_output=True,
    )
    context = anonymous()
    context.load_cert_chain(forged, key)
    before = len(origin.connections)

    assert visit(tls_socket, context)[0] == b""
    assert len(origin.connections) == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_after_its_end_neither_the_certificate_nor_a_resumed_session_opens(
    version: ssl.TLSVersion,
    credentials: Credentials,
    tls_socket: dict[str, Any],
    origin: Origin,
) -> None:
    context = credentials.context(version)
    answered, session = visit(tls_socket, context)
    assert answered == BANNER + b"hello\n"
    eventually(
        lambda: not visit(tls_socket, credentials.context(version))[0], within=SECONDS_OF_GRANT + 5
    )
    before = len(origin.connections)

    assert visit(tls_socket, context)[0] == b""
    assert visit(tls_socket, context, session)[0] == b""
    assert len(origin.connections) == before


def test_a_change_of_the_allowed_addresses_counts_from_the_next_handshake(
    owner: Person,
    alice: Person,
    product: Product,
    origin: Origin,
    tmp_path: Path,
) -> None:
    mine = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    owner.publish(mine, origin.port)
    alice.ctl("client", "tls", "--host", mine["dnsname"], stdin=b"hello\n")
    kept = Credentials(alice, mine["dnsname"], tmp_path)
    assert visit(mine, kept.context())[0]

    owner.change_socket(mine, cloud_authentication_email_allowed_addressses=["carol@example.com"])
    before = len(origin.connections)

    assert visit(mine, kept.context())[0] == b""
    refused = alice.ctl("client", "tls", "--host", mine["dnsname"], stdin=b"x", check=False)
    assert refused.returncode != 0
    assert b"Traceback" not in refused.stderr
    assert len(origin.connections) == before
