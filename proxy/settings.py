"""Settings of one edge: a TOML file, overridden by ``MYSOCKET_EDGE_*`` variables, read once.

A key nobody knows is an error at start, so that a typing mistake cannot switch a protection off.
Secrets are paths of files here, never values.
"""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from proxy.errors import SettingsError

ENVIRONMENT_PREFIX = "MYSOCKET_EDGE_"
REQUEST_LOG_NAME = "requests.jsonl"
MAX_UNIX_PATH = 107
"""Bytes of ``sun_path`` without its final zero (unix(7))."""
LONGEST_ENDPOINT_NAME = "/t/01234567-0123-0123-0123-0123456789ab.sock"

Port = Annotated[int, Field(ge=1, le=65535)]
HostName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
]
BackendName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
EdgeId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class CipherChoice(StrEnum):
    """Which SSH ciphers the tunnel server offers."""

    DEFAULT = "default"
    """AES-GCM first, then what older clients need (paramiko before 2.12 has no GCM)."""
    GCM_ONLY = "gcm-only"
    """AES-GCM alone: OpenSSH then uses it, which halves the edge's work per byte."""


class EdgeSettings(BaseSettings):
    """Everything an edge is told; times are seconds, paths are made absolute."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX)

    edge_id: EdgeId = "edge-1"
    state_dir: Path = Path(".mysocket/edge")
    """What outlives a restart: last snapshot, host key, server key and certificate."""
    run_dir: Path = Path(".mysocket/run")
    """Sockets and the readiness file; short, for every tunnel has a socket below it."""
    gateway: str = "unix:.mysocket/run/gateway.sock"
    """``unix:/path`` or ``https://name[:port]`` (``http://`` only to a loopback address)."""
    gateway_ca_file: Path | None = None
    """PEM roots for an ``https`` gateway; the system's when absent."""
    edge_key_file: Path = Path(".mysocket/secrets/edge.key")
    gateway_names: Annotated[tuple[HostName, ...], Field(min_length=1)] = ("gateway.localhost",)
    edge_domain: HostName = "edge.localhost"

    listen_address: str = "127.0.0.1"
    """Address of every public port: HTTPS, HTTP, the tunnel server, TCP and TLS sockets."""
    https_port: Port = 8443
    http_port: Port = 8080
    tunnel_port: Port = 2222
    public_https_port: Port | None = None
    """HTTPS port as browsers see it, if something in front maps it; ``https_port`` when absent."""

    tunnel_backends: Annotated[tuple[BackendName, ...], Field(min_length=1)] = ("ssh",)
    """Kinds of tunnels: ``ssh``, or a name that another distribution registered."""
    tunnel_ciphers: CipherChoice = CipherChoice.DEFAULT
    tunnel_keepalive: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Silence after which a tunnel client is asked whether it lives."""
    tunnel_keepalive_count: Annotated[int, Field(ge=1, le=10)] = 3
    """Unanswered questions after which it is cut."""
    tunnel_login_grace: Annotated[float, Field(gt=0, le=120)] = 20.0
    tunnel_max_unauthenticated: Annotated[int, Field(ge=1, le=10_000)] = 128
    tunnel_open_deadline: Annotated[float, Field(gt=0, le=30)] = 4.0
    """How long an origin's client may take to accept a new stream."""
    report_interval: Annotated[float, Field(gt=0, le=300)] = 30.0

    envoy_concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Envoy's worker threads; one per processor when absent."""
    envoy_memory_bytes: Annotated[int, Field(ge=128 << 20)] | None = None
    """Memory that Envoy may take; half of the machine's when absent."""
    request_log_bytes: Annotated[int, Field(ge=4096)] = 64 << 20
    """Size at which the request log is put aside and begun anew."""
    request_log_files: Annotated[int, Field(ge=0, le=1000)] = 5
    """How many older request logs are kept."""
    log_level: str = "info"

    @field_validator("state_dir", "run_dir", "edge_key_file", "gateway_ca_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("gateway")
    @classmethod
    def _gateway_address(cls, address: str) -> str:
        if address.startswith("unix:"):
            return f"unix:{Path(address.removeprefix('unix:')).expanduser().absolute()}"
        if re.fullmatch(r"https://[^/@\s?#]+", address):
            return address
        if re.fullmatch(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", address):
            return address
        raise ValueError("must be unix:/path or https://name[:port]; http only to loopback")

    @field_validator("log_level")
    @classmethod
    def _level(cls, level: str) -> str:
        if level not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return level

    @model_validator(mode="after")
    def _endpoint_paths_fit(self) -> Self:
        if len(os.fsencode(self.run_dir)) + len(LONGEST_ENDPOINT_NAME) > MAX_UNIX_PATH:
            room = MAX_UNIX_PATH - len(LONGEST_ENDPOINT_NAME)
            raise ValueError(f"run_dir: a path of at most {room} bytes is needed: {self.run_dir}")
        return self

    @property
    def gateway_socket(self) -> Path | None:
        """The gateway's unix socket, or ``None`` when it is reached over TCP."""
        if self.gateway.startswith("unix:"):
            return Path(self.gateway.removeprefix("unix:"))
        return None

    @property
    def request_log(self) -> Path:
        """Where Envoy writes who reached what, and when."""
        return self.state_dir / REQUEST_LOG_NAME

    @property
    def endpoint_dir(self) -> Path:
        """Where the unix sockets of connected tunnels are."""
        return self.run_dir / "t"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file, which arrives through ``init_settings``."""
        return env_settings, init_settings


def load_settings(config: Path | None) -> EdgeSettings:
    """Read the file (if any) and the environment.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown or wrong; one line.
    """
    try:
        return EdgeSettings(**_read_file(config) | _short_names())
    except ValidationError as error:
        raise SettingsError("bad-setting", _one_line(error)) from error


def _short_names() -> dict[str, str]:
    """``MYSOCKET_EDGE_DOMAIN`` and its like mean ``edge_domain``, as they do for the gateway."""
    fields = EdgeSettings.model_fields
    values = {}
    for name, value in os.environ.items():
        key = name.upper().removeprefix(ENVIRONMENT_PREFIX).lower()
        if not name.upper().startswith(ENVIRONMENT_PREFIX) or key in fields:
            continue
        if f"edge_{key}" not in fields:
            raise SettingsError("unknown-setting", f"unknown environment setting: {name}")
        values[f"edge_{key}"] = value
    return values


def _read_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    if not config.is_file():
        raise SettingsError("no-configuration", f"no such configuration file: {config}")
    try:
        return TomlConfigSettingsSource(EdgeSettings, config)()
    except (OSError, ValueError) as error:
        raise SettingsError("bad-configuration", f"{config}: {error}") from error


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting: {name}"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
