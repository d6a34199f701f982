"""``client ssh-keysign --identity``: files, agents and security keys of a person's own."""

import subprocess
from pathlib import Path

import pytest

from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519, parse_key_line
from tests.clients.conftest import DNS_NAME, Ctl
from tests.clients.keysign import askpass, certified, keysign, own_key, private_half, refused
from tests.support.security_keys import SecurityKey
from tests.support.software_agent import software_agent
from tests.support.wire_gateway import WireGateway


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
