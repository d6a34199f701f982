"""The running product as a benchmark needs it: sockets with somebody logged in, and Envoy's pid.

The sockets' tunnels are real; then the origin takes over the tunnel's unix socket (a newer
connection of a tunnel does the same), so that the edge is measured and not the tunnel's client.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load import ClientFiles
from tests.support.processes import Process
from tests.support.product import Person, Product, running_product
from tests.support.visitor import sign_in

COOKIE = "__Host-mysocket"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSocket:
    endpoint: Path
    authority: str
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSocket:
    endpoint: Path
    port: int
    client: ClientFiles
    client_ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchProduct:
    """One installation and the one person on it."""

    product: Product
    person: Person
    directory: Path

    @property
    def https_port(self) -> int:
        return self.product.https_port

    @property
    def proxy_pids(self) -> list[int]:
        """What a request costs CPU time in: Envoy, and nothing else."""
        return [self.product.pid("envoy")]

    def _published(self, socket_type: str) -> tuple[dict[str, Any], Path]:
        socket = self.person.create_socket(
            socket_type=socket_type,
            cloud_authentication_enabled=True,
            cloud_authentication_email_allowed_addressses=[self.person.email],
        )
        client: Process = self.person.publish(socket, self.product.https_port)
        endpoint = self.product.endpoint(socket["tunnels"][0]["tunnel_id"])
        client.wait_for(lambda: self._is_connected(socket), what="the edge to know the tunnel")
        return socket, endpoint

    def _is_connected(self, socket: dict[str, Any]) -> bool:
        with self.person.api as api:
            tunnels = api.get(f"/socket/{socket['socket_id']}/tunnel").json()
        return all(tunnel["connected"] for tunnel in tunnels)

    def http_socket(self) -> HttpSocket:
        """An HTTP socket and a session on it."""
        socket, endpoint = self._published("http")
        with self.product.visitor() as visitor:
            address = self.product.socket_url(socket)
            sign_in(visitor, address, email=self.person.email, password=self.person.password)
            (value,) = [c.value for c in visitor.cookies.jar if c.name == COOKIE]
        return HttpSocket(
            endpoint=endpoint,
            authority=f"{socket['dnsname']}:{self.https_port}",
            cookie=f"{COOKIE}={value}",
        )

    def tls_socket(self) -> TlsSocket:
        """A TLS socket and a certificate for it."""
        socket, endpoint = self._published("tls")
        name = socket["dnsname"]
        self.person.ctl("client", "tls", "--host", name, check=False)
        kept = self.person.home / ".mysocketio"
        files = ClientFiles(
            certificate=kept / f"{name}.crt", key=kept / f"{name}.key", server_name=name
        )
        return TlsSocket(
            endpoint=endpoint,
            port=socket["socket_tcp_ports"][0],
            client=files,
            client_ca=self._client_authorities(files),
        )

    def _client_authorities(self, files: ClientFiles) -> Path:
        """Root and issuing CA in one file, as HAProxy wants them."""
        pem = files.certificate.read_text()
        chain = ["-----BEGIN" + part for part in pem.split("-----BEGIN")[1:]]
        together = self.directory / "client-ca.pem"
        together.write_text("".join(chain[1:]) + self.product.authority.read_text())
        return together


@contextlib.contextmanager
def bench_product(directory: Path) -> Iterator[BenchProduct]:
    """The product with one Envoy worker, as the peers have one."""
    with running_product(environment={"MYSOCKET_EDGE_ENVOY_CONCURRENCY": "1"}) as product:
        person = product.person("bench@example.com")
        person.log_in()
        yield BenchProduct(product=product, person=person, directory=directory)
