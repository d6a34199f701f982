"""What the gateway is told at its start: one TOML file, overridden by ``MYSOCKET_*`` variables.

Read once, frozen, checked whole; an unknown key stops the start. Secrets are paths of files.
"""

import tomllib
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from ca.ca_keys import CaAlgorithm
from idp_gateway import errors
from policy.addresses import DomainName
from policy.errors import AddressError


class ProviderSettings(BaseModel):
    """One identity provider people can sign in with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$")
    """Short word in addresses, e.g. the callback's, and before the names of people and groups in
    policies."""
    title: str = ""
    """What the login page calls it; the name if empty."""
    kind: str = "oidc"
    """A built-in kind, or one that an installed package registers as an entry point."""
    issuer: str
    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    endpoint_origins: tuple[str, ...] = ()
    """Origins beside the issuer's own at which its endpoints may lie; Google's are known."""

    @field_validator("issuer")
    @classmethod
    def _absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError("an issuer is an https address (http only on this machine)")
        return value

    def secret(self) -> str:
        """The client's secret; empty for a public client."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text("utf-8").strip()
        return "" if self.client_secret is None else self.client_secret.get_secret_value()


class CaSettings(BaseModel):
    """Where the keys of the certificate authorities live, and of which kind new ones are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_signer: str = "file"
    """For the SSH user CAs of sockets: ``file``, ``pkcs11``, ``ssh-agent``, or an installed one."""
    host_signer: str = "file"
    tunnel_signer: str = "file"
    x509_signer: str = "file"
    """For the issuing CA; the root's key is a sealed file."""
    user_algorithm: CaAlgorithm = CaAlgorithm.ED25519
    host_algorithm: CaAlgorithm = CaAlgorithm.ED25519
    tunnel_algorithm: CaAlgorithm = CaAlgorithm.ED25519
    x509_algorithm: CaAlgorithm = CaAlgorithm.P256
    pkcs11_module: Path | None = None
    pkcs11_token: str = Field(default="", max_length=32)
    """The token's label."""
    pkcs11_pin_file: Path | None = None
    agent_socket: Path | None = None
    options: dict[str, str] = Field(default_factory=dict)
    """What a signer of an installed package wants to be told."""

    @property
    def signers(self) -> tuple[str, ...]:
        """Every signer that new keys are made with."""
        chosen = (self.user_signer, self.host_signer, self.tunnel_signer, self.x509_signer)
        return tuple(dict.fromkeys(chosen))

    @model_validator(mode="after")
    def _told_enough(self) -> Self:
        token = (self.pkcs11_module, self.pkcs11_token, self.pkcs11_pin_file)
        if "pkcs11" in self.signers and not all(token):
            raise ValueError("pkcs11 needs pkcs11_module, pkcs11_token and pkcs11_pin_file")
        if "ssh-agent" in self.signers and self.agent_socket is None:
            raise ValueError("ssh-agent needs agent_socket")
        if self.x509_algorithm is CaAlgorithm.ED25519:
            # Browsers verify no Ed25519 in certificates, and the edge's come from the same CA.
            raise ValueError("x509_algorithm is p256, p384, rsa3072 or rsa4096")
        return self


