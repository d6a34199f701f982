"""One real Envoy with its discovery server, a stub gateway, and origins on unix sockets."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from policy.types import SocketType
from proxy.envoy.access_log import FlowRecord, parse_record
from proxy.envoy.admin import reopen_logs
from proxy.envoy.build import build
from proxy.envoy.discovery import DiscoveryServer
from proxy.envoy.request_file import RequestFile
from proxy.envoy.resources import Resources
from proxy.envoy.settings import EnvoySettings, GatewayUpstream
from proxy.envoy.supervisor import EnvoySupervisor
from proxy.envoy.tls import ServerCertificate
from proxy.state import EdgeSocket, EdgeState, Trust
from tests.support.certificates import Authority
from tests.support.processes import free_port
from tests.support.tiny_http import Answer, Message, Pair, TinyServer, read_message, request_bytes

GATEWAY = "gateway.localhost"
DOMAIN = "edge.localhost"
ISSUER = "https://gateway.localhost:8443"
EDGE_KEY = "edge-key-with-a-%-sign"
COOKIE = "__Host-mysocket"


def a_socket(name: str, **changes: Any) -> EdgeSocket:
    """An HTTP socket for identities, unless told otherwise; its id is its name."""
    socket = EdgeSocket(
        socket_id=name,
        dns_name=f"{name}.{DOMAIN}",
        name=name,
        socket_type=SocketType.HTTP,
        ports=(),
        epoch=1,
        identity_required=True,
    )
    return replace(socket, **changes)


def a_trust(session_key: ECKey, client_ca: str) -> Trust:
    jwk = session_key.as_dict(private=False) | {"kid": "s1", "alg": "ES256", "use": "sig"}
    jwks = {"keys": [jwk]}
    return Trust(issuer=ISSUER, session_jwks=jwks, client_ca=client_ca, tunnel_user_ca=())


@dataclass(slots=True)
class Edge:
    """The running whole. ``sockets`` and ``endpoints`` become real with ``apply``."""

    folder: Path
    settings: EnvoySettings
    authority: Authority
    session_key: ECKey
    certificate: ServerCertificate
    gateway: TinyServer
    discovery: DiscoveryServer
    supervisor: EnvoySupervisor
    log: RequestFile
    records: AsyncIterator[FlowRecord]
    sockets: dict[str, EdgeSocket] = field(default_factory=dict)
    endpoints: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, TinyServer] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    """The stub gateway's answers to ext_authz by host; 404 for others."""
    revision: int = 0
    resources: Resources | None = None

    @property
    def state(self) -> EdgeState:
        trust = a_trust(self.session_key, self.authority.pem)
        return EdgeState(
            revision=self.revision, trust=trust, sockets=MappingProxyType(dict(self.sockets))
        )

    async def apply(self) -> None:
        """Publish the present state and wait until Envoy has it."""
        self.revision += 1
        self.resources = build(self.state, self.endpoints, self.settings, self.certificate)
        self.discovery.publish(self.resources, self.revision)
        await self.discovery.wait_acked(self.revision, 10)

    async def origin(self, name: str, **options: Any) -> TinyServer:
        path = self.folder / f"{name}.sock"
        server = await TinyServer(path=path, answer=options.pop("answer", echo), **options).start()
        self.origins[name] = server
        return server

    async def add(self, socket: EdgeSocket, **origin: Any) -> TinyServer:
        """Publish a socket with one origin of its own, at its next free endpoint."""
        server = await self.origin(socket.socket_id, **origin)
        self.sockets[socket.socket_id] = socket
        self.endpoints[socket.socket_id] = (str(server.path),)
        await self.apply()
        return server

    def session(self, name: str, **claims: Any) -> str:
        """A ``Cookie`` value with a session for a socket, valid unless ``claims`` spoil it."""
        now = int(time.time())
        base = {
            "iss": ISSUER,
            "aud": f"{name}.{DOMAIN}",
            "iat": now,
            "nbf": now - 300,
            "exp": now + 300,
            "epoch": self.sockets[name].epoch if name in self.sockets else 1,
            "email": "alice@example.com",
            "name": "Alice Ångström",
            "asrt": "a.signed.assertion",
        }
        key = claims.pop("key", self.session_key)
        content = {name: value for name, value in (base | claims).items() if value is not None}
        token = jwt.encode({"alg": "ES256", "kid": "s1", "typ": "session+jwt"}, content, key)
        return f"{COOKIE}={token}"

    def client_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.pem)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    async def connect(
        self, host: str, port: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1",
            port or self.settings.https_port,
            ssl=self.client_tls(),
            server_hostname=host,
        )

    async def get(
        self,
        name: str,
        target: str = "/",
        *headers: Pair,
        host: str | None = None,
        sni: str | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> Message:
        """One request on a connection of its own, with exactly these headers."""
        full = name if "." in name else f"{name}.{DOMAIN}"
        reader, writer = await self.connect(sni or full)
        try:
            writer.write(request_bytes(host or full, target, headers, method, body))
            async with asyncio.timeout(15):
                return await read_message(reader)
        finally:
            writer.close()

    async def record(self) -> FlowRecord:
        async with asyncio.timeout(5):
            return await anext(self.records)

    def authorize(self, request: Message) -> Answer:
        host = request.one("host") or ""
        assert request.one("x-mysocket-edge-key") == EDGE_KEY
        if not request.target.startswith("/internal/authorize/"):
            return echo(request)
        return self.answers.get(host, Answer(status=404, body=b"unknown host"))


async def _records(log: RequestFile) -> AsyncIterator[FlowRecord]:
    async for lines in log.follow():
        for line in lines.splitlines():
            yield parse_record(line)


def echo(request: Message) -> Answer:
    """Tell what arrived; switch protocols if asked to."""
    if request.one("upgrade"):
        return Answer(status=101, headers=(("upgrade", "websocket"), ("connection", "Upgrade")))
    import json  # noqa: PLC0415 - shadowed nowhere else

    seen = {"start": request.start, "headers": request.headers, "body": request.body.decode()}
    return Answer(headers=(("content-type", "application/json"),), body=json.dumps(seen).encode())


def seen_headers(response: Message) -> dict[str, list[str]]:
    """The header the origin saw, by lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


@asynccontextmanager
async def running_edge(
    folder: Path, *, log_limit: int = 1 << 20, **changes: Any
) -> AsyncIterator[Edge]:
    """Start everything, hand it over, stop everything."""
    authority = Authority.new()
    run = folder / "run"
    run.mkdir(mode=0o700)
    settings = EnvoySettings(
        run_dir=run,
        request_log=folder / "requests.jsonl",
        gateway_names=(GATEWAY,),
        gateway=GatewayUpstream(unix_path=folder / "gateway.sock"),
        edge_domain=DOMAIN,
        edge_key=EDGE_KEY,
        listen_address="127.0.0.1",
        https_port=free_port(),
        http_port=free_port(),
        drain_seconds=2,
    )
    settings = replace(settings, **changes)
    log = RequestFile(
        settings.request_log,
        limit=log_limit,
        keep=2,
        reopen=lambda: reopen_logs(settings.admin_socket),
    )
    edge = Edge(
        folder=folder,
        settings=settings,
        authority=authority,
        session_key=ECKey.generate_key("P-256"),
        certificate=authority.server(GATEWAY, f"*.{DOMAIN}"),
        gateway=TinyServer(path=folder / "gateway.sock", answer=lambda request: Answer()),
        discovery=DiscoveryServer(settings.discovery_socket, retry_seconds=0.2),
        supervisor=EnvoySupervisor(settings),
        log=log,
        records=_records(log),
    )
    edge.gateway.answer = edge.authorize
    await edge.gateway.start()
    await edge.discovery.start()
    running = asyncio.create_task(edge.supervisor.run())
    try:
        await edge.apply()
        await edge.supervisor.wait_ready(10)
        assert not running.done()
        yield edge
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await edge.discovery.stop()
        for server in (edge.gateway, *edge.origins.values()):
            await server.stop()


def spellings(name: str) -> Sequence[str]:
    """Ways to write a header that some origin takes for ``name``."""
    parts = name.split("-")
    title = "-".join(part.title() for part in parts)
    marks = ("_", ".", "~", "!", "+", "|", "^", "$", "'")
    return (
        name,
        title,
        name.upper(),
        *(mark.join(parts) for mark in marks),
        "x-" + "_".join(parts[1:]),
        "x_" + "-".join(parts[1:]),
    )
