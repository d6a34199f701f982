"""A gateway, an edge and a person's home directory for the clients."""

import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.issuance_gateway import IssuingGateway, issuing_gateway
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.settings import Settings, read_settings
from idp_gateway import sessions
from idp_gateway.composition import build_gateway
from idp_gateway.providers.local import local_identity
from idp_gateway.tokens import API_TOKEN_LIFE
from tests.support import warm
from tests.support.wire_gateway import Authority, WireGateway, api_token, running_gateway

ROOT = Path(__file__).resolve().parents[2]
DNS_NAME = "calm-otter-4711.edge.localhost"

_BROWSER = """
import os, ssl, sys, urllib.request, urllib.error
context = ssl.create_default_context(cafile=os.environ["MYSOCKET_CA_FILE"])
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args): return None
opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=context))
url = sys.argv[1].replace("gateway.localhost", "127.0.0.1")
context.check_hostname = False
try:
    opener.open(url)
except urllib.error.HTTPError as answer:
    urllib.request.urlopen(answer.headers["location"]).read()
"""


PROGRAM = (sys.executable, "-m", "clients.mysocketctl")


@dataclass(frozen=True, slots=True)
class Ctl:
    """``mysocketctl`` with a home directory of its own."""

    home: Path
    environment: Mapping[str, str]
    program: tuple[str, ...] = PROGRAM

    def run(
        self, *arguments: str, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {**self.environment, **more}
        if self.program == PROGRAM and len(stdin) <= warm.MOST_STDIN:
            return warm.run(PROGRAM[-1], arguments, env=environment, stdin=stdin)
        return subprocess.run(
            [*self.program, *arguments],
            env=environment,
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.program, *arguments],
            env={**self.environment, **more},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def log_in(self) -> None:
        (self.home / ".mysocketio_token").write_text(api_token() + "\n")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def client_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "client root")


@pytest.fixture
def gateway(authority: Authority, client_authority: Authority) -> Iterator[WireGateway]:
    with running_gateway(WireGateway(authority, client_authority)) as running:
        yield running


@pytest.fixture
def ctl(gateway: WireGateway, authority: Authority, tmp_path: Path) -> Ctl:
    home = tmp_path / "home"
    home.mkdir()
    browser = tmp_path / "browser.py"
    browser.write_text(_BROWSER)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MYSOCKET_API": gateway.base,
        "MYSOCKET_CA_FILE": str(authority.pem),
        "BROWSER": f"{sys.executable} {browser}",
    }
    return Ctl(home, environment)


@pytest.fixture
def edge_context(authority: Authority, client_authority: Authority) -> ssl.SSLContext:
    """An edge that demands a client certificate of the client authority."""
    context = authority.server_context("*.edge.localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_authority.pem)
    return context


@contextmanager
def running_agent(environment: dict[str, str] | None = None) -> Iterator[str]:
    """A running ssh-agent; its socket."""
    started = subprocess.run(
        ["ssh-agent", "-s"],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    sock, pid = re.findall(r"SSH_(?:AUTH_SOCK|AGENT_PID)=([^;]+);", started.stdout)
    try:
        yield sock
    finally:
        os.kill(int(pid), signal.SIGTERM)


@pytest.fixture
def agent() -> Iterator[str]:
    with running_agent() as path:
        yield path


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuingGateway]:
    with issuing_gateway(tmp_path_factory.mktemp("gateway"), keys=4) as running:
        yield running


@pytest.fixture
def settings(issuing: IssuingGateway, tmp_path: Path) -> Settings:
    return read_settings({"HOME": str(tmp_path)}, api_url=f"http://127.0.0.1:{issuing.port}")


@pytest.fixture
def api(settings: Settings) -> Iterator[GatewayApi]:
    with GatewayApi(settings) as api:
        yield api


class Issue:
    """Asks for certificates as somebody the socket admits."""

    def __init__(self, api: GatewayApi, issuing: IssuingGateway) -> None:
        self._api, self._issuing = api, issuing

    def __call__(self, number: int = 0) -> tuple[dict[str, Any], SshCertificate]:
        answer: dict[str, Any] = self._api.post(
            f"/mtls-ca/socket/{self._issuing.dns_name}/ssh",
            {"ssh_public_key": self._issuing.keys[number].line},
            token=self._issuing.token,
        )
        return answer, parse_certificate_line(answer["signed_ssh_cert"])


@pytest.fixture
def issue(api: GatewayApi, issuing: IssuingGateway) -> Issue:
    return Issue(api, issuing)


@pytest.fixture
def owner(issuing: IssuingGateway, settings: Settings) -> Ctl:
    """``mysocketctl`` of the socket's owner."""
    with closing(build_gateway(issuing.settings)) as gateway:
        account = gateway.store.find_account_by_email("owner@example.com")
        assert account is not None
        now = gateway.clock()
        identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        token = gateway.tokens.api_token(
            account_id=account.account_id,
            email=account.email,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )
    (settings.home / ".mysocketio_token").write_text(token + "\n")
    environment = {"HOME": str(settings.home), "MYSOCKET_API": settings.api_url}
    return Ctl(settings.home, environment)
