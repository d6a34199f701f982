"""States of an edge, and clients' keys and certificates, for tests of the edge."""

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
from joserfc.jwk import ECKey

from policy.types import SocketType
from proxy.state import EdgeSocket, EdgeState, EdgeTunnel, Trust, TunnelUser

ALICE = "a" * 32
BOB = "b" * 32


def public_line(key: asyncssh.SSHKey) -> str:
    """``ssh-ed25519 AAAA…``."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def new_key() -> asyncssh.SSHKey:
    """A client's key pair."""
    return asyncssh.generate_private_key("ssh-ed25519")


def edge_socket(name: str = "web", **changes: object) -> EdgeSocket:
    """A socket ``<name>-id`` called ``<name>.edge.localhost``."""
    values: dict[str, object] = {
        "socket_id": f"{name}-id",
        "dns_name": f"{name}.edge.localhost",
        "name": name,
        "socket_type": SocketType.HTTP,
        "ports": (8080, 8443),
        "epoch": 1,
        "identity_required": True,
    }
    return EdgeSocket(**(values | changes))  # type: ignore[arg-type]


def edge_tunnel(
    tunnel_id: str, port: int, socket_id: str = "web-id", user: str = ALICE
) -> EdgeTunnel:
    """A tunnel of alice's web socket, unless told otherwise."""
    return EdgeTunnel(tunnel_id=tunnel_id, socket_id=socket_id, local_port=port, user_name=user)


def session_jwk() -> dict[str, object]:
    """The public half of a new session key."""
    key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": "ES256"}, auto_kid=True)
    return dict(key.as_dict(private=False))


@dataclass(kw_only=True)
class Edge:
    """A state under construction: change the lists, then take ``state()``."""

    sockets: list[EdgeSocket] = field(default_factory=lambda: [edge_socket()])
    tunnels: list[EdgeTunnel] = field(default_factory=lambda: [edge_tunnel("t-1", 10001)])
    keys: dict[str, list[asyncssh.SSHKey]] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=lambda: {ALICE: 1, BOB: 1})
    authority: asyncssh.SSHKey = field(default_factory=new_key)
    past_authorities: list[asyncssh.SSHKey] = field(default_factory=list)
    client_ca: str = ""
    session_jwks: dict[str, object] = field(default_factory=lambda: {"keys": [session_jwk()]})
    revision: int = 0

    def state(self) -> EdgeState:
        """The next revision."""
        self.revision += 1
        users = {
            name: TunnelUser(
                user_name=name,
                public_keys=tuple(public_line(key) for key in self.keys.get(name, ())),
                generation=self.generations.get(name, 1),
            )
            for name in {**self.generations, **self.keys}
        }
        return EdgeState(
            revision=self.revision,
            trust=Trust(
                issuer="https://gateway.localhost:8443",
                session_jwks=self.session_jwks,
                client_ca=self.client_ca,
                tunnel_user_ca=(public_line(self.authority),),
                tunnel_user_ca_past=tuple(public_line(key) for key in self.past_authorities),
            ),
            sockets={item.socket_id: item for item in self.sockets},
            tunnels={item.tunnel_id: item for item in self.tunnels},
            tunnel_users=users,
        )


def write_key(folder: Path, key: asyncssh.SSHKey, name: str = "id") -> Path:
    """The private key as a file OpenSSH takes."""
    path = folder / name
    path.write_bytes(key.export_private_key("openssh"))
    path.chmod(0o600)
    path.with_name(f"{name}.pub").write_bytes(key.export_public_key("openssh"))
    return path


def certify(
    folder: Path,
    authority: asyncssh.SSHKey,
    key: asyncssh.SSHKey,
    *,
    key_id: str = f"{ALICE}.1:web-id",
    principals: str = ALICE,
    valid_for: timedelta = timedelta(minutes=5),
    host: bool = False,
    serial: int = 0,
) -> Path:
    """Let the real ``ssh-keygen`` certify ``key``; returns the private key beside the certificate.

    A negative ``valid_for`` makes a certificate that is over since then.
    """
    ca = write_key(folder, authority, "ca")
    private = write_key(folder, key, "certified")
    end = datetime.now(UTC) + valid_for
    window = f"{end - timedelta(minutes=10):%Y%m%d%H%M%SZ}:{end:%Y%m%d%H%M%SZ}"
    command = ["ssh-keygen", "-q", "-s", str(ca), "-I", key_id, "-z", str(serial), "-V", window]
    command += ["-n", principals] if principals else []
    command += ["-h"] if host else []
    subprocess.run([*command, f"{private}.pub"], check=True, capture_output=True)
    return private
