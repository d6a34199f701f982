"""``client ssh-keysign`` and ``client ssh-config`` with the real ssh programs."""

import json
import re
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.krl import Krl, RevokedByCa
from ca.formats.ssh_certificate import SshCertificate
from ca.formats.ssh_keys import blob_of, parse_key_blob
from tests.clients.conftest import DNS_NAME, Ctl
from tests.clients.keysign import certified, in_agent, keysign, own_key, refused
from tests.support.wire_gateway import EMAIL, WireGateway


def test_certificate_on_disk_and_in_the_agent(ctl: Ctl, gateway: WireGateway, agent: str) -> None:
    name = f"{DNS_NAME}.mysocket-dummy"
    done = ctl.run("client", "ssh-keysign", "--host", name, SSH_AUTH_SOCK=agent)
    assert (done.returncode, done.stdout) == (0, b""), done
    key, certificate = ctl.home / ".ssh" / DNS_NAME, ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub"
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE(certificate.stat().st_mode) == 0o600
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True
    ).stdout
    assert f'Key ID: "{EMAIL}"' in shown
    assert "mysocket_ssh_signed" in shown
    assert len([line for line in in_agent(agent) if "CERT" in line]) == 1


def test_kept_certificate_is_used_again(ctl: Ctl, gateway: WireGateway, agent: str) -> None:
    for _ in range(2):
        ctl.run("client", "ssh-keysign", "--host", DNS_NAME, SSH_AUTH_SOCK=agent)
    assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 1


class TestKeptButNoLongerCounting:
    """After a revocation, or a CA that is not trusted any more, a new certificate is fetched."""

    lists = f"GET /ssh/{DNS_NAME}"

    def ca_keys(self, gateway: WireGateway, *keys: bytes) -> None:
        lines = "".join(f"{parse_key_blob(key).line}\n" for key in keys)
        gateway.refuse[f"{self.lists}/user-ca-keys"] = (200, lines.encode())

    def krl(self, gateway: WireGateway, *revoked: RevokedByCa) -> None:
        gateway.refuse[f"{self.lists}/krl"] = (200, Krl(certificates=revoked).encode())

    def first(self, ctl: Ctl) -> SshCertificate:
        assert keysign(ctl).returncode == 0
        return certified(ctl)

    def test_the_revoked_one_is_replaced(self, ctl: Ctl, gateway: WireGateway) -> None:
        kept = self.first(ctl)
        self.ca_keys(gateway, kept.signature_key)
        self.krl(gateway, RevokedByCa.of_serials(kept.signature_key, [kept.serial]))
        done = keysign(ctl)
        assert (done.returncode, b"no longer counts" in done.stderr) == (0, True), done
        new = certified(ctl)
        assert new.serial != kept.serial
        assert b"no longer counts" not in keysign(ctl).stderr
        assert certified(ctl).blob == new.blob

    def test_one_of_a_ca_that_is_not_trusted_is_replaced(
        self, ctl: Ctl, gateway: WireGateway
    ) -> None:
        kept = self.first(ctl)
        self.ca_keys(gateway, blob_of(ed25519.Ed25519PrivateKey.generate().public_key()))
        assert keysign(ctl).returncode == 0
        assert certified(ctl).serial != kept.serial

    def test_no_answer_to_rely_on_changes_nothing(self, ctl: Ctl, gateway: WireGateway) -> None:
        kept = self.first(ctl)
        for answer in ((200, b"nonsense\n"), (200, b"\xff\0"), (200, b""), (500, b"")):
            gateway.refuse[f"{self.lists}/user-ca-keys"] = answer
            gateway.refuse[f"{self.lists}/krl"] = answer
            assert keysign(ctl).returncode == 0
            assert certified(ctl).blob == kept.blob
        # Nobody listens there any more, and the kept one does.
        assert keysign(ctl, MYSOCKET_API="https://127.0.0.1:9").returncode == 0
        assert certified(ctl).blob == kept.blob

    def test_a_gateway_that_keeps_silent_is_not_waited_for(
        self, ctl: Ctl, gateway: WireGateway
    ) -> None:
        kept = self.first(ctl)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            done = keysign(ctl, MYSOCKET_API=f"https://127.0.0.1:{port}")
        assert done.returncode == 0, done
        assert certified(ctl).blob == kept.blob


def test_renewed_key_takes_the_old_ones_place_in_the_agent(
    ctl: Ctl, gateway: WireGateway, agent: str
) -> None:
    gateway.certificate_life = gateway.certificate_life / 15  # 20 s: too short to be kept
    for _ in range(3):
        assert (
            ctl.run("client", "ssh-keysign", "--host", DNS_NAME, SSH_AUTH_SOCK=agent).returncode
            == 0
        )
    assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 3
    assert len(in_agent(agent)) == 2  # the key and its certificate


def test_without_an_agent_the_files_do(ctl: Ctl, gateway: WireGateway) -> None:
    done = ctl.run("client", "ssh-keysign", "--host", DNS_NAME, SSH_AUTH_SOCK="/nowhere")
    assert done.returncode == 0


