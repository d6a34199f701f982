"""What the edge is told about its Envoy: addresses, names, limits. No reading of files here."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayUpstream:
    """Where Envoy finds the gateway process: a unix socket, or a host with or without TLS."""

    unix_path: Path | None = None
    host: str = ""
    port: int = 0
    tls_server_name: str = ""
    """Name the gateway's certificate must carry; empty means plain text."""
    tls_ca_file: Path | None = None
    """PEM of the CAs to trust; ``None`` means Debian's ``/etc/ssl/certs/ca-certificates.crt``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoySettings:
    """Everything about this edge that is not in the feed. Times are in seconds, sizes in bytes."""

    run_dir: Path
    """Private directory (0700) for the admin and discovery sockets and the bootstrap file."""
    request_log: Path
    """File that gets a line for every request and connection; in a private directory."""
    gateway_names: tuple[str, ...]
    """Public names of the gateway; the first is canonical."""
    gateway: GatewayUpstream
    edge_domain: str
    """Parent of every socket's name."""
    edge_key: str = field(repr=False)
    """Proves to the gateway that a request came through this edge."""
    listen_address: str = "0.0.0.0"  # noqa: S104 - an edge serves the world
    https_port: int = 8443
    http_port: int = 8080
    public_https_port: int | None = None
    """HTTPS port as browsers see it, if something in front maps it; ``None``: ``https_port``."""
    trusted_hops: int = 0
    """How many proxies in front of the edge are ours; 0 trusts no ``x-forwarded-for``."""
    concurrency: int = 1
    """Envoy worker threads."""
    drain_seconds: int = 60
    """How long a TLS socket's old connections live on after its epoch changed."""
    connect_timeout: float = 5.0
    authorize_timeout: float = 10.0
    """Longest wait for the gateway's answer to ``ext_authz``."""
    request_headers_timeout: float = 15.0
    """Longest wait for a request's complete header (slow-client defence)."""
    handshake_timeout: float = 10.0
    stream_idle_timeout: float = 3600.0
    """A request or WebSocket without a byte for this long is closed; there is no other cap."""
    tcp_idle_timeout: float = 86400.0
    """The same for TCP and TLS sockets: an idle SSH session may stay a day."""
    keepalive_timeout: float = 600.0
    """Idle HTTP connections of clients."""
    origin_idle_timeout: float = 4.0
    """Idle HTTP connections to origins: below the 5 s after which common servers hang up."""
    max_connections: int = 50_000
    """Connections from clients at one time, over all sockets."""
    max_heap_bytes: int = 2 << 30
    """Memory of Envoy. From seven tenths of it on, streams that hold most are reset."""
    gateway_connections: int = 256
    """Connections to the gateway at one time, for its pages and for ``ext_authz`` each."""
    gateway_request_timeout: float = 30.0
    """Time for a request to the gateway's pages to arrive whole, besides that for its answer."""
    gateway_answer_timeout: float = 65.0
    """Longest time its answer may take."""
    gateway_idle_timeout: float = 60.0
    """Instead of that for replays: longest time without a byte of the answer."""
    gateway_stall_timeout: float = 65.0
    """Longest time without a byte of such a request or its answer, be it that the gateway says
    nothing or that the client takes nothing: a key in a token may take a minute to be made."""
    gateway_answer_bytes: int = 1 << 20
    """How much of an answer Envoy keeps for a client that does not take it; for what is longer it
    keeps a connection to the gateway. The largest list of addresses is 900 KB."""
    gateway_keep_timeout: float = 30.0
    """Longest time it keeps that once the gateway has said all: 1 MiB at 280 kbit/s."""
    gateway_streams: int = 32
    """Requests of one HTTP/2 connection at one time, each with an answer that may be kept."""
    gateway_body_bytes: int = 1 << 16
    """Largest body of such a request; it is passed on only when it is complete."""
    gateway_long_bodies: int = 16
    """Longer ones that are on their way at one time, of policies and lists; as many may wait. The
    gateway keeps each in memory, 12 MiB at most."""
    gateway_long_timeout: float = 300.0
    """Longest time one of those may take to arrive: 12 MiB do at 350 kbit/s."""
    session_cache_size: int = 10_000
    """Verified sessions remembered per worker, so that a signature is checked once."""

    @property
    def admin_socket(self) -> Path:
        return self.run_dir / "admin.sock"

    @property
    def discovery_socket(self) -> Path:
        return self.run_dir / "xds.sock"

    @property
    def bootstrap_path(self) -> Path:
        return self.run_dir / "bootstrap.json"

    @property
    def is_local(self) -> bool:
        """Whether the names are those of this machine alone (RFC 6761 §6.3)."""
        return self.edge_domain.rpartition(".")[2] == "localhost"

    @property
    def public_port_suffix(self) -> str:
        """``:8443``, or nothing for the port browsers leave out."""
        port = self.public_https_port or self.https_port
        return "" if port == 443 else f":{port}"
