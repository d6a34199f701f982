"""``ssh LOGIN@socket`` to a real sshd that knows nobody: its only trust is the socket's CA."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.product import BIN, Person, Product
from tests.support.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def machine_room(
    owner: Person, alice: Person, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], Sshd]]:
    """A TLS socket and the sshd behind it."""
    created = owner.create_socket(
        name="machine room",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    directory = tmp_path_factory.mktemp("sshd")
    with running_sshd(directory, [created["ssh_ca"]], ["mysocket_ssh_signed"]) as sshd:
        owner.publish(created, sshd.port)
        yield created, sshd


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running ssh-agent's environment."""
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    variables = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    yield variables
    subprocess.run(["ssh-agent", "-k"], env=variables, capture_output=True, check=True)


def ssh(
    person: Person, config: str, destination: str, *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``ssh -F`` with a configuration of the person's own; nobody confirms host keys here."""
    file = person.home / ".ssh" / "config"
    file.write_text(config.replace("~/", f"{person.home}/"))
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    path = f"{BIN}:{person.environment['PATH']}"
    return subprocess.run(
        ["ssh", "-F", file, *options.split(), destination, *command],
        env=person.environment | {"PATH": path, "SHELL": "/bin/bash"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def original_config(domain: str) -> str:
    """The original service's two blocks: sign a key on the way, then connect as a dummy host.

    The inner ``ssh`` reads the same file and takes any host key, as nobody is there to confirm it.
    """
    quiet = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    inner = f"ssh -F ~/.ssh/config -tt {quiet} -o IdentitiesOnly=yes -i ~/.ssh/%h"
    sign = "mysocketctl client ssh-keysign --host %h"
    return f"""
Host *.{domain}
    ProxyCommand bash -c '{sign}; {inner} %r@%h.mysocket-dummy >&2 <&1'

Host *.mysocket-dummy
    ProxyCommand mysocketctl client tls --host %h
"""


def one_block_config(person: Person, dns_name: str) -> str:
    """The modern form, as ``mysocketctl client ssh-config`` prints it."""
    said = person.ctl("client", "ssh-config", "--host", dns_name, "--modern")
    return said.stdout.decode()


def test_the_modern_block_runs_a_command(
    machine_room: tuple[dict[str, Any], Sshd], alice: Person
) -> None:
    socket, sshd = machine_room
    config = one_block_config(alice, socket["dnsname"])

    done = ssh(alice, config, f"{sshd.login}@{socket['dnsname']}", "echo it is $((6*7))")

    assert done.stdout == "it is 42\n", done.stderr + sshd.log()
    assert f'ID "{alice.email}"' in sshd.log() or alice.email in sshd.log()


def printed_two_blocks(person: Person, dns_name: str) -> str:
    """The two blocks as ``mysocketctl client ssh-config`` prints them, read from this file."""
    said = person.ctl("client", "ssh-config", "--host", dns_name).stdout.decode()
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    assert "&& ssh -tt" in said
    return said.replace("&& ssh -tt", f"&& ssh -F ~/.ssh/config -tt {options}")


@pytest.mark.parametrize("form", ["original", "printed"])
def test_the_original_two_blocks_give_a_shell(
    form: str,
    machine_room: tuple[dict[str, Any], Sshd],
    alice: Person,
    agent: dict[str, str],
    product: Product,
) -> None:
    socket, sshd = machine_room
    before = sshd.log().count("Accepted publickey")
    # The inner ssh gives the shell, with the outer one's terminal: script(1) lends it one.
    file = alice.home / ".ssh" / "config"
    config = (
        original_config(product.edge_domain)
        if form == "original"
        else printed_two_blocks(alice, socket["dnsname"])
    )
    file.write_text(config.replace("~/", f"{alice.home}/"))
    ssh_command = shlex.join(["ssh", "-F", str(file), f"{sshd.login}@{socket['dnsname']}"])

    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", ssh_command, "/dev/null"],
        env=alice.environment | agent | {"PATH": f"{BIN}:{alice.environment['PATH']}"},
        input="echo it is $((6*7))\nexit\n",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert "it is 42" in done.stdout, done.stdout + done.stderr + sshd.log()
    assert sshd.log().count("Accepted publickey") > before


def test_the_certificate_is_what_the_original_service_issued(
    machine_room: tuple[dict[str, Any], Sshd], alice: Person
) -> None:
    socket, _ = machine_room
    alice.ctl("client", "ssh-keysign", "--host", socket["dnsname"])
    file = alice.home / ".ssh" / f"{socket['dnsname']}-cert.pub"

    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", file], capture_output=True, text=True, check=True
    ).stdout

    assert re.search(r"Type: \S+-cert-v01@openssh\.com user certificate", shown)
    assert f'Key ID: "{alice.email}"' in shown
    principals = shown.partition("Principals:")[2].partition("Critical")[0].split()
    assert principals == [alice.email, "mysocket_ssh_signed"]
    window = re.search(r"Valid: from (\S+) to (\S+)", shown)
    assert window
    start, end = (datetime.fromisoformat(moment) for moment in window.groups())
    assert 590 <= (end - start).total_seconds() <= 610


def test_a_certificate_for_another_socket_is_refused(
    machine_room: tuple[dict[str, Any], Sshd], owner: Person, alice: Person, tmp_path: Path
) -> None:
    _, sshd = machine_room
    other = owner.create_socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    alice.ctl("client", "ssh-keysign", "--host", other["dnsname"])
    key = alice.home / ".ssh" / other["dnsname"]

    done = ssh(
        alice,
        f"Host direct\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {key}\n"
        f" CertificateFile {key}-cert.pub\n IdentitiesOnly yes\n BatchMode yes\n",
        f"{sshd.login}@direct",
        "true",
    )

    assert done.returncode == 255
    assert "Permission denied" in done.stderr
