"""A small gateway and edge for the clients' tests: real HTTPS and TLS in threads, nothing decided.

Speaks as much of the API as the clients use, and certifies what it is asked to certify.
"""

import contextlib
import json
import re
import secrets
import socket
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from ca.formats.ssh_certificate import USER, encode_to_be_signed, parse_certificate_blob
from ca.formats.ssh_keys import blob_of, parse_key_line, sign_blob
from ca.formats.sshsig import verify_sshsig
from ca.formats.wire import string

USER_ID = "01234567-89ab-cdef-0123-456789abcdef"
EMAIL = "alice@example.com"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    """A root that signs servers and clients alike."""

    def __init__(self, directory: Path, name: str = "test root") -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=10))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = directory / f"{name.replace(' ', '-')}.pem"
        self.pem.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, public_key: Any, name: str, names: list[str], life: timedelta = timedelta(minutes=5)
    ) -> str:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + life)
        )
        if names:
            sans = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
            builder = builder.add_extension(sans, critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def server_context(self, *names: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        stem = self.directory / secrets.token_hex(4)
        certificate, private = stem.with_suffix(".crt"), stem.with_suffix(".key")
        certificate.write_text(self.issue(key.public_key(), names[0], list(names)))
        private.write_bytes(_pem_key(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, private)
        return context


def jwt(**claims: Any) -> str:
    """An unsigned token; clients verify nothing."""
    parts = [{"alg": "none"}, claims]
    coded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return f"{coded[0]}.{coded[1]}.c2ln"


def api_token(life: float = 3600) -> str:
    ends = int(datetime.now(UTC).timestamp() + life)
    return jwt(user_id=USER_ID, user_email=EMAIL, exp=ends)


@dataclass(slots=True)
class WireGateway:
    """One gateway; tests read what it was asked and change what it answers."""

    authority: Authority
    client_authority: Authority
    socket_port: int = 0
    certificate_life: timedelta = timedelta(minutes=5)
    token_life: float = 3600
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    sockets: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """``"METHOD path"`` → status and body to answer instead."""
    unsent: int = 0
    """How many bytes more are announced than are sent: as of an answer that is cut off."""
    in_force: bool = True
    """What answers to changes say of the edges."""
    pending_polls: int = 1
    tokens: set[str] = field(default_factory=set)
    ssh_ca: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    tunnel: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    more: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = field(default_factory=dict)
    """Further calls a test answers itself, as in ``_ROUTES``."""
    amend: Callable[[Any], Any] = lambda reply: reply
    """What is done to an answer before it is sent."""
    nonces: set[str] = field(default_factory=set)
    """Challenges given out and not yet answered."""
    server: ThreadingHTTPServer | None = None

    @property
    def base(self) -> str:
        assert self.server is not None
        return f"https://gateway.localhost:{self.server.server_address[1]}"

    def asked(self, method: str, path: str) -> int:
        return sum(1 for entry in self.requests if entry[:2] == (method, path))

    def client_token(self, dns_name: str) -> str:
        ends = int(datetime.now(UTC).timestamp() + self.token_life)
        token = jwt(
            user_id=USER_ID,
            user_email=EMAIL,
            socket_dns=dns_name,
            socket_port=self.socket_port,
            exp=ends,
            jti=secrets.token_hex(4),
        )
        self.tokens.add(token)
        return token

    def answer(self, method: str, target: str, body: Any, token: str) -> tuple[int, Any]:
        path = urlsplit(target).path
        self.requests.append((method, path, body))
        if refused := self.refuse.get(f"{method} {path}"):
            return refused
        for (verb, pattern), route in (_ROUTES | self.more).items():
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                status, reply = route(self, body, token, *found.groups())
                return status, self.amend(reply)
        return 404, _problem(404, "not-found", "There is no such thing.")

    def sign_ssh(self, line: str, principals: list[str]) -> str:
        now = int(datetime.now(UTC).timestamp())
        signed = encode_to_be_signed(
            key_blob=parse_key_line(line),
            nonce=secrets.token_bytes(32),
            serial=secrets.randbits(63) + 1,
            kind=USER,
            key_id=EMAIL.encode(),
            principals=[one.encode() for one in principals],
            valid_after=now - 300,
            valid_before=now + int(self.certificate_life.total_seconds()),
            critical_options=(),
            extensions=((b"permit-port-forwarding", b""), (b"permit-pty", b"")),
            signature_key=blob_of(self.ssh_ca.public_key()),
        )
        return parse_certificate_blob(signed + string(sign_blob(self.ssh_ca, signed))).line


def _problem(status: int, reason: str, detail: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "detail": detail, "error_message": detail}


def _login(_gateway: WireGateway, body: Any, _token: str) -> tuple[int, Any]:
    if body != {"email": EMAIL, "password": "correct horse"}:
        return 401, _problem(401, "login-failed", "Wrong address or password.")
    return 200, {"token": api_token(), "require_mfa": False}


def _create(gateway: WireGateway, body: Any, _token: str) -> tuple[int, Any]:
    made = {
        "socket_id": f"s-{len(gateway.sockets) + 1}",
        "dnsname": "calm-otter-4711.edge.localhost",
        "socket_tcp_ports": [80, 443],
        "cloud_authentication_enabled": False,
        "user_name": USER_ID.replace("-", ""),
        "tunnels": [gateway.tunnel] if gateway.tunnel else [],
        "ssh_ca": "ssh-ed25519 AAAAC3Nza",
        **body,
    }
    gateway.sockets[made["socket_id"]] = made
    return 200, made


def _one(gateway: WireGateway, _body: Any, _token: str, socket_id: str) -> tuple[int, Any]:
    found = gateway.sockets.get(socket_id)
    return (200, found) if found else (404, _problem(404, "socket-unknown", "No such socket."))


def _change(gateway: WireGateway, body: Any, _token: str, socket_id: str) -> tuple[int, Any]:
    gateway.sockets[socket_id] |= body
    return 200, gateway.sockets[socket_id]


def _delete(gateway: WireGateway, _body: Any, _token: str, socket_id: str) -> tuple[int, Any]:
    gateway.sockets.pop(socket_id, None)
    return 204, None


def _csr(gateway: WireGateway, body: Any, token: str, dns_name: str) -> tuple[int, Any]:
    if token not in gateway.tokens:
        return 401, _problem(401, "token-refused", "Log in again.")
    request = x509.load_pem_x509_csr(body["csr"].encode())
    life = gateway.certificate_life
    pem = gateway.client_authority.issue(request.public_key(), dns_name, [], life)
    return 200, {"client_certificate": pem}


def _challenge(gateway: WireGateway, _body: Any, token: str, dns_name: str) -> tuple[int, Any]:
    if token not in gateway.tokens:
        return 401, _problem(401, "token-refused", "Log in again.")
    nonce = f"{dns_name}:{secrets.token_hex(8)}"
    gateway.nonces.add(nonce)
    return 200, {"nonce": nonce, "expires_in": 120}


def _ssh(gateway: WireGateway, body: Any, token: str, _dns_name: str) -> tuple[int, Any]:
    if token not in gateway.tokens:
        return 401, _problem(401, "token-refused", "Log in again.")
    if body["nonce"] not in gateway.nonces:
        return 400, _problem(400, "key-proof-invalid", "No such challenge.")
    gateway.nonces.remove(body["nonce"])
    prover = verify_sshsig(body["proof"], body["nonce"].encode(), "ssh-certificate@mysocket.io")
    assert prover.line == " ".join(body["ssh_public_key"].split(" ")[:2])
    line = gateway.sign_ssh(body["ssh_public_key"], [EMAIL, "mysocket_ssh_signed"])
    return 200, {"signed_ssh_cert": line}


def _signkey(
    gateway: WireGateway, body: Any, _token: str, _socket_id: str, _tunnel_id: str
) -> tuple[int, Any]:
    line = gateway.sign_ssh(body["ssh_public_key"], [USER_ID.replace("-", "")])
    return 200, {"signed_ssh_cert": line}


def _grant_token(gateway: WireGateway, body: Any, _token: str) -> tuple[int, Any]:
    if body["grant_type"] == "authorization_code":
        challenge = gateway.codes.pop(body["code"], None)
        digest = sha256(body["code_verifier"].encode()).digest()
        if challenge != urlsafe_b64encode(digest).rstrip(b"=").decode():
            return 400, {"error": "invalid_grant", "error_description": "Wrong code."}
    elif gateway.pending_polls:
        gateway.pending_polls -= 1
        return 400, {"error": "authorization_pending"}
    dns_name = body.get("resource", "").removeprefix("https://")
    token = gateway.client_token(dns_name) if dns_name else api_token()
    return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}


def _offer_device(gateway: WireGateway, _body: Any, _token: str) -> tuple[int, Any]:
    return 200, {
        "device_code": "d" * 32,
        "user_code": "BCDF-GHJK",
        "verification_uri": f"{gateway.base}/device",
        "expires_in": 30,
        "interval": 1,
    }


_ROUTES: dict[tuple[str, str], Callable[..., tuple[int, Any]]] = {
    ("POST", "/login"): _login,
    ("POST", "/login/refresh"): lambda *_: (200, {"token": api_token(7200)}),
    ("POST", "/user"): lambda *_: (200, {"user_id": USER_ID, "email_verified": False}),
    ("GET", r"/user/[^/]+"): lambda *_: (
        200,
        {"name": "Alice", "email": EMAIL, "user_id": USER_ID, "sshkey": "", "user_name": "x"},
    ),
    ("GET", "/socket"): lambda gateway, *_: (200, list(gateway.sockets.values())),
    ("POST", "/socket"): _create,
    ("POST", "/connect"): _create,
    ("GET", r"/socket/([^/]+)"): _one,
    ("PUT", r"/socket/([^/]+)"): _change,
    ("DELETE", r"/socket/([^/]+)"): _delete,
    ("GET", r"/socket/[^/]+/tunnel"): lambda gateway, *_: (200, [gateway.tunnel]),
    ("POST", r"/socket/[^/]+/tunnel"): lambda gateway, *_: (200, gateway.tunnel),
    ("GET", r"/socket/[^/]+/tunnel/[^/]+"): lambda gateway, *_: (200, gateway.tunnel),
    ("DELETE", r"/socket/[^/]+/tunnel/[^/]+"): lambda *_: (204, None),
    ("POST", r"/socket/([^/]+)/tunnel/([^/]+)/signkey"): _signkey,
    ("POST", r"/mtls-ca/socket/([^/]+)/csr"): _csr,
    ("POST", r"/mtls-ca/socket/([^/]+)/ssh-challenge"): _challenge,
    ("POST", r"/mtls-ca/socket/([^/]+)/ssh"): _ssh,
    ("POST", "/oauth/token"): _grant_token,
    ("POST", "/oauth/device_authorization"): _offer_device,
    ("GET", "/audit/decisions"): lambda *_: (
        200,
        [{"at": "2026-11-23T12:00:00Z", "effect": "deny", "reasons": ["not-on-list"]}],
    ),
}


def _request_class(gateway: WireGateway) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        timeout = 20

        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            target = urlsplit(self.path)
            if target.path == "/oauth/authorize":
                self._authorize(parse_qs(target.query))
                return
            status, answer = gateway.answer(
                self.command, self.path, self._body(raw), self.headers.get("x-access-token", "")
            )
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header(
                "content-length", str(0 if status == 204 else len(content) + gateway.unsent)
            )
            if self.command != "GET":
                self.send_header("x-mysocket-in-force", str(gateway.in_force).lower())
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        def _body(self, raw: bytes) -> Any:
            if "urlencoded" in (self.headers.get("content-type") or ""):
                return {name: values[0] for name, values in parse_qs(raw.decode()).items()}
            return json.loads(raw) if raw else None

        def _authorize(self, query: dict[str, list[str]]) -> None:
            """The person is always signed in, and agrees."""
            code = secrets.token_hex(8)
            gateway.codes[code] = query["code_challenge"][0]
            back = urlencode({"code": code, "state": query["state"][0]})
            self.send_response(302)
            self.send_header("location", f"{query['redirect_uri'][0]}?{back}")
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Request


@contextlib.contextmanager
def running_gateway(gateway: WireGateway) -> Iterator[WireGateway]:
    """Serve ``gateway`` over HTTPS until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _request_class(gateway))
    server.daemon_threads = True
    context = gateway.authority.server_context("gateway.localhost")
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    gateway.server = server
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def running_edge(context: ssl.SSLContext, serve: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """A TLS server; ``serve`` gets each connection whose handshake succeeded. Yields its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def carry(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            # As Envoy does: with Nagle's algorithm a cut would take bytes along that wait for an
            # acknowledgement, and no client could have read them.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wrapped = context.wrap_socket(connection, server_side=True)
            with wrapped:
                serve(wrapped)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = listening.accept()
                connection.settimeout(20)
                threading.Thread(target=carry, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
