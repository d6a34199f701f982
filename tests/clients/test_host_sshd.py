"""What reaches a server and its real sshd although the certificate that came with it is refused."""

import getpass
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.krl import Krl, RevokedByCa, parse_krl
from ca.formats.ssh_certificate import USER, encode_to_be_signed, parse_certificate_blob
from ca.formats.ssh_keys import blob_of, parse_key_line, sign_blob
from ca.formats.wire import string
from tests.clients.conftest import Ctl
from tests.clients.test_host import Key, Server, line_of, server_with
from tests.support.sshd import Sshd, make_host_key, running_sshd
from tests.support.wire_gateway import WireGateway

SERIAL = 4711


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody with a certificate of the socket's CA, and the server they log in at."""

    ca: ed25519.Ed25519PrivateKey
    key: Path
    server: Server
    sshd: Sshd

    def logs_in(self) -> bool:
        done = subprocess.run(
            [
                *("ssh", "-F", "none", "-i", self.key, "-p", str(self.sshd.port)),
                *("-o", f"CertificateFile={self.key}-cert.pub", "-o", "IdentitiesOnly=yes"),
                *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
                *("-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
                *(f"{self.sshd.login}@127.0.0.1", "true"),
            ],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"SSH_AUTH_SOCK": "/nowhere"},
            timeout=60,
            check=False,
        )
        return done.returncode == 0

    def is_revoked(self) -> None:
        """The gateway's next bundle says so, and brings a new certificate for the host."""
        gateway = self.server.gateway
        ca = blob_of(self.ca.public_key())
        named = (RevokedByCa.of_serials(ca, [SERIAL]),)
        gateway.number, gateway.krl = 6, Krl(number=6, certificates=named).encode()
        renewed = gateway.certificate(life=7200)
        gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)


def certified(ca: ed25519.Ed25519PrivateKey, key: Path) -> None:
    now = int(time.time())
    signed = encode_to_be_signed(
        key_blob=parse_key_line(" ".join(key.with_suffix(".pub").read_text().split()[:2])),
        nonce=os.urandom(32),
        serial=SERIAL,
        kind=USER,
        key_id=b"bob@example.com",
        principals=(b"mysocket_ssh_signed",),
        valid_after=now - 300,
        valid_before=now + 3600,
        critical_options=(),
        extensions=((b"permit-pty", b""),),
        signature_key=blob_of(ca.public_key()),
    )
    line = parse_certificate_blob(signed + string(sign_blob(ca, signed))).line
    key.with_name(f"{key.name}-cert.pub").write_text(f"{line}\n")


@pytest.fixture
def visitor(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Iterator[Visitor]:
    directory = tmp_path / "sshd"
    directory.mkdir()
    server = replace(server_with(ctl, gateway, tmp_path), host_key=directory / "host_key")
    make_host_key(server.host_key)
    ca, key = Key.generate(), tmp_path / "bob"
    server.gateway.user_cas = (line_of(ca),)
    make_host_key(key)
    certified(ca, key)
    assert server.enrol("--login", getpass.getuser()).returncode == 0
    with running_sshd(directory, [], [], [f"Include {server.files}/sshd.conf"]) as sshd:
        yield Visitor(ca=ca, key=key, server=server, sshd=sshd)


def test_a_log_that_proves_nothing_keeps_no_revocation_away(
    visitor: Visitor, gateway: WireGateway
) -> None:
    """The proof is for the certificate; what the bundle's key signed does not wait for it."""
    assert visitor.logs_in(), visitor.sshd.log()
    visitor.is_revoked()
    before = visitor.server.contents()

    def unproven(reply: Any) -> Any:
        return reply | {"log_proof": {"checkpoint": "made up"}} if "bundle" in reply else reply

    gateway.amend = unproven
    done = visitor.server.sync()

    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert b"the log's proof does not hold" in done.stderr
    assert not visitor.logs_in()
    assert "revoked" in visitor.sshd.log()
    found = visitor.server.contents()
    assert found["ssh_host_key-cert.pub"] == before["ssh_host_key-cert.pub"]


def test_nor_does_a_proof_that_is_demanded_and_does_not_come(visitor: Visitor) -> None:
    assert visitor.logs_in(), visitor.sshd.log()
    visitor.is_revoked()
    kept = visitor.server.files / "host.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"synced_at": 1_000_000_000}))

    directory = str(visitor.server.files)
    done = visitor.server.ctl.run("--require-log-proof", "host", "sync", "--directory", directory)

    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert b"did not prove" in done.stderr
    assert not visitor.logs_in()
    # Who watches the server hears of it: only what went well counts as news.
    assert b"s old" in visitor.server.status().stderr


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


def test_a_certificate_that_is_not_for_this_host_is_left_out_and_the_lists_are_not(
    server: Server,
) -> None:
    server.enrol()
    before = server.contents()
    for number, bad in enumerate(
        (
            server.gateway.certificate(line_of(Key.generate())),
            server.gateway.certificate(ca=Key.generate()),
            server.gateway.certificate(kind=USER),
            "x y",
        ),
        start=6,
    ):
        server.gateway.change = partial(replace, host_certificate=bad)
        server.gateway.number, server.gateway.krl = number, Krl(number=number).encode()
        server.gateway.user_cas = (line_of(Key.generate()),)
        done = server.sync()
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
        found = server.contents()
        assert parse_krl(found["revoked_keys"]).number == number
        assert found["user_ca_keys"].decode() == f"{server.gateway.user_cas[0]}\n"
        assert found["ssh_host_key-cert.pub"] == before["ssh_host_key-cert.pub"]
