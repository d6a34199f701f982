"""``host enrol``, ``sync`` and ``status``: what is installed, and everything that is not."""

import json
import os
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.host_messages import (
    BUNDLE_NAMESPACE,
    ENROL_NAMESPACE,
    SYNC_NAMESPACE,
    Bundle,
    EnrolStatement,
    SyncStatement,
)
from ca.formats.krl import Krl, RevokedByCa, parse_krl
from ca.formats.ssh_certificate import HOST, encode_to_be_signed, parse_certificate_blob
from ca.formats.ssh_keys import blob_of, parse_key_blob, parse_key_line, sign_blob
from ca.formats.sshsig import make_sshsig, verify_sshsig
from ca.formats.wire import string
from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.sshd import make_host_key
from tests.support.wire_gateway import WireGateway

Key = ed25519.Ed25519PrivateKey
SOCKET_ID = "5f0c4a5e-8a0e-4d5c-9a57-6d6f1d2a3b4c"
HOST_ID = "c7d1a0f2-0b59-4be4-8a4e-1f4f2f9d7e10"


def line_of(key: Key) -> str:
    return parse_key_blob(blob_of(key.public_key())).line


@dataclass(slots=True)
class HostGateway:
    """The gateway's side for one host; tests change what it says."""

    host_ca: Key = field(default_factory=Key.generate)
    bundle_key: Key = field(default_factory=Key.generate)
    user_cas: tuple[str, ...] = field(default_factory=lambda: (line_of(Key.generate()),))
    number: int = 5
    krl: bytes = field(default_factory=lambda: Krl(number=5).encode())
    life: int = 3600
    dns_name: str = DNS_NAME
    host_key: str = ""
    questions: list[SyncStatement] = field(default_factory=list)
    change: Callable[[Bundle], Bundle] = lambda bundle: bundle
    forge: Callable[[str, str], tuple[str, str]] = lambda text, signature: (text, signature)

    def certificate(
        self, key: str = "", *, ca: Key | None = None, kind: str = HOST, life: int | None = None
    ) -> str:
        ca = ca or self.host_ca
        now = int(time.time())
        signed = encode_to_be_signed(
            key_blob=parse_key_line(key or self.host_key),
            nonce=os.urandom(32),
            serial=int.from_bytes(os.urandom(7)) + 1,
            kind=kind,
            key_id=HOST_ID.encode(),
            principals=(DNS_NAME.encode(),),
            valid_after=now - 300,
            valid_before=now + (self.life if life is None else life),
            critical_options=(),
            extensions=(),
            signature_key=blob_of(ca.public_key()),
        )
        return parse_certificate_blob(signed + string(sign_blob(ca, signed))).line

    def enrol(self, _gateway: WireGateway, body: Any, token: str) -> tuple[int, Any]:
        assert token
        statement = EnrolStatement(
            socket_id=SOCKET_ID,
            host_key=body["host_key"],
            principals=tuple(body["principals"]),
            at=body["at"],
        )
        prover = verify_sshsig(body["proof"], statement.signed, ENROL_NAMESPACE)
        assert prover.line == body["host_key"]
        self.host_key = body["host_key"]
        return 200, {
            "host_id": HOST_ID,
            "dns_name": self.dns_name,
            "host_certificate": self.certificate(),
            "bundle_key": line_of(self.bundle_key),
            "not_after": "2026-11-23T12:00:00Z",
        }

    def sync(self, _gateway: WireGateway, body: Any, token: str) -> tuple[int, Any]:
        assert not token
        signature = body.pop("signature")
        statement = SyncStatement(**body | {"trusted_cas": tuple(body["trusted_cas"])})
        assert verify_sshsig(signature, statement.signed, SYNC_NAMESPACE).line == self.host_key
        self.questions.append(statement)
        bundle = self.change(
            Bundle(
                host_id=HOST_ID,
                dns_name=DNS_NAME,
                nonce=statement.nonce,
                number=self.number,
                issued_at=int(time.time()),
                krl=self.krl,
                user_cas=self.user_cas,
                host_cas=(line_of(self.host_ca),),
            )
        )
        text = bundle.encode()
        signed = make_sshsig(self.bundle_key, text.encode(), BUNDLE_NAMESPACE)
        text, signed = self.forge(text, signed)
        return 200, {"bundle": text, "signature": signed}


