"""Every CA's key is replaced while people log in without pause: through the edge, and to a sshd."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import pytest
from cryptography import x509

from ca.formats.ssh_certificate import parse_certificate_line
from tests.e2e.test_hosts import Server
from tests.support.origins import banner_origin
from tests.support.processes import eventually
from tests.support.product import BIN, Person, Product, clean_environment
from tests.support.sshd import make_host_key, running_sshd

BANNER = b"220 ready\r\n"


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Grants that live for seconds, so that a rotation takes half a minute."""
    return {"MYSOCKET_GRANT_MINUTES": "0.4", "MYSOCKET_CLOCK_DRIFT_MINUTES": "0.1"}


@pytest.fixture(scope="module")
def tls_socket(owner: Person, alice: Person) -> Iterator[dict[str, Any]]:
    created = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    with banner_origin(BANNER) as origin:
        owner.publish(created, origin.port)
        yield created


@pytest.fixture(scope="module")
def bob(product: Product) -> Person:
    return product.person("bob@example.com")


@pytest.fixture(scope="module")
def server(
    owner: Person, bob: Person, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    created = owner.create_socket(
        name="machine room",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[bob.email],
    )
    directory = tmp_path_factory.mktemp("sshd")
    make_host_key(directory / "host_key")
    files = directory / "mysocket"
    owner.ctl(
        *("host", "enrol", "--socket", created["socket_id"], "--directory", str(files)),
        *("--host-key", str(directory / "host_key"), "--name", "db1"),
        *("--login", os.environ.get("USER") or "root"),
    )
    with running_sshd(directory, [], [], [f"Include {files / 'sshd.conf'}"]) as sshd:
        owner.publish(created, sshd.port)
        yield Server(socket=created, owner=owner, files=files, sshd=sshd)


def rotate(product: Product, *arguments: str) -> dict[str, Any]:
    """``mysocket ca rotate``; where the rotation stands at its end."""
    done = subprocess.run(
        [BIN / "mysocket", "ca", "rotate", "--state", product.state, *arguments],
        env=clean_environment(product.state, **product.environment),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    standing: dict[str, Any] = json.loads(done.stdout)
    return standing


def status(product: Product) -> dict[str, list[dict[str, Any]]]:
    """Generations of the CAs no socket owns."""
    done = subprocess.run(
        [BIN / "mysocket", "ca", "status", "--state", product.state],
        env=clean_environment(product.state, **product.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    return {one["ca"]: one["generations"] for one in json.loads(done.stdout)}


class Forever:
    """Does one thing again and again in a thread; what went wrong is kept."""

    def __init__(self, act: Callable[[], str]) -> None:
        self._act = act
        self._stop = threading.Event()
        self.done = 0
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            failure = self._act()
            self.done += 1
            if failure:
                self.failures.append(f"{time.strftime('%X')} {failure}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What people, tunnels and the server do all day; each answers with what went wrong."""

    owner: Person
    alice: Person
    bob: Person
    server: Server
    tls_socket: dict[str, Any]

    def through_the_edge(self) -> str:
        """With a new client certificate each time."""
        dns_name = self.tls_socket["dnsname"]
        for suffix in ("crt", "key"):
            (self.alice.home / ".mysocketio" / f"{dns_name}.{suffix}").unlink(missing_ok=True)
        said = self.alice.ctl("client", "tls", "--host", dns_name, stdin=b"hello\n", check=False)
        return "" if said.stdout == BANNER + b"hello\n" else f"tls: {said}"

    def to_the_sshd(self) -> str:
        """With a new SSH certificate each time; the host key is known by the host CA alone."""
        self.server.certified(self.bob)
        done = self.server.ssh(self.bob)
        log = self.server.sshd.log()[-2000:]
        return "" if done.stdout == "in\n" else f"ssh: {done.stderr} {log}"

    def tunnel_login(self) -> str:
        socket_id = self.server.socket["socket_id"]
        key = (self.server.files.parent / "host_key.pub").read_text()
        with self.owner.api as api:
            answer = api.post(f"/socket/{socket_id}/signkey", json={"ssh_public_key": key})
        return "" if answer.status_code == 200 else f"signkey: {answer.text}"

    def sync(self) -> str:
        done = self.server.sync(check=False)
        time.sleep(0.5)
        return "" if done.returncode == 0 else f"sync: {done}"


@pytest.fixture
def life(
    owner: Person, alice: Person, bob: Person, server: Server, tls_socket: dict[str, Any]
) -> Life:
    return Life(owner=owner, alice=alice, bob=bob, server=server, tls_socket=tls_socket)


def rotate_everything(product: Product, server: Server) -> list[dict[str, Any]]:
    """All four CAs at once; where each then stands."""
    words = (
        ("x509-issuing",),
        ("ssh-tunnel",),
        (server.socket["dnsname"],),
        ("ssh-host", "--by-hand"),
    )
    with ThreadPoolExecutor(len(words)) as pool:
        return list(pool.map(lambda arguments: rotate(product, *arguments), words))


@pytest.mark.timeout(500)
def test_no_login_fails_while_every_key_is_replaced(product: Product, life: Life) -> None:
    before = status(product)
    # Each logs in at the browser once.
    assert life.through_the_edge() + life.to_the_sshd() == ""
    with (
        Forever(life.through_the_edge) as edge,
        Forever(life.to_the_sshd) as sshd,
        Forever(life.tunnel_login) as tunnels,
        Forever(life.sync) as syncs,
    ):
        standings = rotate_everything(product, life.server)
        # Once more each, with nothing but the new keys.
        done = (edge.done, sshd.done)
        eventually(lambda: edge.done > done[0] + 1 and sshd.done > done[1] + 1, within=120)

    failures = edge.failures + sshd.failures + tunnels.failures + syncs.failures
    assert "\n".join(failures) == ""
    assert min(edge.done, sshd.done) > 3
    for standing in standings:
        assert [one["state"] for one in standing["generations"]] == ["retired", "active"], standing
    after = status(product)
    assert all(after[ca][-1]["key_id"] != before[ca][-1]["key_id"] for ca in before)
    assert_signs_with(life, standings[2]["generations"][1])
    # The old one was kept until the edge had renewed.
    assert edges_issuer(product) == standings[0]["generations"][1]["key_id"]


def edges_issuer(product: Product) -> str:
    """The issuing CA of the certificate the edge shows, as certificates name it."""
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{product.https_port}", "-showcerts"],
        input=b"",
        capture_output=True,
        check=True,
    )
    issuing = x509.load_pem_x509_certificates(shown.stdout)[1]
    return format(issuing.serial_number, "x")


def assert_signs_with(life: Life, generation: dict[str, Any]) -> None:
    """The owner is shown, and people's certificates are signed with, the socket's new key."""
    socket = life.server.socket
    with life.owner.api as api:
        shown = api.get(f"/socket/{socket['socket_id']}").json()["ssh_ca"]
    assert shown == generation["public"] != socket["ssh_ca"]
    life.server.certified(life.bob)
    certificate = life.bob.home / ".ssh" / f"{socket['dnsname']}-cert.pub"
    fingerprint = parse_certificate_line(certificate.read_bytes()).ca_fingerprint
    assert fingerprint == generation["key_id"]
