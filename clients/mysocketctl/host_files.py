"""The directory that an enrolled server's sshd reads, and how its files are replaced.

    user_ca_keys             TrustedUserCAKeys                        0644
    revoked_keys             RevokedKeys; sshd refuses everybody without it
    ssh_host_key-cert.pub    HostCertificate
    known_hosts              @cert-authority lines, for clients
    principals/<login>       AuthorizedPrincipalsFile
    sshd.conf                the directives that name the above
    host.json                what the host knows of its gateway       0600
    lock                     held while the others are replaced       0600

Each file is replaced by rename after it is on the disk, so that sshd, which reads some of them at
every login, finds the old one or the new one and never half of either.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ca.formats.errors import FormatError
from ca.formats.host_messages import MAX_LIST
from ca.formats.ssh_certificate import parse_certificate_line
from ca.formats.ssh_keys import KeyBlob, parse_key_line
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import locked, read_small

DEFAULT_DIRECTORY = Path("/etc/ssh/mysocket")
_PUBLIC = 0o644
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What the host remembers between two questions."""

    gateway: str
    """Base address."""
    ca_file: str | None
    """PEM of roots to trust for it beside the system's."""
    host_id: str
    socket_id: str
    dns_name: str
    host_key: str
    """Path of the private host key."""
    bundle_key: str
    """The key that signs bundles, one line."""
    number: int = 0
    """Of the newest bundle that was installed."""
    issued_at: int = 0
    """Its time by the gateway's clock, Unix seconds."""
    synced_at: int = 0
    """When that was, by this host's clock; 0 for never."""
    told_serial: str = ""
    """Of the host certificate sshd was last told to read; decimal."""


@dataclass(frozen=True, slots=True)
class HostDirectory:
    """The files of one enrolment."""

    path: Path

    @property
    def user_cas(self) -> Path:
        return self.path / "user_ca_keys"

    @property
    def revoked(self) -> Path:
        return self.path / "revoked_keys"

    @property
    def certificate(self) -> Path:
        return self.path / "ssh_host_key-cert.pub"

    @property
    def known_hosts(self) -> Path:
        return self.path / "known_hosts"

    @property
    def principals(self) -> Path:
        return self.path / "principals"

    @property
    def sshd_config(self) -> Path:
        return self.path / "sshd.conf"

    @property
    def state(self) -> Path:
        return self.path / "host.json"

    def make(self) -> None:
        """Make the directories, for root to write and everybody to read. Raises InvalidInput."""
        try:
            _make_public(self.principals)
        except OSError as error:
            raise InvalidInput(f"cannot make {self.path}: {error.strerror}") from error

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other synchronisations of this directory out. Raises InvalidInput."""
        return locked(self.path / "lock")

    def read_state(self) -> HostState:
        """What the host remembers. Raises InvalidInput when it was not enrolled here."""
        text = read_small(self.state)
        if text is None:
            raise InvalidInput(
                f"{self.path} belongs to no enrolled host; run: mysocketctl host enrol"
            )
        try:
            return _state_of(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"{self.state} is broken; enrol this host again") from error

    def write_state(self, state: HostState, **changes: Any) -> HostState:
        """Keep what the host is to remember. Raises InvalidInput."""
        state = replace(state, **changes)
        install(self.state, json.dumps(asdict(state), indent=2) + "\n", mode=_PRIVATE)
        return state

    def trusted_fingerprints(self) -> tuple[str, ...]:
        """Of the user CAs sshd trusts now, as many as a gateway is told of."""
        return tuple(dict.fromkeys(ca.fingerprint for ca in self.trusted_cas()))[:MAX_LIST]

    def trusted_cas(self) -> tuple[KeyBlob, ...]:
        """The user CAs sshd trusts now; none if the file is missing or broken."""
        try:
            lines = (read_small(self.user_cas) or "").splitlines()
            return tuple(parse_key_line(line) for line in lines if line.strip())
        except (FormatError, InvalidInput):
            return ()

    def present_certificate(self) -> str:
        """The host certificate sshd shows, one line; empty if there is none, or none that can be
        read: the gateway then sends the one on record again.
        """
        try:
            return parse_certificate_line((read_small(self.certificate) or "").strip()).line
        except (FormatError, InvalidInput):
            return ""

    def untold_serial(self, state: HostState) -> str:
        """Of the present certificate, if sshd was not told to read it; else empty."""
        try:
            serial = str(parse_certificate_line(self.present_certificate()).serial)
        except (FormatError, InvalidInput):
            return ""
        return "" if serial == state.told_serial else serial


def _make_public(path: Path) -> None:
    """Make the directory, and those above that are missing, whatever the umask: sshd reads a
    login's principals as that login.
    """
    if not path.is_dir():
        _make_public(path.parent)
        path.mkdir(mode=0o755, exist_ok=True)
        path.chmod(0o755)


def install(path: Path, content: str | bytes, *, mode: int = _PUBLIC) -> bool:
    """Replace a file as a whole, durably; whether it changed. Raises InvalidInput."""
    raw = content.encode("ascii") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        if path.is_file() and path.read_bytes() == raw:
            return False
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            # The mode above passes the umask, and sshd may read as somebody else.
            os.fchmod(descriptor, mode)
            file.write(raw)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
    return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _state_of(document: Mapping[str, Any]) -> HostState:
    names = {field.name for field in fields(HostState)}
    if not isinstance(document, dict) or document.keys() != names:
        raise ValueError("not the fields of a host's state")
    for name, value in document.items():
        wanted = int if name in {"number", "issued_at", "synced_at"} else str
        if type(value) is not wanted and not (name == "ca_file" and value is None):
            raise TypeError(name)
        if isinstance(value, str) and b"\0" in os.fsencode(value):
            raise ValueError(name)
    return HostState(**document)
