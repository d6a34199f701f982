"""``client ssh-keysign``: a key certified for one socket, on disk and in the agent."""

import os
import subprocess
import time
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from clients.mysocketctl.api import text_field
from clients.mysocketctl.certificates import ClientIdentity
from clients.mysocketctl.errors import ProtocolViolation
from clients.mysocketctl.files import CERTIFICATE_MARGIN, read_small, write_private

_AGENT_SECONDS = 10


def new_ssh_key() -> tuple[bytes, str]:
    """A P-256 key, which every OpenSSH since 5.7 knows: private file and public line."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def parse_ssh_certificate(line: str) -> SSHCertificate:
    """An OpenSSH certificate line (PROTOCOL.certkeys). Raises ProtocolViolation."""
    try:
        found = load_ssh_public_identity(line.strip().encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProtocolViolation("the gateway's answer is no SSH certificate") from error
    if not isinstance(found, SSHCertificate):
        raise ProtocolViolation("the gateway's answer is a key, not an SSH certificate")
    return found


class SshIdentity:
    """Key and certificate for one socket under ``~/.ssh``."""

    def __init__(self, identity: ClientIdentity) -> None:
        self._identity = identity
        self.key_path = identity.files.ssh_key(identity.dns_name)
        self.certificate_path = identity.files.ssh_certificate(identity.dns_name)

    def sign(self, *, fresh: bool = False) -> int:
        """Make sure of a certificate good for half a minute; its end in Unix seconds."""
        with self._identity.alone():
            kept = None if fresh else self._kept_until()
            if kept is not None:
                return kept
            private, public = new_ssh_key()
            _token, answer = self._identity.ask("ssh", {"ssh_public_key": public})
            line = text_field(answer, "signed_ssh_cert").strip()
            ends = parse_ssh_certificate(line).valid_before
            drop_from_agent(self.key_path)
            write_private(self.key_path, private)
            write_private(self.certificate_path, line + "\n")
            add_to_agent(self.key_path, ends)
            return ends

    def _kept_until(self) -> int | None:
        line = read_small(self.certificate_path)
        if line is None or not self.key_path.exists():
            return None
        try:
            ends = parse_ssh_certificate(line).valid_before
        except ProtocolViolation:
            return None
        return ends if ends - CERTIFICATE_MARGIN > time.time() else None


def add_to_agent(key: Path, ends: int) -> None:
    """Hand key and certificate to the agent, if one runs, until ``ends``."""
    seconds = int(ends - time.time())
    if seconds > 0:
        _ssh_add("-q", "-t", str(seconds), str(key))


def drop_from_agent(key: Path) -> None:
    """Take the old key out: a row of expired ones would use up a server's ``MaxAuthTries``."""
    if key.exists():
        _ssh_add("-q", "-d", str(key))


def _ssh_add(*arguments: str) -> None:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return
    try:
        subprocess.run(
            ["ssh-add", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_AGENT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # the files serve as well
