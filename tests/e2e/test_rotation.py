"""Every CA's key is replaced while people log in without pause: through the edge, and to a sshd."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from ca.formats.ssh_certificate import parse_certificate_line
from tests.e2e.test_hosts import Server
from tests.support.origins import banner_origin
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
        timeout=170,
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


@pytest.mark.timeout(240)
def test_no_login_fails_while_every_key_is_replaced(
    product: Product,
    owner: Person,
    alice: Person,
    bob: Person,
    server: Server,
    tls_socket: dict[str, Any],
) -> None:
    before = status(product)
    old_user_ca = server.socket["ssh_ca"]

    def through_the_edge() -> str:
        for kept in (alice.home / ".mysocketio").glob(f"{tls_socket['dnsname']}.*"):
            if kept.suffix in {".crt", ".key"}:
                kept.unlink()
        host = ("--host", tls_socket["dnsname"])
        said = alice.ctl("client", "tls", *host, stdin=b"hello\n", check=False)
        return "" if said.stdout == BANNER + b"hello\n" else f"tls: {said}"

    def to_the_sshd() -> str:
        server.certified(bob)
        done = server.ssh(bob)
        return "" if done.stdout == "in\n" else f"ssh: {done.stderr} {server.sshd.log()[-2000:]}"

    def new_tunnel_login() -> str:
        socket_id, key = server.socket["socket_id"], server.files.parent / "host_key.pub"
        with owner.api as api:
            answer = api.post(
                f"/socket/{socket_id}/signkey", json={"ssh_public_key": key.read_text()}
            )
        return "" if answer.status_code == 200 else f"signkey: {answer.text}"

    def sync() -> str:
        done = server.sync(check=False)
        time.sleep(0.5)
        return "" if done.returncode == 0 else f"sync: {done}"

    # Each logs in at the browser once.
    assert through_the_edge() + to_the_sshd() == ""
    with (
        Forever(through_the_edge) as edge,
        Forever(to_the_sshd) as sshd,
        Forever(new_tunnel_login) as tunnels,
        Forever(sync) as syncs,
        ThreadPoolExecutor(4) as pool,
    ):
        rotations = [
            pool.submit(rotate, product, *words)
            for words in (
                ("x509-issuing",),
                ("ssh-tunnel",),
                (server.socket["dnsname"],),
                ("ssh-host", "--by-hand"),
            )
        ]
        standings = [rotation.result() for rotation in rotations]
        # Once more each, with nothing but the new keys.
        counts = (edge.done, sshd.done)
        deadline = time.monotonic() + 30
        while min(edge.done - counts[0], sshd.done - counts[1]) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)

    failures = edge.failures + sshd.failures + tunnels.failures + syncs.failures
    assert "\n".join(failures) == ""
    assert min(edge.done, sshd.done) > 3
    for standing in standings:
        assert [one["state"] for one in standing["generations"]] == ["retired", "active"], standing
    after = status(product)
    assert all(after[ca][-1]["key_id"] != before[ca][-1]["key_id"] for ca in before)

    with owner.api as api:
        new_user_ca = api.get(f"/socket/{server.socket['socket_id']}").json()["ssh_ca"]
    assert new_user_ca != old_user_ca
    certificate = bob.home / ".ssh" / f"{server.socket['dnsname']}-cert.pub"
    server.certified(bob)
    assert (
        parse_certificate_line(certificate.read_bytes()).ca_fingerprint
        == (standings[2]["generations"][1]["key_id"])
    )
