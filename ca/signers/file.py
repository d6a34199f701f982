"""A signer whose key is a sealed file of mode 0600."""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ca import errors
from ca.ca_keys import CaPrivateKey, CaPublicKey
from ca.keybox import KeyBox, open_private_key, seal_private_key
from ca.signers.memory import MemorySigner

_PURPOSE = "ca-key-file"
_MAX_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSigner:
    """Signs with the key of a sealed file; ``name`` is bound into the seal."""

    path: Path
    _signer: MemorySigner

    @classmethod
    def create(cls, path: Path, box: KeyBox, key: CaPrivateKey, *, name: str) -> Self:
        """Write ``key`` to a new file, whole or not at all.

        Raises:
            KeyFileError: the file exists, or cannot be written.
            SubjectKeyError: the key is too weak for a CA.
        """
        signer = MemorySigner(name=name, signing_key=key)
        write_new_file(path, seal_private_key(box, key, purpose=_PURPOSE, object_id=name))
        return cls(path=path, _signer=signer)

    @classmethod
    def load(cls, path: Path, box: KeyBox, *, name: str) -> Self:
        """Open the key file of that name.

        Raises:
            KeyFileError: missing, not a regular file, or open to others than its owner.
            SealBrokenError: another master key or name, or changed bytes.
        """
        sealed = read_private_file(path)
        key = open_private_key(box, sealed, purpose=_PURPOSE, object_id=name)
        return cls(path=path, _signer=MemorySigner(name=name, signing_key=key))

    @property
    def name(self) -> str:
        return self._signer.name

    @property
    def public_key(self) -> CaPublicKey:
        return self._signer.public_key

    @property
    def signing_key(self) -> CaPrivateKey:
        return self._signer.signing_key


def write_new_file(path: Path, content: bytes) -> None:
    """Create a file of mode 0600 that is complete from the first moment its name exists.

    Raises:
        KeyFileError: the name is taken, or the disk refuses.
    """
    try:
        # mkstemp makes mode 0600; link, unlike rename, never replaces a key that is there.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)
        finally:
            Path(temporary).unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise errors.KeyFileError(f"cannot write {path}: {error.strerror}") from error


def read_private_file(path: Path) -> bytes:
    """Read a small file that only its owner can read or write.

    Raises:
        KeyFileError: missing, a link or device, too long, of another owner, or open to others.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            _check_private(path, os.fstat(stream.fileno()))
            content = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise errors.KeyFileError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MAX_FILE_BYTES:
        raise errors.KeyFileError(f"{path} is too long for a key")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise errors.KeyFileError(f"{path} is not a regular file")
    if status.st_uid != os.geteuid():
        raise errors.KeyFileError(f"{path} belongs to somebody else")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise errors.KeyFileError(f"{path} is open to others; run: chmod 600 {path}")


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
