"""Keeping one tunnel up: a certificate before each connection, a pause after each end, for ever."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from ca.formats.errors import FormatError
from ca.formats.ssh_certificate import parse_certificate_line
from clients.mysocketctl.api import GatewayApi, Json, number_field, segment, text_field
from clients.mysocketctl.errors import (
    GatewayRefused,
    GatewayUnreachable,
    InvalidInput,
    ProtocolViolation,
    TunnelFailed,
)
from clients.mysocketctl.files import HomeFiles, write_private
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.names import parse_host_name, parse_server
from clients.mysocketctl.settings import Settings

DEFAULT_SSH_PORT = 22
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
STEADY_SECONDS = 30.0
"""A connection that lasted this long starts the pauses from the first again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPlan:
    """All an engine needs for one connection."""

    server: str
    server_port: int
    host_keys: tuple[str, ...]
    """Public keys of the tunnel servers; nothing is dialled without one."""
    user_name: str
    local_port: int
    """Port asked for in ``tcpip-forward``."""
    target_host: str
    target_port: int
    key: Path
    certificate: Path | None
    known_hosts: Path


class Engine(Protocol):
    def __call__(self, plan: TunnelPlan) -> str:
        """Carry one connection to its end; why it ended. Interrupted by KeyboardInterrupt."""


class TunnelKey:
    """This machine's own key for tunnels, made at first use; never leaves it."""

    def __init__(self, files: HomeFiles, user_name: str) -> None:
        self.path = files.tunnel_directory / f"tunnel_{user_name}"

    def public_line(self) -> str:
        """The public half. Raises InvalidInput if the file is no key."""
        if not self.path.exists():
            key = ed25519.Ed25519PrivateKey.generate()
            private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            write_private(self.path, private)
        try:
            kept = load_ssh_private_key(self.path.read_bytes(), password=None)
        except (ValueError, TypeError, OSError) as error:
            raise InvalidInput(f"{self.path} is not a key of ours; remove it") from error
        return kept.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelTarget:
    socket_id: str
    tunnel_id: str
    host: str
    port: int


class TunnelConnection:
    """One tunnel from this machine; `plan` makes it ready to connect."""

    def __init__(
        self, settings: Settings, api: GatewayApi, target: TunnelTarget, user_name: str
    ) -> None:
        self._settings, self._api, self._target = settings, api, target
        self._user_name = parse_host_name(user_name)
        files = HomeFiles(settings.home)
        self._key = TunnelKey(files, self._user_name)
        self._known_hosts = files.tunnel_directory / f"known_hosts_{target.tunnel_id}"
        self._certificate = files.tunnel_directory / f"tunnel_{target.tunnel_id}-cert.pub"

    def plan(self) -> TunnelPlan:
        """Ask for the tunnel and a certificate. Raises what the API raises."""
        path = f"/socket/{segment(self._target.socket_id)}/tunnel/{segment(self._target.tunnel_id)}"
        tunnel = self._api.get(path)
        body = {"ssh_public_key": self._key.public_line()}
        line = self._logged(self._api.post(f"{path}/signkey", body))
        write_private(self._certificate, f"{line}\n")
        server, port = self._server(tunnel)
        return TunnelPlan(
            server=server,
            server_port=port,
            host_keys=self._write_known_hosts(server, tunnel),
            user_name=self._user_name,
            local_port=number_field(tunnel, "local_port"),
            target_host=self._target.host,
            target_port=self._target.port,
            key=self._key.path,
            certificate=self._certificate,
            known_hosts=self._known_hosts,
        )

    def _logged(self, answer: Json) -> str:
        """The certificate in an answer, if the log has it. Raises LogNotTrusted."""
        line = text_field(answer, "signed_ssh_cert").strip()
        try:
            certificate = parse_certificate_line(line)
        except FormatError as error:
            raise ProtocolViolation("the gateway's answer is no SSH certificate") from error
        trust = LogTrust(self._settings, self._api)
        trust.check(answer, kind="ssh", certificate=certificate.blob)
        return line

    def _server(self, tunnel: Json) -> tuple[str, int]:
        named_port = tunnel.get("tunnel_server_port") if isinstance(tunnel, dict) else None
        port = named_port if isinstance(named_port, int) else DEFAULT_SSH_PORT
        if self._settings.ssh_server is not None:
            return parse_server(self._settings.ssh_server, default_port=port)
        return parse_server(text_field(tunnel, "tunnel_server"), default_port=port)

    def _write_known_hosts(self, server: str, tunnel: Json) -> tuple[str, ...]:
        named = tunnel.get("tunnel_server_host_keys") if isinstance(tunnel, dict) else None
        words = [str(key).split() for key in named] if isinstance(named, list) else []
        keys = tuple(" ".join(word[:2]) for word in words if len(word) >= 2)
        if keys:
            write_private(self._known_hosts, "".join(f"{server} {key}\n" for key in keys))
        return keys


def keep_up(
    connection: TunnelConnection,
    engine: Engine,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Connect, and connect again, until interrupted.

    Raises TunnelFailed, NotLoggedIn or GatewayRefused where trying again cannot help.
    """
    wait = FIRST_PAUSE
    while True:
        started = time.monotonic()
        try:
            plan = connection.plan()
            ended = _connect(plan, engine, say)
        except GatewayUnreachable as error:
            ended = str(error)
        except GatewayRefused as error:
            if error.status not in {429, 500, 502, 503, 504}:
                raise
            ended = str(error)
        if time.monotonic() - started > STEADY_SECONDS:
            wait = FIRST_PAUSE
        say(f"{ended}; next attempt in {wait:.0f} s")
        pause(wait)
        wait = min(2 * wait, LONGEST_PAUSE)


def _connect(plan: TunnelPlan, engine: Engine, say: Callable[[str], None]) -> str:
    if not plan.host_keys:
        # Whoever answers there could read everything that goes through the tunnel.
        return "the gateway knows no host key of a tunnel server yet"
    say(f"Connecting to {plan.server}:{plan.server_port} ...")
    return engine(plan)


def choose_engine(name: str) -> Engine:
    """The engine of that name; ``auto`` is OpenSSH where there is one. Raises TunnelFailed."""
    from clients.mysocketctl import engine_openssh  # noqa: PLC0415

    if name == "system" or (name == "auto" and engine_openssh.is_installed()):
        if not engine_openssh.is_installed():
            raise TunnelFailed("there is no ssh on this machine; try --engine asyncssh")
        return engine_openssh.run
    try:
        from clients.mysocketctl import engine_asyncssh  # noqa: PLC0415
    except ImportError as error:
        raise TunnelFailed("asyncssh is not installed") from error
    return engine_asyncssh.run
