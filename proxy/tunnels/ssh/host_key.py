"""The tunnel server's own key: Ed25519, made by the edge at its first start and kept."""

from pathlib import Path

import asyncssh

from proxy.files import write_private

HOST_KEY_NAME = "tunnel_host_ed25519"


def load_host_key(state_dir: Path) -> asyncssh.SSHKey:
    """The key of this edge, made if there is none yet.

    Raises:
        OSError: the file cannot be read or written.
        asyncssh.KeyImportError: the file is not a private key.
    """
    path = state_dir / HOST_KEY_NAME
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="mysocket-tunnel-server")
        write_private(path, key.export_private_key("openssh"))
    return asyncssh.read_private_key(path)


def public_line(key: asyncssh.SSHKey) -> str:
    """The public half as ``ssh-ed25519 AAAA…``, without a comment."""
    algorithm, blob = key.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{algorithm} {blob}"
