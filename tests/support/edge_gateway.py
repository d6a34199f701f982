"""A small gateway for tests of the edge: feed, acknowledgements, certificates, reports.

It speaks the contract of ``docs/internals.md`` over a unix socket and decides nothing.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from proxy.feed import canonical, document
from proxy.state import EdgeState

HEARTBEAT = 2.0
EDGE_KEY = "edge-key-of-the-tests"


class SmallAuthority:
    """A CA that signs whatever it is asked for."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self.certificate = self._builder(self.name, self.key.public_key(), timedelta(days=1))
        self.root_pem = (
            self.certificate.add_extension(x509.BasicConstraints(True, None), critical=True)
            .sign(self.key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
            .decode()
        )

    def _builder(self, subject: x509.Name, key: Any, life: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + life)
        )

    def sign(self, csr_pem: str, names: list[str], life: timedelta = timedelta(hours=2)) -> str:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = self._builder(request.subject, request.public_key(), life)
        leaf = builder.add_extension(alternative, critical=False).sign(self.key, hashes.SHA256())
        return leaf.public_bytes(Encoding.PEM).decode() + self.root_pem


@dataclass
class GatewayStandIn:
    """What the edge sees, and what it said."""

    state: EdgeState
    names: list[str] = field(default_factory=lambda: ["gateway.localhost", "*.edge.localhost"])
    authority: SmallAuthority = field(default_factory=SmallAuthority)
    acks: list[int] = field(default_factory=list)
    late: list[list[str] | None] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    """As they came."""
    connected: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Tunnels by id, as the reports leave them."""
    old: bool = False
    """Takes whole reports alone."""
    feeds: list[int] = field(default_factory=list)
    certificates: int = 0
    certificate_life: timedelta = timedelta(hours=2)
    spoil_digest: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def publish(self, state: EdgeState) -> None:
        """Every connected edge gets ``state`` as a delta."""
        self.state = state
        await self.notify()

    async def until(self, condition: Any, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(condition)

    def snapshot(self) -> bytes:
        state = document(self.state)
        message = {
            "type": "snapshot",
            "revision": self.state.revision,
            "digest": self._digest(state),
            "state": state,
        }
        return json.dumps(message).encode() + b"\n"

    def delta(self, old: EdgeState) -> bytes:
        message = delta_message(old, self.state)
        message["digest"] = self._digest(document(self.state))
        return json.dumps(message).encode() + b"\n"

    def _digest(self, state: dict[str, Any]) -> str:
        if self.spoil_digest:
            return "0" * 64
        return hashlib.sha256(canonical(state)).hexdigest()

    async def lines(self, since: int) -> AsyncIterator[bytes]:
        sent = self.state
        if since != sent.revision:
            yield self.snapshot()
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT), self.changed:
                    while self.state is sent:
                        await self.changed.wait()
            except TimeoutError:
                yield b'{"type": "heartbeat", "revision": %d}\n' % sent.revision
            if self.state.revision > sent.revision:
                line, sent = self.delta(sent), self.state
                yield line

    def take_report(self, body: dict[str, Any]) -> int:
        """Keep a report and what it says; the status to answer with."""
        if self.old and "tunnels" not in body:
            return 400
        if "tunnels" in body:
            self.connected.clear()
        for tunnel in body.get("tunnels", body.get("changed", [])):
            self.connected[tunnel["tunnel_id"]] = tunnel
        for tunnel_id in body.get("gone", []):
            del self.connected[tunnel_id]
        self.reports.append(body)
        return 204

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def only_edges(request: Request, call_next: Any) -> Response:
            if request.headers.get("authorization") != f"Bearer {EDGE_KEY}":
                return Response(status_code=401)
            response: Response = await call_next(request)
            return response

        @app.get("/internal/feed")
        async def feed(since: int, edge: str) -> StreamingResponse:
            self.feeds.append(since)
            await self.notify()
            return StreamingResponse(self.lines(since), media_type="application/x-ndjson")

        @app.post("/internal/feed/ack")
        async def ack(request: Request) -> Response:
            body = await request.json()
            self.acks.append(body["revision"])
            self.late.append(body.get("late", []))
            await self.notify()
            return Response(status_code=204)

        @app.post("/internal/report")
        async def report(request: Request) -> Response:
            status = self.take_report(await request.json())
            await self.notify()
            return Response(status_code=status)

        @app.post("/internal/server-certificate")
        async def certificate(request: Request) -> dict[str, str]:
            self.certificates += 1
            csr = (await request.json())["csr"]
            chain = self.authority.sign(csr, self.names, self.certificate_life)
            await self.notify()
            return {"certificate_chain": chain, "not_after": "2027-01-01T00:00:00Z"}

        return app

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        """Answer on a unix socket; leaving the context is a gateway that is gone."""
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - a test's own loop
        config = uvicorn.Config(self.app(), uds=str(path), log_level="error", lifespan="off")
        config.timeout_graceful_shutdown = 0
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        ticker = asyncio.create_task(server.main_loop())
        try:
            yield
        finally:
            server.should_exit = True
            server.force_exit = True
            await ticker
            await server.shutdown()


def delta_message(old: EdgeState, new: EdgeState) -> dict[str, Any]:
    """The delta between two states, by comparison."""
    before, after = document(old), document(new)
    kinds = ("sockets", "tunnels", "tunnel_users")
    upsert = {
        kind: [item for key, item in after[kind].items() if before[kind].get(key) != item]
        for kind in kinds
    }
    remove = {kind: [key for key in before[kind] if key not in after[kind]] for kind in kinds}
    return {
        "type": "delta",
        "base": old.revision,
        "revision": new.revision,
        "digest": hashlib.sha256(canonical(after)).hexdigest(),
        "upsert": upsert,
        "remove": remove,
        "trust": after["trust"] if before["trust"] != after["trust"] else None,
    }
