"""``ssh LOGIN@socket`` to a real sshd that knows nobody: its only trust is the socket's CA."""

import contextlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519
from tests.support.product import BIN, Person, Product
from tests.support.security_keys import SecurityKey
from tests.support.software_agent import software_agent
from tests.support.sshd import Sshd
from tests.support.subjects import ec_key, public_line


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


def one_block_config(person: Person, dns_name: str, *options: str) -> str:
    """The modern form, as ``mysocketctl client ssh-config`` prints it."""
    said = person.ctl("client", "ssh-config", "--host", dns_name, "--modern", *options)
    return said.stdout.decode()


def test_the_modern_block_runs_a_command(
    machine_room: tuple[dict[str, Any], Sshd], alice: Person
) -> None:
    socket, sshd = machine_room
    config = one_block_config(alice, socket["dnsname"])

    done = ssh(alice, config, f"{sshd.login}@{socket['dnsname']}", "echo it is $((6*7))")

    assert done.stdout == "it is 42\n", done.stderr + sshd.log()
    assert f'ID "{alice.email}"' in sshd.log() or alice.email in sshd.log()


def test_what_sshd_logs_leads_to_the_decision_behind_it(
    machine_room: tuple[dict[str, Any], Sshd], owner: Person, alice: Person, tmp_path: Path
) -> None:
    socket, sshd = machine_room
    config = one_block_config(alice, socket["dnsname"])
    ssh(alice, config, f"{sshd.login}@{socket['dnsname']}", "true")

    logged = [one for one in sshd.log().splitlines() if "Accepted publickey" in one][-1]
    found = re.search(r"ID (\S+) \(serial (\d+)\) CA \S+ (SHA256:\S+)", logged)
    assert found, logged
    key_id, serial, ca = found.groups()
    why = json.loads(owner.ctl("ca", "explain", serial, "--json").stdout)
    certificate = alice.home / ".ssh" / f"{socket['dnsname']}-cert.pub"
    alice.log_in()
    holders = json.loads(alice.ctl("ca", "explain", str(certificate), "--json").stdout)

    assert key_id == f"{alice.email}/{why['decision_id']}/{why['policy_version']}"
    assert (why["decision"]["effect"], why["ca"], why["proven"]) == ("allow", ca, True)
    assert holders["certificate"].split()[1] == certificate.read_text().split()[1]

    log = tmp_path / "sshd.log"
    log.write_text(sshd.log())
    owner.ctl("ca", "reconcile", "--sshd-log", str(log))
    log.write_text(logged.replace(f"(serial {serial})", f"(serial {int(serial) - 1})"))
    stolen = owner.ctl("ca", "reconcile", "--sshd-log", str(log), check=False)
    assert stolen.returncode == 1
    assert str(int(serial) - 1) in stolen.stdout.decode()


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
def test_a_security_key_opens_the_door(
    key_type: str, machine_room: tuple[dict[str, Any], Sshd], alice: Person
) -> None:
    """Certified as what it is: sshd then demands that somebody touches it."""
    socket, sshd = machine_room
    key, public = SecurityKey(key_type), alice.home / "security-key.pub"
    public.write_text(f"{key.line} touch me\n")
    config = one_block_config(alice, socket["dnsname"], "--identity", str(public))
    destination = f"{sshd.login}@{socket['dnsname']}"

    with software_agent(key) as agent:
        done = ssh(alice, config, destination, "echo open", SSH_AUTH_SOCK=str(agent.path))
        agent.flags = 0
        untouched = ssh(alice, config, destination, "echo open", SSH_AUTH_SOCK=str(agent.path))

    assert done.stdout == "open\n", done.stderr + sshd.log()
    accepted = [one for one in sshd.log().splitlines() if "Accepted publickey" in one]
    assert "-SK-CERT" in accepted[-1]
    assert (untouched.returncode, untouched.stdout) == (255, "")


@pytest.mark.parametrize("option", ["--agent-only", "--confirm"])
def test_a_key_that_never_was_on_the_disk_opens_the_door(
    option: str,
    machine_room: tuple[dict[str, Any], Sshd],
    alice: Person,
    tmp_path: Path,
) -> None:
    socket, sshd = machine_room
    config = one_block_config(alice, socket["dnsname"], option)
    asked = tmp_path / "asked"
    with running_agent(tmp_path, f"echo asked >> {asked}") as agent:
        destination = f"{sshd.login}@{socket['dnsname']}"
        done = ssh(alice, config, destination, "echo open", SSH_AUTH_SOCK=agent)
    assert done.stdout == "open\n", done.stderr + sshd.log()
    assert asked.exists() is (option == "--confirm")
    assert not (alice.home / ".ssh" / socket["dnsname"]).exists()


@contextlib.contextmanager
def running_agent(directory: Path, when_asked: str) -> Iterator[str]:
    """An ssh-agent whose person answers every question with a shell command's success."""
    askpass = directory / "askpass"
    askpass.write_text(f"#!/bin/sh\n{when_asked}\n")
    askpass.chmod(0o755)
    asking = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    said = subprocess.run(
        ["ssh-agent", "-s"], env=os.environ | asking, capture_output=True, text=True, check=True
    ).stdout
    variables = dict(re.findall(r"(SSH_\w+)=([^;]+);", said))
    try:
        yield variables["SSH_AUTH_SOCK"]
    finally:
        subprocess.run(["ssh-agent", "-k"], env=variables, capture_output=True, check=True)


def test_a_socket_can_demand_proof(
    machine_room: tuple[dict[str, Any], Sshd], owner: Person, alice: Person
) -> None:
    """The original clients, which prove nothing, get no certificate then; ours does."""
    socket, sshd = machine_room
    unproven = {"ssh_public_key": public_line(ec_key())}
    dns_name = socket["dnsname"]
    path = f"/mtls-ca/socket/{dns_name}/ssh"
    alice.ctl("client", "login", "--host", dns_name)
    token = (alice.home / f".mysocketio_token_{dns_name}").read_text().strip()

    def ask() -> tuple[int, str]:
        with owner.product.visitor() as visitor:
            reply = visitor.post(path, json=unproven, headers={"x-access-token": token})
        return reply.status_code, reply.json().get("reason", "")

    assert ask() == (200, "")
    owner.ctl("socket", "update", "--socket_id", socket["socket_id"], "--ssh-key-proof")
    try:
        assert ask() == (403, "key-proof-required")
        alice.ctl("client", "logout", "--host", dns_name)
        config = one_block_config(alice, dns_name)
        done = ssh(alice, config, f"{sshd.login}@{dns_name}", "echo open")
        assert done.stdout == "open\n", done.stderr + sshd.log()
    finally:
        owner.ctl("socket", "update", "--socket_id", socket["socket_id"], "--no-ssh-key-proof")


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
    assert re.search(rf'Key ID: "{re.escape(alice.email)}/[0-9a-f-]{{36}}/[0-9]+"', shown)
    assert re.search(r"decision@mysocket\.io", shown)
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