@dataclass(slots=True)
class Server:
    """A machine with a host key, and its directory for sshd."""

    ctl: Ctl
    gateway: HostGateway
    files: Path
    host_key: Path

    def enrol(self, *more: str) -> subprocess.CompletedProcess[bytes]:
        return self.ctl.run(
            *("host", "enrol", "--socket", SOCKET_ID, "--directory", str(self.files)),
            *("--host-key", str(self.host_key), *more),
        )

    def sync(self, *more: str) -> subprocess.CompletedProcess[bytes]:
        return self.ctl.run("host", "sync", "--directory", str(self.files), *more)

    def status(self, *more: str) -> subprocess.CompletedProcess[bytes]:
        return self.ctl.run("host", "status", "--directory", str(self.files), *more)

    def contents(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.files)): path.read_bytes()
            for path in self.files.rglob("*")
            if path.is_file()
        }


def server_with(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    """A server whose gateway answers for it."""
    host_key = tmp_path / "ssh_host_key"
    make_host_key(host_key)
    ctl.log_in()
    hosts = HostGateway()
    gateway.more["POST", f"/socket/{SOCKET_ID}/host"] = hosts.enrol
    gateway.more["POST", "/hosts/sync"] = hosts.sync
    return Server(ctl, hosts, tmp_path / "etc" / "mysocket", host_key)


@pytest.fixture
def server(ctl: Ctl, gateway: WireGateway, tmp_path: Path) -> Server:
    return server_with(ctl, gateway, tmp_path)


def test_enrolling_writes_what_sshd_needs(server: Server) -> None:
    done = server.enrol("--login", "deploy", "--name", "db1")

    assert done.returncode == 0, done.stderr
    found = server.contents()
    assert found["user_ca_keys"].decode().split("\n")[:-1] == list(server.gateway.user_cas)
    assert parse_krl(found["revoked_keys"]) == Krl(number=5)
    assert found["principals/deploy"] == b"mysocket_ssh_signed\n"
    assert found["known_hosts"].decode() == (
        f"@cert-authority {DNS_NAME},*.{DNS_NAME},{DNS_NAME}.mysocket-dummy "
        f"{line_of(server.gateway.host_ca)}\n"
    )
    for name in ("user_ca_keys", "revoked_keys", "ssh_host_key-cert.pub"):
        assert f"{server.files}/{name}".encode() in found["sshd.conf"]
        assert stat.S_IMODE((server.files / name).stat().st_mode) == 0o644
    assert stat.S_IMODE((server.files / "host.json").stat().st_mode) == 0o600
    assert found["known_hosts"] in done.stdout
    assert not [name for name in found if name.startswith(".")]


def test_sshd_accepts_the_files(server: Server, tmp_path: Path) -> None:
    server.enrol("--login", "deploy")
    config = tmp_path / "sshd_config"
    config.write_text(f"HostKey {server.host_key}\nInclude {server.files}/sshd.conf\n")
    Path("/run/sshd").mkdir(exist_ok=True)

    done = subprocess.run(
        ["/usr/sbin/sshd", "-T", "-f", config], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"revokedkeys {server.files}/revoked_keys" in done.stdout
    assert f"hostcertificate {server.files}/ssh_host_key-cert.pub" in done.stdout


def test_news_are_installed_and_acknowledged_at_once(server: Server) -> None:
    server.enrol()
    old, new = server.gateway.user_cas, line_of(Key.generate())
    server.gateway.user_cas = (*old, new)
    server.gateway.number = 6
    revoked = Krl(number=6, certificates=(RevokedByCa.of_serials(b"", [77]),))
    server.gateway.krl = revoked.encode()
    server.gateway.questions.clear()

    done = server.sync()

    assert done.returncode == 0, done.stderr
    assert parse_krl(server.contents()["revoked_keys"]) == revoked
    assert server.contents()["user_ca_keys"].decode() == f"{old[0]}\n{new}\n"
    fingerprints = tuple(parse_key_line(line).fingerprint for line in (*old, new))
    assert [one.trusted_cas for one in server.gateway.questions] == [fingerprints[:1], fingerprints]
    assert [one.number for one in server.gateway.questions] == [5, 6]


def test_nothing_new_is_one_question(server: Server) -> None:
    server.enrol()
    server.gateway.questions.clear()

    server.sync()
    server.sync()

    assert len(server.gateway.questions) == 2
    assert server.gateway.questions[0].nonce != server.gateway.questions[1].nonce


def test_a_renewed_certificate_is_installed_and_sshd_told(server: Server, tmp_path: Path) -> None:
    server.enrol()
    renewed = server.gateway.certificate(life=7200)
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)
    told = tmp_path / "told"

    first = server.sync("--on-renewal", f"touch {told}")
    assert first.returncode == 0, first.stderr
    assert server.contents()["ssh_host_key-cert.pub"].decode() == f"{renewed}\n"
    assert told.exists()
    told.unlink()
    server.gateway.change = lambda bundle: bundle
    assert server.sync("--on-renewal", f"touch {told}").returncode == 0
    assert not told.exists()


@pytest.mark.parametrize("command", ["false", "/nonexistent/program", "'unclosed"])
def test_a_command_that_fails_is_said(command: str, server: Server) -> None:
    server.enrol()
    renewed = server.gateway.certificate(life=7200)
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=renewed)

    done = server.sync("--on-renewal", command)

    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert server.contents()["ssh_host_key-cert.pub"].decode() == f"{renewed}\n"