def test_answer_that_is_no_certificate(ctl: Ctl, gateway: WireGateway) -> None:
    path = f"POST /mtls-ca/socket/{DNS_NAME}/ssh"
    gateway.refuse[path] = (200, b'{"signed_ssh_cert": "ssh-ed25519 AAAA"}')
    done = ctl.run("client", "ssh-keysign", "--host", DNS_NAME)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(b"no SSH certificate")
    assert not (ctl.home / ".ssh" / DNS_NAME).exists()


class TestTrust:
    """What the gateway sends is checked before it is used."""

    @pytest.mark.parametrize("nonce", ["", "x", "other.edge.localhost:x", f"{DNS_NAME}:\u20ac"])
    def test_a_challenge_for_something_else_is_not_signed(
        self, ctl: Ctl, gateway: WireGateway, nonce: str
    ) -> None:
        path = f"/mtls-ca/socket/{DNS_NAME}/ssh"
        gateway.refuse[f"POST {path}-challenge"] = (200, json.dumps({"nonce": nonce}).encode())
        refused(keysign(ctl), 1, "challenge")
        assert gateway.asked("POST", path) == 0

    def test_a_certificate_for_another_key_is_not_kept(
        self, ctl: Ctl, gateway: WireGateway
    ) -> None:
        keysign(ctl)
        kept = (ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").read_text()
        (ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").unlink()
        reply = json.dumps({"signed_ssh_cert": kept}).encode()
        gateway.refuse[f"POST /mtls-ca/socket/{DNS_NAME}/ssh"] = (200, reply)
        refused(keysign(ctl), 1, "another key")

    def test_a_login_that_ends_in_between_begins_anew(self, ctl: Ctl, gateway: WireGateway) -> None:
        """The second challenge is the new login's."""
        keysign(ctl)
        gateway.tokens.clear()
        (ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").unlink()
        assert keysign(ctl).returncode == 0


def ssh_options(config: Path, host: str, **environment: str) -> dict[str, str]:
    done = subprocess.run(
        ["ssh", "-F", config, "-G", f"me@{host}"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_one_block_form_is_what_ssh_understands(
    ctl: Ctl, gateway: WireGateway, tmp_path: Path
) -> None:
    printed = ctl.run("client", "ssh-config", "--modern", "--host", "*.edge.localhost")
    assert printed.returncode == 0
    text = printed.stdout.decode()
    assert f"--api {gateway.base}" in text
    program = re.search(r'exec "(.+?) client', text)
    assert program
    config = tmp_path / "config"
    fake = tmp_path / "sign"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    fake.chmod(0o755)
    config.write_text(text.replace(f'exec "{program[1]}', f'exec "{fake}'))
    found = ssh_options(config, DNS_NAME, PATH="/usr/bin:/bin")
    assert (tmp_path / "asked").read_text() == f"client ssh-keysign --host {DNS_NAME}\n"
    assert found["identityfile"] == f"{ctl.home}/.ssh/%n"
    assert found["certificatefile"] == f"{ctl.home}/.ssh/%n-cert.pub"
    assert found["proxycommand"].endswith(" client tls --host %n")
    assert "proxycommand" not in ssh_options(config, "elsewhere.example", PATH="/usr/bin:/bin")


def test_two_block_form_is_what_ssh_understands(ctl: Ctl, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(ctl.run("client", "ssh-config", "--host", DNS_NAME).stdout)
    outer = ssh_options(config, DNS_NAME)
    inner = ssh_options(config, f"{DNS_NAME}.mysocket-dummy")
    inner_ssh = "ssh-keysign --host %h && ssh -tt %r@%h.mysocket-dummy >&2 <&1; exit"
    assert inner_ssh in outer["proxycommand"]
    assert inner["proxycommand"].endswith(" client tls --host %h")
    assert inner["identityfile"] == f"{ctl.home}/.ssh/{DNS_NAME}"
    assert inner["hostkeyalias"] == DNS_NAME


@pytest.mark.parametrize("modern", [True, False])
def test_the_printed_blocks_name_the_choice_of_key(ctl: Ctl, modern: bool, tmp_path: Path) -> None:
    key = own_key(tmp_path)
    form = ["--modern"] if modern else []
    for options, identity in [
        ((f"--identity={key}",), str(key)),
        (("--agent-only",), f"{ctl.home}/.ssh/{'%n' if modern else DNS_NAME}"),
        (("--confirm",), f"{ctl.home}/.ssh/{'%n' if modern else DNS_NAME}"),
    ]:
        said = ctl.run("client", "ssh-config", "--host", DNS_NAME, *form, *options).stdout.decode()
        assert f"client ssh-keysign {options[0]} --host" in said
        assert f"    IdentityFile {identity}\n" in said


def test_a_path_that_does_not_fit_into_the_configuration(ctl: Ctl, tmp_path: Path) -> None:
    folder = tmp_path / "with blanks"
    folder.mkdir()
    key = own_key(folder)
    done = ctl.run("client", "ssh-config", "--host", DNS_NAME, "--identity", str(key))
    refused(done, 2, "does not fit")


def test_two_block_form_is_for_one_host(ctl: Ctl) -> None:
    done = ctl.run("client", "ssh-config", "--host", "*.edge.localhost")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
