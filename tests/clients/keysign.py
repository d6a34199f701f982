"""``mysocketctl client ssh-keysign`` as tests run it, and who answers when it asks."""

import subprocess
from pathlib import Path

from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from tests.clients.conftest import DNS_NAME, Ctl


def in_agent(agent: str) -> list[str]:
    done = subprocess.run(
        ["ssh-add", "-l"], env={"SSH_AUTH_SOCK": agent}, capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if line.startswith("256 ")]


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