def other_krl(bundle: Bundle) -> Bundle:
    return replace(bundle, krl=bundle.krl[:-1])


BAD_BUNDLES: dict[str, Callable[[Bundle], Bundle]] = {
    "another host's": lambda bundle: replace(bundle, host_id=SOCKET_ID),
    "another question's": lambda bundle: replace(bundle, nonce="0" * 32),
    "another socket's": lambda bundle: replace(bundle, dns_name=f"other.{DNS_NAME}"),
    "an older number": lambda bundle: replace(bundle, number=4),
    "an older time": lambda bundle: replace(bundle, issued_at=5),
    "a cut-off KRL": other_krl,
    "no KRL": lambda bundle: replace(bundle, krl=b""),
    "a list of keys for a KRL": lambda bundle: replace(bundle, krl=b"ssh-ed25519 AAAA\n"),
    "no CA": lambda bundle: replace(bundle, user_cas=()),
    "a CA that is no key": lambda bundle: replace(bundle, user_cas=("ssh-ed25519 AAAA",)),
    "options before a CA": lambda bundle: replace(
        bundle, user_cas=(f"cert-authority {bundle.user_cas[0]}",)
    ),
    "a host CA that is no key": lambda bundle: replace(bundle, host_cas=("* AAAA",)),
}


def test_a_bundle_that_does_not_hold_changes_nothing(server: Server) -> None:
    server.enrol()
    before = server.contents()
    server.gateway.krl = Krl(number=9, keys=(b"k",)).encode()

    for what, change in BAD_BUNDLES.items():
        server.gateway.change = change
        done = server.sync()
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), (what, done)
        assert server.contents() == before, what


FORGERIES: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "another signer": lambda text, _: (
        text,
        make_sshsig(Key.generate(), text.encode(), BUNDLE_NAMESPACE),
    ),
    "another text": lambda text, signature: (text.replace('"number":5', '"number":6'), signature),
    "no signature": lambda text, _: (text, ""),
    "not ASCII": lambda text, signature: (f"{text}\u00e9", signature),
    "half a surrogate": lambda text, signature: (f"{text}\ud800", signature),
}


def test_a_forged_bundle_changes_nothing(server: Server) -> None:
    server.enrol()
    before = server.contents()

    for what, forge in FORGERIES.items():
        server.gateway.forge = forge
        done = server.sync()
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), (what, done)
        assert server.contents() == before, what


def test_a_bundle_signed_for_another_purpose_changes_nothing(server: Server) -> None:
    server.enrol()
    before = server.contents()
    key = server.gateway.bundle_key
    server.gateway.forge = lambda text, _: (text, make_sshsig(key, text.encode(), "file"))

    assert server.sync().returncode == 1
    assert server.contents() == before


def test_the_same_answer_again_is_refused(server: Server) -> None:
    server.enrol()
    kept: list[tuple[str, str]] = []

    def replay(text: str, signature: str) -> tuple[str, str]:
        kept.append((text, signature))
        return kept[0]

    server.gateway.forge = replay

    assert server.sync().returncode == 0
    assert server.sync().returncode == 1


def test_an_answer_that_is_none_changes_nothing(server: Server, gateway: WireGateway) -> None:
    server.enrol()
    before = server.contents()
    for answer in (b"", b"[]", b'{"bundle": 5, "signature": ""}', b"{", b"null"):
        gateway.refuse["POST /hosts/sync"] = (200, answer)
        done = server.sync()
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done
    assert server.contents() == before


