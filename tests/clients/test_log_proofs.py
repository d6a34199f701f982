"""Commands that are given certificates: with proofs demanded, what is not proved is not kept."""

import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.errors import LogNotTrusted, LogProofMissing
from clients.mysocketctl.settings import read_settings
from clients.mysocketctl.tunnels import TunnelConnection, TunnelTarget
from tests.clients.conftest import DNS_NAME, Ctl
from tests.clients.test_client_tls import echo
from tests.clients.test_host import SOCKET_ID, Server, server_with
from tests.support.wire_gateway import USER_ID, WireGateway, api_token, running_edge
from tests.support.wire_log import Proofs, WireLog

KEYSIGN = ("client", "ssh-keysign", "--host", DNS_NAME)
TLS = ("client", "tls", "--host", DNS_NAME)
DEMANDED = {"MYSOCKET_REQUIRE_LOG_PROOF": "TRUE"}
SAID = {"absent": b"did not prove", "wrong": b"does not hold"}


@pytest.fixture(params=["absent", "wrong", "right"])
def log(request: pytest.FixtureRequest, gateway: WireGateway) -> WireLog:
    proofs: Proofs = request.param
    made = WireLog(proofs)
    made.serve(gateway)
    return made


def check(log: WireLog, done: subprocess.CompletedProcess[bytes], kept: Path) -> None:
    """Only a right proof gets the command through, and only then a certificate is kept."""
    good = log.proofs == "right"
    assert (done.returncode == 0, kept.exists()) == (good, good), done
    if not good:
        assert SAID[log.proofs] in done.stderr.splitlines()[-1]
        assert b"Traceback" not in done.stderr


def test_a_login_certificate(ctl: Ctl, log: WireLog) -> None:
    kept = ctl.home / ".ssh" / f"{DNS_NAME}-cert.pub"
    check(log, ctl.run("--require-log-proof", *KEYSIGN, SSH_AUTH_SOCK="/nowhere"), kept)
    assert (ctl.home / ".ssh" / DNS_NAME).exists() == kept.exists()


def test_a_client_certificate(
    ctl: Ctl, gateway: WireGateway, edge_context: ssl.SSLContext, log: WireLog
) -> None:
    with running_edge(edge_context, echo) as gateway.socket_port:
        done = ctl.run("--require-log-proof", *TLS)
    check(log, done, ctl.home / ".mysocketio" / f"{DNS_NAME}.crt")


def test_without_the_demand_only_a_wrong_proof_is_refused(
    ctl: Ctl, gateway: WireGateway, edge_context: ssl.SSLContext, log: WireLog
) -> None:
    with running_edge(edge_context, echo) as gateway.socket_port:
        for command in (KEYSIGN, TLS):
            done = ctl.run(*command, SSH_AUTH_SOCK="/nowhere")
            assert (done.returncode == 0) == (log.proofs != "wrong"), done


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path, log: WireLog) -> Server:
    return server_with(ctl, gateway, tmp_path)


def test_a_hosts_first_certificate(server: Server, log: WireLog) -> None:
    enrol = ("host", "enrol", "--socket", SOCKET_ID, "--directory", str(server.files))
    done = server.ctl.run("--require-log-proof", *enrol, "--host-key", str(server.host_key))
    check(log, done, server.files / "ssh_host_key-cert.pub")
    assert (server.files / "host.json").exists() == (log.proofs == "right")


def test_a_hosts_renewed_certificate(server: Server, log: WireLog) -> None:
    proofs, log.proofs = log.proofs, "right"
    assert server.enrol().returncode == 0
    log.proofs = proofs
    before = server.contents()
    renewed = server.gateway.certificate(life=7200)
    server.gateway.number = 6
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)
    sync = ("host", "sync", "--directory", str(server.files))
    done = server.ctl.run(*sync, **DEMANDED)
    assert (done.returncode == 0) == (proofs == "right"), done
    if proofs == "right":
        assert server.contents()["ssh_host_key-cert.pub"].decode().strip() == renewed
    else:
        assert SAID[proofs] in done.stderr.splitlines()[-1]
        assert server.contents()["ssh_host_key-cert.pub"] == before["ssh_host_key-cert.pub"]
        # The lists, which the bundle's signature vouches for, are installed all the same.
        assert b'"number": 6' in server.contents()["host.json"]


def test_a_tunnels_certificate(ctl: Ctl, gateway: WireGateway, log: WireLog) -> None:
    gateway.tunnel = {"tunnel_server": "tunnel.localhost", "local_port": 4711}
    kept = ctl.home / ".mysocket" / "tunnel_t-1-cert.pub"
    settings = read_settings({**ctl.environment, **DEMANDED})
    target = TunnelTarget(socket_id="s-1", tunnel_id="t-1", host="127.0.0.1", port=1)
    with GatewayApi(settings, api_token=api_token()) as api:
        connection = TunnelConnection(settings, api, target, USER_ID)
        if log.proofs == "right":
            assert connection.plan().certificate == kept
        else:
            with pytest.raises((LogProofMissing, LogNotTrusted)):
                connection.plan()
    assert kept.exists() == (log.proofs == "right")
