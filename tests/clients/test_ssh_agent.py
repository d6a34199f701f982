"""``client ssh-keysign`` and agents: real ones, and some that do less than they say."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import DNS_NAME, Ctl, running_agent
from tests.clients.keysign import askpass, in_agent, keysign, private_half, refused
from tests.support.software_agent import software_agent
from tests.support.wire_gateway import WireGateway


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
