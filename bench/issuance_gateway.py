"""A gateway on one core, with a socket, somebody logged in, and keys to be certified."""

import contextlib
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from bench.load import PROXY_CORE, pin
from ca.formats.ssh_keys import blob_of, parse_key_blob
from ca.formats.sshsig import make_sshsig
from idp_gateway import sessions
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.key_proofs import NAMESPACE, ProofPlace, challenge
from idp_gateway.publishing import create_socket
from idp_gateway.records import AccountRecord
from idp_gateway.schemas.sockets import NewSocketForm
from idp_gateway.settings import Settings
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity, SocketType
from tests.support.processes import Process, free_port, running

EMAIL = "alice@example.com"
_CONFIGURED = (
    "state_dir",
    "listen_socket",
    "listen_address",
    "database_url",
    "certificates_per_person",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certifiable:
    """A body that asks for a certificate, ready to be sent."""

    line: str
    nonce: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuingGateway:
    """A gateway process and what a load generator needs to use it."""

    process: Process
    port: int
    dns_name: str
    token: str
    keys: tuple[Certifiable, ...]
    settings: Settings


@contextlib.contextmanager
def issuing_gateway(
    directory: Path, *, database_url: str = "", keys: int = 64
) -> Iterator[IssuingGateway]:
    """Start it on the first core; the load comes from another."""
    port = free_port()
    state = directory / "state"
    settings = Settings(
        state_dir=state,
        listen_socket=directory / "gateway.sock",
        listen_address=f"127.0.0.1:{port}",
        certificates_per_person=1_000_000,  # one person asks for all there is
        database_url=database_url or f"sqlite:///{state / 'gateway.db'}",
    )
    with contextlib.closing(build_gateway(settings)) as gateway:
        dns_name, token, certifiable = _prepare(gateway, keys)
    config = directory / "gateway.toml"
    named = {name: str(getattr(settings, name)) for name in _CONFIGURED}
    config.write_text("".join(f'{name} = "{value}"\n' for name, value in named.items()))
    command = [sys.executable, "-m", "idp_gateway", "serve", "--config", config]
    with running(Process(*command, log=directory / "gateway.log")) as process:
        process.wait_for_port(port)
        pin([process.pid], PROXY_CORE)
        yield IssuingGateway(
            process=process,
            port=port,
            dns_name=dns_name,
            token=token,
            keys=certifiable,
            settings=settings,
        )


def _prepare(gateway: Gateway, keys: int) -> tuple[str, str, tuple[Certifiable, ...]]:
    now = gateway.clock()
    account = AccountRecord(
        account_id=str(uuid.uuid4()),
        email="owner@example.com",
        email_verified=True,
        name="Owner",
        password_hash="",
        ssh_key="",
        created_at=now,
    )
    gateway.store.add_account(account)
    form = NewSocketForm(
        name="bench",
        socket_type=SocketType.TLS,
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[EMAIL],
    )
    socket = create_socket(gateway, account, form)
    identity = Identity(
        issuer="https://idp.example.com",
        subject="alice",
        email=EmailAddress.parse(EMAIL),
        name="Alice",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=now,
    )
    _, session = sessions.begin_session(gateway.store, identity, life=timedelta(hours=8), now=now)
    token = gateway.tokens.client_token(
        subject="alice",
        email=EMAIL,
        dns_name=socket.dns_name,
        port=socket.port or 0,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    place = ProofPlace(session_id=session.session_id, dns_name=socket.dns_name)
    nonce = challenge(gateway.signer, place, now=now)
    return socket.dns_name, token, tuple(_certifiable(nonce) for _ in range(keys))


def _certifiable(nonce: str) -> Certifiable:
    private = ed25519.Ed25519PrivateKey.generate()
    return Certifiable(
        line=parse_key_blob(blob_of(private.public_key())).line,
        nonce=nonce,
        proof=make_sshsig(private, nonce.encode(), NAMESPACE),
    )