class Settings(BaseSettings):
    """Everything the gateway can be told; defaults are those of one machine."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="MYSOCKET_")

    state_dir: Path = Path(".mysocket")
    """Where everything that must survive lives: database, keys, secrets."""
    database_url: str = ""
    """SQLAlchemy address; SQLite in the state directory if empty."""
    gateway_names: tuple[str, ...] = ("gateway.localhost",)
    """Host names of the gateway; the first is canonical."""
    edge_domain: str = "edge.localhost"
    """Domain the sockets' names are made below."""
    https_port: int = Field(default=8443, ge=1, le=65535)
    http_port: int = Field(default=8080, ge=1, le=65535)
    tunnel_host: str = ""
    """Name clients dial for tunnels; the gateway's first name if empty."""
    tunnel_port: int = Field(default=2222, ge=1, le=65535)
    port_range: tuple[int, int] = (20000, 29999)
    """First and last of the own ports of TCP and TLS sockets."""
    listen_socket: Path = Path()
    """Unix socket of the gateway; ``run/gateway.sock`` in the state directory if not given."""
    listen_address: str = "127.0.0.1:8000"
    """``host:port`` beside the unix socket; empty for none."""
    signup_open: bool = True
    """Whether anybody may create an account (their e-mail stays unverified)."""
    sockets_per_account: int = Field(default=1000, ge=0)
    """Most sockets of an account an operator vouched for."""
    sockets_per_unverified_account: int = Field(default=10, ge=0)
    """Most sockets of any other account."""
    tunnels_per_socket: int = Field(default=64, ge=1, le=1024)
    login_session_hours: float = Field(default=12, gt=0, le=24 * 30)
    """How long a login stands, and how long each renewal of a program's login does."""
    login_renewal_days: float = Field(default=30, ge=0, le=365)
    """How long after a login its API token can be renewed; 0 for not at all."""
    grant_minutes: float = Field(default=5, gt=0, le=60)
    """How far ahead a grant is good for."""
    certificates_per_person: int = Field(default=2_000, ge=1, le=1_000_000)
    """Most SSH and most TLS certificates for one person on one socket in ten minutes."""
    clock_drift_minutes: float = Field(default=5, ge=0, le=60)
    """How far back a certificate's start is put, for clocks that are slow."""
    audit_days: float = Field(default=365, ge=0, le=36500)
    """How long decisions and issued certificates stay on record; 0 for ever."""
    edge_key_file: Path = Path()
    """What edges prove themselves with; ``secrets/edge.key`` in the state directory by default."""
    master_key_file: Path = Path()
    """What every stored private key is sealed under; ``secrets/master.key`` likewise."""
    policies_per_account: int = Field(default=1000, ge=0)
    policies_per_socket: int = Field(default=100, ge=0)
    """Most policies attached to one socket; those of the whole account come on top."""
    prefix_lists_per_account: int = Field(default=100, ge=0)
    prefixes_per_list: int = Field(default=20_000, ge=1, le=1_000_000)
    """Most addresses of one list, aggregated."""
    approval_max_minutes: int = Field(default=7 * 24 * 60, ge=1, le=30 * 24 * 60)
    """Longest time somebody can ask to be let in for, and be approved for."""
    guest_max_days: float = Field(default=30, gt=0, le=90)
    """How far ahead an invitation can end."""
    geo_country_file: Path | None = None
    """Countries of addresses, in MaxMind's format; without it every country is unknown."""
    geo_asn_file: Path | None = None
    """Autonomous systems of addresses, likewise."""
    providers: tuple[ProviderSettings, ...] = ()
    ca: CaSettings = CaSettings()
    """Where the keys of the certificate authorities live."""

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read the settings file (if any) and the environment.

        Raises:
            idp_gateway.errors.SettingsError: with one line that says what to mend.
        """
        try:
            given = {} if path is None else tomllib.loads(path.read_text("utf-8"))
            return cls(**given)
        except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
            raise errors.SettingsError(f"cannot read {path}: {error}") from error
        except ValidationError as error:
            raise errors.SettingsError(f"{path or 'settings'}: {_first_problem(error)}") from error
        except SettingsError as error:
            raise errors.SettingsError(f"settings: {error}") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        said = given.get("state_dir", ".mysocket")
        if not isinstance(said, str | Path):
            raise ValueError("state_dir is a path")  # noqa: TRY004 - pydantic reads ValueError
        state = Path(said).absolute()
        places = {
            "listen_socket": state / "run" / "gateway.sock",
            "edge_key_file": state / "secrets" / "edge.key",
            "master_key_file": state / "secrets" / "master.key",
        }
        filled = {key: value for key, value in given.items() if value not in ("", None)}
        filled = places | filled | {"state_dir": state}
        filled.setdefault("database_url", f"sqlite:///{state / 'gateway.db'}")
        names = filled.get("gateway_names")
        if names and not isinstance(names, str):
            filled.setdefault("tunnel_host", next(iter(names)))
        filled.setdefault("tunnel_host", "gateway.localhost")
        if given.get("listen_address") == "":
            filled["listen_address"] = ""
        return filled

    @field_validator("gateway_names")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("the gateway needs at least one name")
        return tuple(_domain(name) for name in names)

    @field_validator("edge_domain")
    @classmethod
    def _edge_domain(cls, name: str) -> str:
        return _domain(name)

    @field_validator("listen_address")
    @classmethod
    def _listen_address(cls, address: str) -> str:
        host, colon, port = address.rpartition(":")
        if address and not (colon and host and port.isdecimal() and int(port) < 65536):
            raise ValueError("a listen address is host:port")
        return address

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        first, last = self.port_range
        if not 1 <= first <= last <= 65535:
            raise ValueError("port_range is [first, last] within 1 to 65535")
        if len({provider.name for provider in self.providers}) < len(self.providers):
            raise ValueError("two providers have the same name")
        below = f".{self.edge_domain}"
        if any(name == self.edge_domain or name.endswith(below) for name in self.gateway_names):
            # A socket's owner could set cookies for the gateway.
            raise ValueError("the gateway's names must not be below the domain of the sockets")
        return self

    @property
    def base_url(self) -> str:
        """The gateway's own address and the issuer of its tokens; no slash at the end."""
        return f"https://{self.gateway_names[0]}{self.port_suffix}"

    @property
    def port_suffix(self) -> str:
        """``:port`` of the edge's HTTPS listener, empty for 443."""
        return "" if self.https_port == 443 else f":{self.https_port}"

    @property
    def ports(self) -> range:
        """The own ports of TCP and TLS sockets."""
        return range(self.port_range[0], self.port_range[1] + 1)


def _domain(name: str) -> str:
    try:
        return str(DomainName.parse(name))
    except AddressError as error:
        raise ValueError(str(error)) from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {where!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
