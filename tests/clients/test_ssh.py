"""``client ssh-keysign`` and ``client ssh-config`` with the real ssh programs."""

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519, parse_key_line
from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.security_keys import SecurityKey
from tests.support.software_agent import software_agent
from tests.support.wire_gateway import EMAIL, WireGateway


@contextmanager
def running_agent(environment: dict[str, str] | None = None) -> Iterator[str]:
    """A running ssh-agent; its socket."""
    started = subprocess.run(
        ["ssh-agent", "-s"],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    sock, pid = re.findall(r"SSH_(?:AUTH_SOCK|AGENT_PID)=([^;]+);", started.stdout)
    try:
        yield sock
    finally:
        os.kill(int(pid), signal.SIGTERM)


@pytest.fixture
def agent() -> Iterator[str]:
    with running_agent() as path:
        yield path


def in_agent(agent: str) -> list[str]:
    done = subprocess.run(
        ["ssh-add", "-l"], env={"SSH_AUTH_SOCK": agent}, capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if line.startswith("256 ")]


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


def keysign(ctl: Ctl, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return ctl.run("client", "ssh-keysign", "--host", DNS_NAME, *options, **environment)


def own_key(folder: Path, *options: str) -> Path:
    """A key as ``ssh-keygen`` makes it."""
    path = folder / "own"
    subprocess.run(["ssh-keygen", "-q", *(options or ("-N", "")), "-f", path], check=True)
    return path


def askpass(folder: Path, answer: str, code: int = 0) -> dict[str, str]:
    """An environment in which somebody answers every question of OpenSSH's programs."""
    program = folder / f"askpass{code}"
    program.write_text(f"#!/bin/sh\necho {answer}\nexit {code}\n")
    program.chmod(0o755)
    return {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}


def refused(done: subprocess.CompletedProcess[bytes], code: int, why: str) -> None:
    """One line and the right code; where somebody had to log in first, the line is the last."""
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (code, b""), done
    assert why in lines[-1], lines
    assert "Traceback" not in done.stderr.decode()


def certified(ctl: Ctl) -> SshCertificate:
    return parse_certificate_line((ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").read_bytes())


def private_half(ctl: Ctl) -> Path:
    return ctl.home / ".ssh" / DNS_NAME


class TestOwnKey:
    """``--identity``: a person's own key is certified, and stays where it is."""

    def test_a_key_file(self, ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> None:
        key = own_key(tmp_path)
        assert keysign(ctl, "--identity", str(key)).returncode == 0
        assert certified(ctl).key_blob == parse_key_line(key.with_suffix(".pub").read_bytes())
        assert not private_half(ctl).exists()
        assert (ctl.home / ".ssh" / f"{DNS_NAME}.pub").exists()
        assert keysign(ctl, f"--identity={key}").returncode == 0
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 1

    def test_a_key_file_without_its_public_half(self, ctl: Ctl, tmp_path: Path) -> None:
        key = own_key(tmp_path)
        public = parse_key_line(key.with_suffix(".pub").read_bytes())
        key.with_suffix(".pub").unlink()
        assert keysign(ctl, "--identity", str(key)).returncode == 0
        assert certified(ctl).key_blob == public

    def test_a_key_file_with_a_passphrase(self, ctl: Ctl, tmp_path: Path) -> None:
        key = own_key(tmp_path, "-N", "open sesame")
        right = askpass(tmp_path, "open sesame")
        assert keysign(ctl, "--identity", str(key), **right).returncode == 0
        wrong = askpass(tmp_path, "open barley", 1)
        (ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").unlink()
        refused(keysign(ctl, "--identity", str(key), **wrong), 1, "could not sign")

    def test_a_key_of_the_agents(self, ctl: Ctl, agent: str, tmp_path: Path) -> None:
        key = own_key(tmp_path)
        subprocess.run(["ssh-add", "-q", key], env={"SSH_AUTH_SOCK": agent}, check=True)
        key.unlink()
        public = key.with_suffix(".pub")
        assert keysign(ctl, f"--identity={public}", SSH_AUTH_SOCK=agent).returncode == 0
        assert certified(ctl).key_blob == parse_key_line(public.read_bytes())
        assert keysign(ctl, SSH_AUTH_SOCK=agent).returncode == 0  # a key of ours again
        assert certified(ctl).key_blob != parse_key_line(public.read_bytes())
        listed = subprocess.run(
            ["ssh-add", "-L"], env={"SSH_AUTH_SOCK": agent}, capture_output=True, check=True
        ).stdout
        assert public.read_bytes().split()[1] in listed  # the person's own is left alone

    @pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
    def test_a_security_key(self, ctl: Ctl, key_type: str, tmp_path: Path) -> None:
        key, public = SecurityKey(key_type), tmp_path / "own.pub"
        public.write_text(f"{key.line} touch me\n")
        with software_agent(key) as agent:
            done = keysign(ctl, "--identity", str(public), SSH_AUTH_SOCK=str(agent.path))
            assert done.returncode == 0, done.stderr
            assert certified(ctl).key_blob == key.key_blob
            shown = subprocess.run(
                ["ssh-keygen", "-L", "-f", ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert "Type: sk-" in shown
            agent.flags = 0
            (ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub").unlink()
            untouched = keysign(ctl, "--identity", str(public), SSH_AUTH_SOCK=str(agent.path))
            refused(untouched, 1, "without being touched")

    def test_a_kept_certificate_is_left_when_a_fresh_one_is_wanted(
        self, ctl: Ctl, gateway: WireGateway
    ) -> None:
        for options in ((), (), ("--fresh",)):
            assert keysign(ctl, *options).returncode == 0
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 2

    def test_a_changed_mind(self, ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> None:
        """A kept certificate serves only for the key that is asked for."""
        key = own_key(tmp_path)
        for options, ours in [((), True), ((f"--identity={key}",), False), ((), True)]:
            assert keysign(ctl, *options).returncode == 0
            assert private_half(ctl).exists() is ours
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 3

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (None, "there is no key file"),
            (b"", "is no SSH key"),
            (b"ssh-ed25519 AAAA", "is no SSH key"),
            (b"\xff" * 100, "is no SSH key"),
            (b"x" * (1 << 20) + b"x", "too large"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nx", "ssh-keygen cannot read"),
            (b"ssh-dss AAAAB3NzaC1kc3MAAACBAPc7", "is no SSH key"),
        ],
    )
    def test_what_is_no_key(
        self,
        ctl: Ctl,
        gateway: WireGateway,
        content: bytes | None,
        why: str,
        tmp_path: Path,
    ) -> None:
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
            file.chmod(0o600)
        refused(keysign(ctl, "--identity", str(file)), 2, why)
        done = ctl.run("client", "ssh-config", "--host", DNS_NAME, "--identity", str(file))
        refused(done, 2, why)
        assert gateway.requests == []

    def test_a_certificate_is_no_key(self, ctl: Ctl) -> None:
        keysign(ctl)
        file = ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub"
        refused(keysign(ctl, "--identity", str(file)), 2, "is a certificate")

    def test_a_public_half_nobody_has_the_other_of(
        self, ctl: Ctl, gateway: WireGateway, agent: str, tmp_path: Path
    ) -> None:
        key = own_key(tmp_path)
        key.unlink()
        done = keysign(ctl, f"--identity={key.with_suffix('.pub')}", SSH_AUTH_SOCK=agent)
        refused(done, 1, "could not sign")
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 0

    def test_the_agents_options_are_for_keys_of_ours(self, ctl: Ctl, tmp_path: Path) -> None:
        for option in ("--agent-only", "--confirm"):
            refused(keysign(ctl, "--identity=x", option), 2, "--identity")


class TestAgentOnly:
    """``--agent-only`` and ``--confirm``: the private half never reaches the disk."""

    def test_the_agent_has_it_and_the_disk_does_not(
        self, ctl: Ctl, gateway: WireGateway, agent: str
    ) -> None:
        for _ in range(2):
            done = keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
            assert done.returncode == 0, done.stderr
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 1
        files = sorted(path.name for path in (ctl.home / ".ssh").iterdir())
        assert files == [f"{DNS_NAME}-cert.pub", f"{DNS_NAME}.pub"]
        assert len(in_agent(agent)) == 2

    def test_another_agent_gets_another_key(
        self, ctl: Ctl, gateway: WireGateway, agent: str
    ) -> None:
        keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
        subprocess.run(["ssh-add", "-q", "-D"], env={"SSH_AUTH_SOCK": agent}, check=True)
        keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 2
        assert len(in_agent(agent)) == 2

    def test_the_key_leaves_the_disk(self, ctl: Ctl, agent: str) -> None:
        keysign(ctl, SSH_AUTH_SOCK=agent)
        assert private_half(ctl).exists()
        keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
        assert not private_half(ctl).exists()
        assert len(in_agent(agent)) == 2

    @pytest.mark.parametrize("forgets", [True, False])
    def test_an_agent_that_keeps_nothing(self, ctl: Ctl, forgets: bool) -> None:
        """As some do with certificates: they say yes and list none."""
        with software_agent(forgets=forgets) as agent:
            done = keysign(ctl, "--agent-only", SSH_AUTH_SOCK=str(agent.path))
        assert done.returncode == 0
        assert "the key is in" in done.stderr.decode()
        assert stat.S_IMODE(private_half(ctl).stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"",
            b"\0\0",
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x05\x0c\xff\xff\xff\xff",
            b"\0\0\0\x09\x0c\0\0\0\x01\xff\xff\xff\xff",
            b"\0\0\0\x06\x0c\0\0\0\0x",
            b"\0\0\0\x01\x63",
        ],
    )
    def test_an_agent_that_talks_nonsense(
        self, ctl: Ctl, nonsense: bytes, gateway: WireGateway
    ) -> None:
        with software_agent() as agent:
            agent.nonsense = nonsense
            for options in ((), ("--agent-only",)):
                done = keysign(ctl, *options, SSH_AUTH_SOCK=str(agent.path))
                assert done.returncode == 0, done.stderr
                assert private_half(ctl).exists()
            refused(keysign(ctl, "--confirm", SSH_AUTH_SOCK=str(agent.path)), 1, "ssh-agent")

    @pytest.mark.parametrize("path", ["", "/nowhere", "\0bad"[1:]])
    def test_no_agent(self, ctl: Ctl, path: str) -> None:
        done = keysign(ctl, "--agent-only", SSH_AUTH_SOCK=path)
        assert done.returncode == 0
        warned = [line for line in done.stderr.decode().splitlines() if "ssh-agent" in line]
        assert len(warned) == 1
        assert private_half(ctl).exists()

    def test_without_an_agent_nobody_is_asked_so_there_is_no_key(self, ctl: Ctl) -> None:
        refused(keysign(ctl, "--confirm", SSH_AUTH_SOCK="/nowhere"), 1, "ssh-agent")
        assert not private_half(ctl).exists()
        with software_agent() as forgetful:
            done = keysign(ctl, "--confirm", SSH_AUTH_SOCK=str(forgetful.path))
        refused(done, 1, "does not keep")
        assert not private_half(ctl).exists()

    @pytest.mark.parametrize(("code", "signs"), [(0, True), (1, False)])
    def test_the_agent_asks_before_each_use(
        self, ctl: Ctl, code: int, signs: bool, tmp_path: Path
    ) -> None:
        with running_agent(askpass(tmp_path, "", code)) as agent:
            done = keysign(ctl, "--confirm", SSH_AUTH_SOCK=agent)
            assert done.returncode == 0, done.stderr
            used = subprocess.run(
                ["ssh-keygen", "-Y", "sign", "-n", "test", "-f", f"{private_half(ctl)}.pub"],
                env={"SSH_AUTH_SOCK": agent, "PATH": os.environ["PATH"]},
                input=b"x",
                capture_output=True,
                check=False,
            )
        assert (used.returncode == 0) is signs, used.stderr

    def test_a_key_that_nobody_was_asked_for_does_not_serve(
        self, ctl: Ctl, gateway: WireGateway, agent: str
    ) -> None:
        keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
        keysign(ctl, "--confirm", SSH_AUTH_SOCK=agent)
        assert gateway.asked("POST", f"/mtls-ca/socket/{DNS_NAME}/ssh") == 2
        assert len(in_agent(agent)) == 2

    def test_logging_out_takes_it_out(self, ctl: Ctl, agent: str) -> None:
        keysign(ctl, "--agent-only", SSH_AUTH_SOCK=agent)
        ctl.run("client", "logout", "--host", DNS_NAME, SSH_AUTH_SOCK=agent)
        assert in_agent(agent) == []
        assert list((ctl.home / ".ssh").iterdir()) == []


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
