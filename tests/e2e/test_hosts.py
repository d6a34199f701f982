"""A server is enrolled, and its real sshd does what the socket's owner says: in, out, in again."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ca.formats.krl import parse_krl
from ca.formats.ssh_certificate import parse_certificate_line
from tests.support.product import BIN, Person, Product
from tests.support.sshd import Sshd, make_host_key, running_sshd


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An enrolled host behind a socket."""

    socket: dict[str, Any]
    owner: Person
    files: Path
    sshd: Sshd

    def sync(self, *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return self.owner.ctl("host", "sync", "--directory", str(self.files), check=check)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.files.iterdir() if path.is_file()}

    def ssh(self, person: Person, *options: str) -> subprocess.CompletedProcess[str]:
        """``ssh`` through the socket, with no way to accept a host key but the host CA."""
        dns_name = self.socket["dnsname"]
        key = person.home / ".ssh" / dns_name
        command = [
            # The first value of an option wins.
            *("ssh", "-F", "none", *options, "-i", key, "-o", f"CertificateFile={key}-cert.pub"),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", f"UserKnownHostsFile={self.files / 'known_hosts'}"),
            *("-o", f"ProxyCommand={BIN}/mysocketctl client tls --host {dns_name}"),
            *(f"{self.sshd.login}@{dns_name}", "echo", "in"),
        ]
        return subprocess.run(
            command,
            env=person.environment | {"SHELL": "/bin/bash"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    @property
    def direct(self) -> tuple[str, ...]:
        """Options of ``ssh`` that reach the sshd past edge and tunnel, which would refuse first."""
        alias = f"HostKeyAlias={self.socket['dnsname']}"
        port = f"Port={self.sshd.port}"
        return ("-o", "ProxyCommand=none", "-o", "HostName=127.0.0.1", "-o", port, "-o", alias)

    def revoke(self, *what: str) -> str:
        """The owner revokes; the revocation's id."""
        socket_id = self.socket["socket_id"]
        said = self.owner.ctl("ca", "revoke", "--socket", socket_id, *what, "--json").stdout
        return str(json.loads(said)["revocation_id"])

    def forget_certificate(self, person: Person) -> None:
        """Remove the person's key and certificate for the socket."""
        for file in (person.home / ".ssh").glob(f"{self.socket['dnsname']}*"):
            file.unlink()

    def certified(self, person: Person) -> None:
        """A certificate in the person's files."""
        person.ctl("client", "ssh-keysign", "--host", self.socket["dnsname"])


def enrol(owner: Person, socket: dict[str, Any], files: Path) -> None:
    """Enrol the server whose host key lies beside ``files``."""
    owner.ctl(
        *("host", "enrol", "--socket", socket["socket_id"], "--directory", str(files)),
        *("--host-key", str(files.parent / "host_key"), "--name", "db1"),
        *("--login", os.environ.get("USER") or "root"),
    )


@pytest.fixture(scope="module")
def bob(product: Product) -> Person:
    return product.person("bob@example.com")


@pytest.fixture(scope="module")
def server(
    owner: Person, alice: Person, bob: Person, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    created = owner.create_socket(
        name="machine room",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email, bob.email],
    )
    directory = tmp_path_factory.mktemp("sshd")
    make_host_key(directory / "host_key")
    files = directory / "mysocket"
    enrol(owner, created, files)
    config = [f"Include {files / 'sshd.conf'}"]
    with running_sshd(directory, [], [], config) as sshd:
        owner.publish(created, sshd.port)
        yield Server(socket=created, owner=owner, files=files, sshd=sshd)


def test_people_and_the_server_know_each_other_by_certificates_alone(
    server: Server, alice: Person
) -> None:
    server.certified(alice)

    done = server.ssh(alice)

    assert done.stdout == "in\n", done.stderr + server.sshd.log()


def test_a_server_with_another_key_is_not_trusted(server: Server, alice: Person) -> None:
    server.certified(alice)

    done = server.ssh(alice, "-o", "HostKeyAlgorithms=ssh-ed25519")

    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_a_revoked_person_is_out_with_a_certificate_that_has_not_expired(
    server: Server, owner: Person, alice: Person, bob: Person
) -> None:
    server.certified(alice)
    server.certified(bob)
    assert server.ssh(alice, *server.direct).stdout == "in\n", server.sshd.log()

    revocation_id = server.revoke("--person", alice.email, "--reason", "lost laptop")
    server.sync()

    refused = server.ssh(alice, *server.direct)
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    assert "revoked" in server.sshd.log()
    assert server.ssh(bob).stdout == "in\n"

    owner.ctl(
        *("ca", "lift", "--socket", server.socket["socket_id"]),
        *("--revocation-id", revocation_id),
    )
    server.sync()

    assert server.ssh(alice, *server.direct).returncode == 255, "the old certificate is good again"
    server.forget_certificate(alice)
    server.certified(alice)
    assert server.ssh(alice).stdout == "in\n", server.sshd.log()


def test_everything_issued_up_to_now_is_out(server: Server, alice: Person, bob: Person) -> None:
    for person in (alice, bob):
        server.certified(person)
    server.revoke("--all")
    synced = server.sync(check=False)

    # The server's own certificate is among them; the news are installed all the same.
    assert synced.returncode == 1
    assert b"run: mysocketctl host enrol" in synced.stderr
    outcomes = [server.ssh(person, *server.direct).returncode for person in (alice, bob)]

    assert outcomes == [255, 255]
    for person in (alice, bob):
        server.forget_certificate(person)
        server.certified(person)
        assert server.ssh(person, *server.direct).stdout == "in\n"
    enrol(server.owner, server.socket, server.files)
    server.sync()


def test_a_revoked_key_is_named_by_its_file(server: Server, owner: Person, alice: Person) -> None:
    server.forget_certificate(alice)
    server.certified(alice)
    file = alice.home / ".ssh" / f"{server.socket['dnsname']}-cert.pub"
    server.revoke("--key", str(file))
    server.sync()

    assert server.ssh(alice, *server.direct).returncode == 255
    server.forget_certificate(alice)
    server.certified(alice)
    assert server.ssh(alice, *server.direct).stdout == "in\n"


def test_one_certificate_is_revoked_by_its_serial(server: Server, alice: Person) -> None:
    server.certified(alice)
    line = (alice.home / ".ssh" / f"{server.socket['dnsname']}-cert.pub").read_text()
    server.revoke("--serial", str(parse_certificate_line(line).serial))
    server.sync()

    assert server.ssh(alice, *server.direct).returncode == 255
    assert parse_krl(server.contents()["revoked_keys"]).certificates
    shown = subprocess.run(
        ["ssh-keygen", "-Q", "-f", server.files / "revoked_keys", "/dev/stdin"],
        input=line,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "REVOKED" in shown.stdout


def test_the_owner_sees_what_the_host_has_installed(server: Server, owner: Person) -> None:
    server.sync()
    server.sync()

    listed = owner.ctl("host", "ls", "--socket", server.socket["socket_id"], "--json").stdout
    (found,) = json.loads(listed)
    status = owner.ctl("host", "status", "--directory", str(server.files), "--json").stdout

    facts = json.loads(status)
    assert found["synced_number"] == facts["bundle"] > 0
    assert found["trusted_cas"] == facts["trusted_cas"] != []


def test_the_last_good_files_stay_when_the_gateway_is_away(
    server: Server, product: Product, bob: Person
) -> None:
    server.forget_certificate(bob)
    server.certified(bob)
    before = server.contents()
    elsewhere = json.loads(before["host.json"]) | {"gateway": "https://127.0.0.1:1"}
    (server.files / "host.json").write_text(json.dumps(elsewhere, indent=2) + "\n")

    done = server.sync(check=False)

    (server.files / "host.json").write_bytes(before["host.json"])
    assert done.returncode == 1
    assert b"no answer from" in done.stderr
    assert server.contents() == before
    assert server.ssh(bob, *server.direct).stdout == "in\n"


def test_a_removed_host_gets_no_more_news_and_clients_can_tell(
    server: Server, owner: Person
) -> None:
    certificate = server.contents()["ssh_host_key-cert.pub"].decode()
    host_id = json.loads(server.contents()["host.json"])["host_id"]
    owner.ctl("host", "remove", "--socket", server.socket["socket_id"], "--host-id", host_id)

    refused = server.sync(check=False)

    assert refused.returncode == 1
    assert b"was removed by its owner" in refused.stderr
    with owner.api as api:
        krl = parse_krl(api.get(f"/ssh/{server.socket['dnsname']}/krl").content)
    shown = parse_certificate_line(certificate)
    assert krl.revokes_certificate(
        ca=shown.signature_key,
        serial=shown.serial,
        key_id=shown.key_id,
        subject=shown.key_blob.blob,
    )
