"""Proof towards the gateway that one has the private half of an SSH key.

The gateway's challenge is signed as ``ssh-keygen -Y sign`` does (PROTOCOL.sshsig). A key of our own
signs in this process; for a person's own key that program does it, which knows files, passphrases,
agents and security keys.
"""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from ca.formats.errors import FormatError, KeyIsCertificateError
from ca.formats.ssh_keys import KeyBlob, blob_of, parse_key_blob, parse_key_line
from ca.formats.sshsig import make_sshsig, verify_sshsig
from clients.mysocketctl.errors import InvalidInput, KeyProofFailed, ProtocolViolation
from clients.mysocketctl.files import read_small
from clients.mysocketctl.names import printable

NAMESPACE = "ssh-certificate@mysocket.io"
"""What the signature is for; one made for anything else proves nothing to the gateway."""
MAX_NONCE = 1_024
SIGN_SECONDS = 120
"""Time for a passphrase or a touch; the challenge is good for no longer."""


class ProvableKey(Protocol):
    """A key whose holder can be asked for proof."""

    @property
    def public(self) -> KeyBlob:
        """The public half."""

    def sign(self, message: bytes) -> str:
        """An armored SSH signature over ``message``. Raises ClientError."""


class FreshKey:
    """A new P-256 key, which every OpenSSH since 5.7 knows."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = parse_key_blob(blob_of(self.private.public_key()))

    def sign(self, message: bytes) -> str:
        """See ``ProvableKey``."""
        return make_sshsig(self.private, message, NAMESPACE)


class OwnKey:
    """A person's own key: a private key file, a security key's, or a ``.pub`` file of an agent's
    key.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput: no key there that could be certified."""
        self.path = path.expanduser().absolute()
        self.public = _public_half(self.path)

    def sign(self, message: bytes) -> str:
        """See ``ProvableKey``; asks for the passphrase or the touch on the terminal."""
        done = _ssh_keygen("-Y", "sign", "-n", NAMESPACE, "-f", str(self.path), given=message)
        if done.returncode != 0:
            raise KeyProofFailed(f"ssh-keygen could not sign with {self.path}{_why(done.stderr)}")
        return done.stdout.decode("ascii", "replace")


def prove(key: ProvableKey, nonce: str, dns_name: str) -> str:
    """Sign a gateway's challenge for the socket ``dns_name``; the armored signature.

    Raises:
        ProtocolViolation: the challenge is for another socket, or not like one.
        KeyProofFailed: the key's holder did not sign, or another key did.
    """
    plain = nonce.isascii() and nonce.isprintable() and len(nonce) <= MAX_NONCE
    if not plain or not nonce.startswith(f"{dns_name}:"):
        raise ProtocolViolation("the gateway's challenge is not for this socket")
    proof = key.sign(nonce.encode())
    try:
        signed_by = verify_sshsig(proof, nonce.encode(), NAMESPACE)
    except FormatError as error:
        raise KeyProofFailed(f"the key's signature does not hold: {error}") from error
    if signed_by.blob != key.public.blob:
        raise KeyProofFailed("another key signed than the one to be certified")
    return proof


def _public_half(path: Path) -> KeyBlob:
    content = read_small(path)
    if content is None:
        raise InvalidInput(f"there is no key file {path}")
    beside = None if path.suffix == ".pub" else read_small(path.with_name(f"{path.name}.pub"))
    if "PRIVATE KEY-----" not in content:
        return _parse(path, content)
    if beside is not None:
        return _parse(path, beside)
    done = _ssh_keygen("-y", "-f", str(path))
    if done.returncode != 0:
        raise InvalidInput(f"ssh-keygen cannot read {path}{_why(done.stderr)}")
    return _parse(path, done.stdout.decode("ascii", "replace"))


def _parse(path: Path, line: str) -> KeyBlob:
    try:
        return parse_key_line(line)
    except KeyIsCertificateError as error:
        raise InvalidInput(f"{path} is a certificate; name the key itself") from error
    except FormatError as error:
        raise InvalidInput(f"{path} is no SSH key of a kind that is certified") from error


def _ssh_keygen(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # Where somebody watches, the request to touch a security key has to reach them.
    stderr = None if sys.stderr.isatty() else subprocess.PIPE
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            input=given,
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=SIGN_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise KeyProofFailed("ssh-keygen is missing; it belongs to OpenSSH") from error
    except subprocess.TimeoutExpired as error:
        raise KeyProofFailed("nobody gave the passphrase or touched the key in time") from error
    except OSError as error:
        raise KeyProofFailed(f"cannot run ssh-keygen: {error.strerror}") from error


def _why(stderr: bytes | None) -> str:
    lines = (stderr or b"").decode("utf-8", "replace").strip().splitlines()
    return f": {printable(lines[-1])}" if lines else ""
