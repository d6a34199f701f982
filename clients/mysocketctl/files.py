"""The files under the person's home directory; names as the original clients have them.

    .mysocketio_token            API token                       0600
    .mysocketio_token_<dns>      client token of one socket      0600
    .mysocketio/<dns>.crt .key   client certificate and key      0600
    .ssh/<dns> <dns>-cert.pub    SSH key and certificate         0600
    .ssh/<dns>.pub               … where the key is elsewhere    0600
    .mysocket/                   tunnel key and certificates     0700
    .mysocket/drafts/            policies that were being edited 0700

The certificate file starts with explanatory text (RFC 7468 §5.2) that holds the end of its validity
and the socket's port, so that a cached certificate is used without parsing X.509.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.names import printable

CERTIFICATE_MARGIN = 30
"""Seconds of validity a cached certificate must have left to be used."""
_SMALL = 1 << 20


class CachedCertificate(NamedTuple):
    certificate: Path
    key: Path
    not_after: int
    """Unix seconds."""
    port: int | None
    """The socket's own port, if the gateway named one."""

    def is_fresh(self, now: float) -> bool:
        return self.not_after - CERTIFICATE_MARGIN > now


class HomeFiles(NamedTuple):
    home: Path

    @property
    def api_token(self) -> Path:
        return self.home / ".mysocketio_token"

    def client_token(self, dns_name: str) -> Path:
        return self.home / f".mysocketio_token_{dns_name}"

    def certificate(self, dns_name: str) -> Path:
        return self.home / ".mysocketio" / f"{dns_name}.crt"

    def certificate_key(self, dns_name: str) -> Path:
        return self.home / ".mysocketio" / f"{dns_name}.key"

    def lock(self, dns_name: str) -> Path:
        return self.home / ".mysocketio" / f"{dns_name}.lock"

    def ssh_key(self, dns_name: str) -> Path:
        return self.home / ".ssh" / dns_name

    def ssh_public_key(self, dns_name: str) -> Path:
        return self.home / ".ssh" / f"{dns_name}.pub"

    def ssh_certificate(self, dns_name: str) -> Path:
        return self.home / ".ssh" / f"{dns_name}-cert.pub"

    @property
    def tunnel_directory(self) -> Path:
        return self.home / ".mysocket"

    @property
    def drafts(self) -> Path:
        return self.home / ".mysocket" / "drafts"


def read_small(path: Path) -> str | None:
    """Text of a file of at most 1 MiB; ``None`` if there is none. Raises InvalidInput."""
    try:
        with path.open("rb") as file:
            raw = file.read(_SMALL + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > _SMALL:
        raise InvalidInput(f"{path} is too large")
    return raw.decode("utf-8", errors="replace")


def read_named(name: str, most: int) -> bytes:
    """What is in the file a person named, ``-`` being standard input; at most so many bytes.

    Raises:
        InvalidInput: the file cannot be read, or is too large.
    """
    if not name:
        raise InvalidInput("the name of a file is empty")
    try:
        if name == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with Path(name).open("rb") as stream:
                content = stream.read(most + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise InvalidInput(f"cannot read {shown_name(name)}: {why}") from error
    if len(content) > most:
        raise InvalidInput(f"{shown_name(name)} has over {most} bytes")
    return content


def shown_name(name: str) -> str:
    """How messages call the file of that name."""
    return "standard input" if name == "-" else printable(name)


def write_private(path: Path, content: str | bytes) -> None:
    """Replace ``path`` at once by a file that only its owner can read. Raises InvalidInput."""
    raw = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            # A power cut may otherwise keep the new name of what was never written.
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error


def private(path: str, flags: int) -> int:
    """The ``opener`` of files that are made for their owner alone."""
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time. Raises InvalidInput.

    Whoever can open a file can hold its lock for ever, to read it is enough; so only the owner can.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InvalidInput(f"cannot lock {path}: {error.strerror}") from error
    try:
        try:
            # Earlier versions made it for everybody to read.
            os.fchmod(descriptor, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise InvalidInput(f"cannot lock {path}: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> bool:
    """Remove a file; whether there was one. Raises InvalidInput."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InvalidInput(f"cannot remove {path}: {error.strerror}") from error
    return True


def read_cached_certificate(files: HomeFiles, dns_name: str) -> CachedCertificate | None:
    """The certificate kept for ``dns_name``, whatever its age; ``None`` if there is none."""
    text = read_small(files.certificate(dns_name))
    key = files.certificate_key(dns_name)
    if text is None or not key.exists():
        return None
    noted = dict(
        line.split(": ", 1) for line in text.partition("-----BEGIN")[0].splitlines() if ": " in line
    )
    not_after, port = noted.get("Not-After", ""), noted.get("Port", "")
    if not not_after.isdigit():
        return None
    return CachedCertificate(
        certificate=files.certificate(dns_name),
        key=key,
        not_after=int(not_after),
        port=int(port) if port.isdigit() else None,
    )


def fresh_certificate(files: HomeFiles, dns_name: str) -> CachedCertificate | None:
    """The kept certificate if it is valid for a while longer by this machine's clock."""
    cached = read_cached_certificate(files, dns_name)
    return cached if cached is not None and cached.is_fresh(time.time()) else None


def write_certificate(
    files: HomeFiles, dns_name: str, *, chain: str, key: str, not_after: int, port: int | None
) -> CachedCertificate:
    """Keep a certificate with its key; the key first, so that a reader never sees one without."""
    noted = f"Not-After: {not_after}\n" + (f"Port: {port}\n" if port is not None else "")
    write_private(files.certificate_key(dns_name), key)
    write_private(files.certificate(dns_name), noted + chain)
    return CachedCertificate(
        certificate=files.certificate(dns_name),
        key=files.certificate_key(dns_name),
        not_after=not_after,
        port=port,
    )
