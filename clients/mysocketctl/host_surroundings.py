"""What an enrolment keeps of this machine, and what it finds there: roots, and other drop-ins."""

import os
from pathlib import Path

from clients.mysocketctl.errors import HostOutOfDate, InvalidInput
from clients.mysocketctl.files import read_small
from clients.mysocketctl.host_files import HostDirectory, HostState, install

SSHD_DROP_INS = Path("/etc/ssh/sshd_config.d")
_ONE_ONLY = frozenset({"trustedusercakeys", "revokedkeys", "authorizedprincipalsfile"})
"""Of these sshd takes the first it reads and no other (sshd_config(5)), in lower case."""


def keep_roots(files: HostDirectory, state: HostState) -> HostState:
    """Copy the roots the gateway was trusted by into the enrolment; what it then remembers.

    ``host sync`` runs as a service that sees nobody's home directory, where the original often is.
    Raises InvalidInput.
    """
    if state.ca_file is None:
        return state
    pem = read_small(Path(state.ca_file))
    if pem is None:
        raise InvalidInput(f"there is no CA file {state.ca_file}")
    kept = files.path / "gateway_roots.pem"
    with files.alone():
        install(kept, pem.encode())
        return files.write_state(files.read_state(), ca_file=str(kept))


def readable_roots(state: HostState) -> str | None:
    """The file of roots this host keeps, if any. Raises HostOutOfDate when it is lost."""
    if state.ca_file is not None and not os.access(state.ca_file, os.R_OK):
        raise HostOutOfDate(
            f"cannot read {state.ca_file}, by which the gateway is trusted; the last good files "
            "stay; run: mysocketctl host enrol"
        )
    return state.ca_file


def rivals(files: HostDirectory, drop_ins: Path = SSHD_DROP_INS) -> tuple[Path, ...]:
    """Other parts of sshd's configuration that set what ours sets; sshd takes the first only."""
    found = []
    for path in sorted(drop_ins.glob("*.conf")):
        try:
            if path.resolve() == files.sshd_config.resolve():
                continue
            lines = (read_small(path) or "").splitlines()
        except (InvalidInput, OSError, RuntimeError):
            continue
        words = {line.strip().replace("=", " ").partition(" ")[0].lower() for line in lines}
        if not words.isdisjoint(_ONE_ONLY):
            found.append(path)
    return tuple(found)
