"""The X.509 root on disk: its sealed key and its certificate, made at the first start.

It signs issuing CAs and nothing else; their keys are generations (``idp_gateway.ca_generations``).
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509 import Certificate

from ca import x509
from ca.ca_keys import CaPrivateKey
from ca.errors import KeyFileError, KeyStoreError
from ca.keybox import KeyBox
from ca.serials import x509_serial
from ca.signers.base import Signer
from ca.signers.file import FileSigner
from ca.specs import ISSUING_LIFE, ROOT_LIFE, CaCertSpec

CLOCKS_DIFFER = timedelta(hours=1)
"""How long before its making a CA certificate starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldIssuingCa:
    """An issuing CA of before there were generations: its key, and its chain as PEM."""

    key: CaPrivateKey
    chain: str


class RootFiles:
    """``root.key`` and ``root.pem`` in one directory, which may hold an older issuing CA too."""

    def __init__(self, directory: Path, box: KeyBox, dns_names: Sequence[str]) -> None:
        """``dns_names``: what issuing CAs are limited to, with all names below."""
        self._dns_names = tuple(dns_names)
        self._directory = directory
        self._box = box

    def make_issuing_ca(self, signer: Signer, now: datetime) -> x509.Issuer:
        """An issuing CA of this key below the root; root files that are missing are made.

        Raises:
            ca.errors.KeyStoreError: a file is broken, open to others, or sealed with another key.
            ca.errors.IssuanceError: the signer is out of reach.
        """
        spec = _spec("issuing", now, ISSUING_LIFE)
        return x509.make_issuing_ca(self.root(now), signer, spec, dns_names=self._dns_names)

    def limits_fit(self, certificate: Certificate) -> bool:
        """Whether an issuing CA is limited to exactly this gateway's names."""
        return x509.limits_fit(certificate, self._dns_names)

    def root(self, now: datetime) -> x509.Issuer:
        """The root; whichever of its two files is missing is made.

        Raises:
            ca.errors.KeyStoreError: a file is broken, open to others, or sealed with another key.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_path, chain_path = self._directory / "root.key", self._directory / "root.pem"
        with _only_one(self._directory):
            if key_path.exists():
                signer = FileSigner.load(key_path, self._box, name="root")
            else:
                signer = FileSigner.create(key_path, self._box, x509.make_ca_key(), name="root")
            if not chain_path.exists():
                made = x509.make_root(signer, _spec("root", now, ROOT_LIFE))
                _write_whole(chain_path, made.trust_pem)
            return x509.load_issuer(chain_path.read_bytes(), signer)

    def root_above(self, chain_pem: str) -> x509.Issuer | None:
        """The root above an issuing CA; none if its key is not in this directory. Makes nothing.

        Raises:
            ca.errors.KeyStoreError: a file is broken, open to others, or sealed with another key.
        """
        key_path, chain_path = self._directory / "root.key", self._directory / "root.pem"
        if not (key_path.exists() and chain_path.exists()):
            return None
        signer = FileSigner.load(key_path, self._box, name="root")
        root = x509.load_issuer(chain_path.read_bytes(), signer)
        return root if root.pem.decode("ascii") in chain_pem else None

    def old_issuing_ca(self) -> OldIssuingCa | None:
        """The issuing CA that an earlier version kept beside the root, if its files are whole.

        Raises:
            ca.errors.KeyStoreError: they do not belong together, or are sealed with another key.
        """
        key_path, chain_path = (self._directory / f"issuing.{end}" for end in ("key", "pem"))
        if not (key_path.exists() and chain_path.exists()):
            return None
        signer = FileSigner.load(key_path, self._box, name="issuing")
        chain = chain_path.read_bytes()
        x509.load_issuer(chain, signer)
        return OldIssuingCa(key=signer.signing_key, chain=chain.decode("ascii"))

    def forget_old_issuing_ca(self) -> None:
        """Remove the key that is a generation now; the certificate stays for people to look at."""
        (self._directory / "issuing.key").unlink(missing_ok=True)

    def check_below(self, chain_pem: str, now: datetime) -> None:
        """Refuse to follow an issuing CA that is below another root than this directory's.

        Raises:
            ca.errors.KeyStoreError: it is; the root is on another machine.
        """
        if self.root(now).pem.decode("ascii") not in chain_pem:
            raise KeyStoreError(
                f"the issuing CA is below another root than {self._directory / 'root.pem'}; "
                "run this where the root is"
            )


def _spec(role: str, now: datetime, life: timedelta) -> CaCertSpec:
    return CaCertSpec(
        # A name of its own per key: verifiers that find CAs by name must not mix them up.
        common_name=f"mysocket {role} {secrets.token_hex(4)}",
        serial=x509_serial(),
        not_before=now - CLOCKS_DIFFER,
        not_after=now - CLOCKS_DIFFER + life,
    )


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".new")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Two gateways that start at once must not make two roots."""
    # Whoever can open a file can hold its lock, so nobody else can.
    lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(lock, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
