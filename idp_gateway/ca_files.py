"""Root and issuing CA on disk: sealed keys and their certificates, made at the first start."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from ca import x509
from ca.keybox import KeyBox
from ca.serials import x509_serial
from ca.signers.base import Signer
from ca.signers.file import FileSigner
from ca.specs import ISSUING_LIFE, ROOT_LIFE, CaCertSpec

RENEW_BEFORE = timedelta(days=60)
"""An issuing CA with less life left than this is followed by a new one."""


def load_or_make_issuing_ca(directory: Path, box: KeyBox, now: datetime) -> x509.Issuer:
    """The issuing CA below its root; whatever of the four files is missing is made.

    Raises:
        ca.errors.KeyStoreError: a file is broken, open to others, or sealed with another key.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(directory):
        root = _load_or_make(
            directory / "root",
            box,
            lambda signer: x509.make_root(signer, _spec("root", now, ROOT_LIFE)),
        )

        def make(signer: Signer) -> x509.Issuer:
            return x509.make_issuing_ca(root, signer, _spec("issuing", now, ISSUING_LIFE))

        issuing = _load_or_make(directory / "issuing", box, make)
        if issuing.not_after - now > RENEW_BEFORE:
            return issuing
        _put_aside(directory / "issuing", issuing)
        return _load_or_make(directory / "issuing", box, make)


def _load_or_make(place: Path, box: KeyBox, make: Callable[[Signer], x509.Issuer]) -> x509.Issuer:
    key_path, chain_path = place.with_suffix(".key"), place.with_suffix(".pem")
    if key_path.exists():
        signer = FileSigner.load(key_path, box, name=place.name)
    else:
        signer = FileSigner.create(key_path, box, x509.make_ca_key(), name=place.name)
    if not chain_path.exists():
        _write_whole(chain_path, make(signer).trust_pem)
    return x509.load_issuer(chain_path.read_bytes(), signer)


def _put_aside(place: Path, issuer: x509.Issuer) -> None:
    """Keep an old CA's files under its serial number; cut short, the old key is used once more."""
    aside = place.with_name(f"{place.name}-{issuer.certificate.serial_number:x}")
    place.with_suffix(".pem").rename(aside.with_suffix(".pem"))
    place.with_suffix(".key").rename(aside.with_suffix(".key"))


def _spec(role: str, now: datetime, life: timedelta) -> CaCertSpec:
    return CaCertSpec(
        common_name=f"mysocket {role} {secrets.token_hex(4)}",
        serial=x509_serial(),
        not_before=now - timedelta(hours=1),
        not_after=now - timedelta(hours=1) + life,
    )


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".new")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Two gateways that start at once must not make two roots."""
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