def test_a_host_that_has_to_enrol_again_is_told_and_still_up_to_date(server: Server) -> None:
    server.enrol()
    server.gateway.number = 8
    server.gateway.change = lambda bundle: replace(bundle, enrol_again=True)

    done = server.sync()

    assert done.returncode == 1
    assert b"run: mysocketctl host enrol" in done.stderr
    assert json.loads(server.contents()["host.json"])["number"] == 8


def test_status_says_what_sshd_goes_by(server: Server) -> None:
    server.enrol()
    server.gateway.krl = Krl(certificates=(RevokedByCa.of_serials(b"", [7, 8, 99]),)).encode()
    server.sync()

    done = server.status("--json")

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["revoked_certificates"] == 3
    assert facts["bundle"] == 5
    assert facts["dns_name"] == DNS_NAME
    assert len(facts["trusted_cas"]) == 1


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        ("no list", b"sshd refuses everybody"),
        ("broken list", b"sshd refuses everybody"),
        ("no certificate", b"no readable host certificate"),
        ("expired", b"has expired"),
        ("no CA", b"no user CA"),
        ("old news", b"s old"),
    ],
)
def test_status_fails_when_something_is_wrong(breakage: str, said: bytes, server: Server) -> None:
    if breakage == "expired":
        server.gateway.life = -10
    server.enrol()
    files = server.files
    if breakage == "no list":
        (files / "revoked_keys").unlink()
    elif breakage == "broken list":
        (files / "revoked_keys").write_bytes(b"SSHKRL\n\0")
    elif breakage == "no certificate":
        (files / "ssh_host_key-cert.pub").unlink()
    elif breakage == "no CA":
        (files / "user_ca_keys").unlink()
    elif breakage == "old news":
        state = json.loads((files / "host.json").read_text())
        (files / "host.json").write_text(json.dumps(state | {"synced_at": 1_000_000_000}))

    done = server.status()

    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_broken_state_is_one_line(server: Server) -> None:
    server.enrol()
    for content in ("", "{}", "[", '{"gateway": 5}', "[" * 50_000):
        (server.files / "host.json").write_text(content)
        done = server.sync()
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), (content[:20], done)
    done = server.status()
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done


def test_a_directory_without_an_enrolment(server: Server) -> None:
    done = server.sync()

    assert done.returncode == 2
    assert b"run: mysocketctl host enrol" in done.stderr
    assert not server.files.exists()


@pytest.mark.parametrize("broken", ["missing", "public", "garbage", "password", "directory"])
def test_a_host_key_that_cannot_sign(broken: str, server: Server, tmp_path: Path) -> None:
    key = tmp_path / "key"
    if broken == "public":
        key = server.host_key.with_suffix(".pub")
    elif broken == "garbage":
        key.write_bytes(b"\xff" * 100)
    elif broken == "password":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    elif broken == "directory":
        key.mkdir()
    server.host_key = key

    done = server.enrol()

    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done
    assert not server.files.exists()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_every_kind_of_host_key(kind: str, server: Server, tmp_path: Path) -> None:
    server.host_key = tmp_path / "other_key"
    make_host_key(server.host_key, kind)

    assert server.enrol().returncode == 0
    assert server.sync().returncode == 0


def test_a_refused_enrolment_leaves_nothing(server: Server, gateway: WireGateway) -> None:
    problem = {"status": 404, "reason": "socket-unknown", "detail": "no such socket"}
    gateway.refuse[f"POST /socket/{SOCKET_ID}/host"] = (404, json.dumps(problem).encode())

    done = server.enrol()

    assert (done.returncode, done.stderr) == (1, b"mysocketctl: no such socket (socket-unknown)\n")
    assert not server.files.exists()


def test_two_at_once_do_not_mix(server: Server) -> None:
    server.enrol()
    renewals = [server.gateway.certificate(life=7200 + number) for number in range(4)]
    remaining = list(renewals)
    server.gateway.change = lambda bundle: replace(bundle, host_certificate=remaining.pop())

    started = [server.ctl.start("host", "sync", "--directory", str(server.files)) for _ in range(4)]
    codes = []
    for process in started:
        process.communicate(timeout=60)
        codes.append(process.returncode)

    assert codes == [0, 0, 0, 0]
    assert server.contents()["ssh_host_key-cert.pub"].decode().strip() in renewals
    assert not [name for name in server.contents() if name.startswith(".")]
