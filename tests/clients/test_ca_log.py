"""``ca log`` and ``ca explain`` with a real gateway, and what is trusted of it."""

import base64
import json
import re
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.issuance_gateway import EMAIL, IssuingGateway
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.log_proof import InclusionProof, LogEntry
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.errors import (
    GatewayRefused,
    GatewayUnreachable,
    InvalidInput,
    LogNotTrusted,
    LogProofMissing,
)
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.settings import Settings
from idp_gateway.composition import build_gateway
from tests.clients.conftest import Ctl, Issue


def test_a_proof_is_checked_and_the_key_kept_from_then_on(
    settings: Settings, api: GatewayApi, issue: Issue
) -> None:
    answer, certificate = issue()
    trust = LogTrust(settings, api)
    trust.check(answer, kind="ssh", certificate=certificate.blob)
    assert stat.S_IMODE(trust.path.stat().st_mode) == 0o600
    kept = json.loads(trust.path.read_text())
    assert kept["key"] == str(trust.key)
    size = int(kept["checkpoint"].splitlines()[1])
    later, certificate = issue()
    LogTrust(settings, api).check(later, kind="ssh", certificate=certificate.blob)
    assert int(json.loads(trust.path.read_text())["checkpoint"].splitlines()[1]) > size


def test_an_older_proof_still_holds(settings: Settings, api: GatewayApi, issue: Issue) -> None:
    older, newer = issue(), issue()
    trust = LogTrust(settings, api)
    for answer, certificate in (newer, older, newer):
        trust.check(answer, kind="ssh", certificate=certificate.blob)


def test_a_proof_can_be_demanded(settings: Settings, api: GatewayApi) -> None:
    LogTrust(settings, api).check({}, kind="ssh", certificate=b"x")
    demanding = settings._replace(require_log_proof=True)
    with pytest.raises(LogProofMissing):
        LogTrust(demanding, api).check({"log_proof": None}, kind="ssh", certificate=b"x")


def test_a_proof_for_something_else_is_refused(
    settings: Settings, api: GatewayApi, issue: Issue
) -> None:
    (answer, certificate), (_, other) = issue(0), issue(1)
    wrong: list[tuple[Any, bytes]] = [
        (answer["log_proof"], other.blob),
        (answer["log_proof"] | {"index": answer["log_proof"]["index"] + 1}, certificate.blob),
        (answer["log_proof"] | {"checkpoint": "x"}, certificate.blob),
        ({}, certificate.blob),
        ("proof", certificate.blob),
    ]
    for document, blob in wrong:
        with pytest.raises(LogNotTrusted):
            LogTrust(settings, api).check({"log_proof": document}, kind="ssh", certificate=blob)


def test_a_key_that_was_named_is_the_only_one(
    settings: Settings, api: GatewayApi, issue: Issue
) -> None:
    answer, certificate = issue()
    key = api.get("/ca/log/key")["key"]
    right = settings._replace(log_key=key)
    LogTrust(right, api).check(answer, kind="ssh", certificate=certificate.blob)
    other = "gateway.localhost/ca/log+aa4e3a3c+AXHI6pOmlrf0VaYeIbgvLi8SmHUzDgOvLlTiPS1ErpQL"
    with pytest.raises((LogNotTrusted, InvalidInput)):
        LogTrust(settings._replace(log_key=other), api).check(
            answer, kind="ssh", certificate=certificate.blob
        )


def test_a_log_that_was_changed_shows(
    settings: Settings, api: GatewayApi, issue: Issue, issuing: IssuingGateway
) -> None:
    """A checkpoint the log did sign once, for a tree that is not the beginning of this one."""
    answer, certificate = issue()
    trust = LogTrust(settings, api)
    trust.check(answer, kind="ssh", certificate=certificate.blob)
    with closing(build_gateway(issuing.settings)) as gateway:
        forked = Checkpoint(origin=trust.key.origin, size=1, root=bytes(32))
        note = forked.sign(gateway.log._private)
    kept = json.loads(trust.path.read_text())
    trust.path.write_text(json.dumps(kept | {"checkpoint": note}))
    for look in (
        lambda: LogTrust(settings, api).advance(),
        lambda: LogTrust(settings, api).check(answer, kind="ssh", certificate=certificate.blob),
    ):
        with pytest.raises(LogNotTrusted, match="was changed"):
            look()
    assert json.loads(trust.path.read_text())["checkpoint"] == note


class Gateway(GatewayApi):
    """A gateway that changes some of its answers."""

    answers: dict[str, Any]

    def get(self, path: str, **more: Any) -> Any:
        for part, answer in self.answers.items():
            if part in path:
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return super().get(path, **more)


@pytest.fixture
def changing(settings: Settings) -> Iterator[Gateway]:
    with Gateway(settings) as gateway:
        gateway.answers = {}
        yield gateway


def kept_size(settings: Settings, api: GatewayApi) -> int:
    seen = LogTrust(settings, api).seen()
    assert seen is not None
    return seen.size


def test_a_slow_process_does_not_write_an_older_checkpoint_back(
    settings: Settings, api: GatewayApi, issue: Issue
) -> None:
    answer, certificate = issue()
    LogTrust(settings, api).check(answer, kind="ssh", certificate=certificate.blob)
    slow = LogTrust(settings, api)
    older, *_, newer = (issue() for _ in range(5))
    LogTrust(settings, api).check(newer[0], kind="ssh", certificate=newer[1].blob)
    size = kept_size(settings, api)
    slow.check(older[0], kind="ssh", certificate=older[1].blob)
    assert kept_size(settings, api) == size
    newest = issue()
    slow.check(newest[0], kind="ssh", certificate=newest[1].blob)
    assert kept_size(settings, api) == size + 1


def test_a_slow_process_takes_the_key_that_another_saw_first(
    settings: Settings, changing: Gateway
) -> None:
    slow, quick = LogTrust(settings, changing), LogTrust(settings, changing)
    right = quick.key
    other = LogKey(origin=right.origin, public=Ed25519PrivateKey.generate().public_key())
    changing.answers["/ca/log/key"] = {"key": str(other)}
    assert str(slow.key) == str(right)
    assert json.loads(slow.path.read_text())["key"] == str(right)


def test_two_slow_processes_do_not_keep_two_logs(
    settings: Settings, api: GatewayApi, issue: Issue, issuing: IssuingGateway
) -> None:
    """What another process kept since is compared with too."""
    answer, certificate = issue()
    slow = LogTrust(settings, api)
    assert slow.key
    with closing(build_gateway(issuing.settings)) as gateway:
        note = Checkpoint(origin=slow.key.origin, size=1, root=bytes(32)).sign(gateway.log._private)
    kept = json.loads(slow.path.read_text())
    slow.path.write_text(json.dumps(kept | {"checkpoint": note}))
    with pytest.raises(LogNotTrusted, match="was changed"):
        slow.check(answer, kind="ssh", certificate=certificate.blob)


def test_a_log_never_shrinks(settings: Settings, changing: Gateway, issue: Issue) -> None:
    stale = changing.get("/ca/log/checkpoint")
    issue()
    LogTrust(settings, changing).advance()
    size = kept_size(settings, changing)
    changing.answers["/ca/log/checkpoint"] = stale
    with pytest.raises(LogNotTrusted, match="shrank"):
        LogTrust(settings, changing).advance()
    assert kept_size(settings, changing) == size


REFUSED = [
    GatewayRefused("the log has no such sizes", status=404, reason="log-size-unknown"),
    GatewayRefused("Not Found", status=404),
    GatewayRefused("no", status=403),
    GatewayRefused("no such thing here", status=501),
]


@pytest.mark.parametrize("refusal", REFUSED, ids=str)
def test_a_log_that_does_not_show_its_growth_is_not_trusted(
    settings: Settings, changing: Gateway, issue: Issue, refusal: GatewayRefused
) -> None:
    answer, certificate = issue()
    LogTrust(settings, changing).check(answer, kind="ssh", certificate=certificate.blob)
    size = kept_size(settings, changing)
    later, certificate = issue()
    changing.answers["/ca/log/consistency"] = refusal
    trust = LogTrust(settings, changing)
    with pytest.raises(LogNotTrusted, match=f"backup, remove {re.escape(str(trust.path))}"):
        trust.verify(later["log_proof"], kind="ssh", certificate=certificate.blob)
    with pytest.raises(LogNotTrusted, match=refusal.reason):
        LogTrust(settings, changing).check(later, kind="ssh", certificate=certificate.blob)
    assert kept_size(settings, changing) == size


def test_a_log_that_was_rolled_back_or_forked_is_not_trusted(
    settings: Settings, changing: Gateway, issue: Issue, issuing: IssuingGateway
) -> None:
    """Whoever has the log's key shows a smaller tree with a certificate nobody else sees."""
    for _ in range(3):
        answer, certificate = issue()
        LogTrust(settings, changing).check(answer, kind="ssh", certificate=certificate.blob)
    trust = LogTrust(settings, changing)
    size = kept_size(settings, changing)
    changing.answers["/ca/log/consistency"] = REFUSED[0]
    hidden = LogEntry(kind="ssh", issued_at_ms=1, certificate=b"hidden")
    fork = Checkpoint(origin=trust.key.origin, size=1, root=hidden.leaf_hash())
    with closing(build_gateway(issuing.settings)) as gateway:
        note = fork.sign(gateway.log._private)
    proof = InclusionProof(index=0, issued_at_ms=1, hashes=(), checkpoint=note).to_json()
    for _ in range(2):
        with pytest.raises(LogNotTrusted):
            LogTrust(settings, changing).check(
                {"log_proof": proof}, kind="ssh", certificate=hidden.certificate
            )
    assert kept_size(settings, changing) == size
    # What the message says to do, once the operator has said why.
    trust.path.unlink()
    LogTrust(settings, changing).check(
        {"log_proof": proof}, kind="ssh", certificate=hidden.certificate
    )


def test_a_gateway_that_is_overloaded_is_borne_with_for_a_day(
    settings: Settings, changing: Gateway, issue: Issue
) -> None:
    answer, certificate = issue()
    LogTrust(settings, changing).check(answer, kind="ssh", certificate=certificate.blob)
    size = kept_size(settings, changing)
    later, certificate = issue()

    def check() -> None:
        LogTrust(settings, changing).check(later, kind="ssh", certificate=certificate.blob)

    for away in (
        GatewayUnreachable("no answer"),
        GatewayRefused("later", status=429),
        GatewayRefused("something went wrong here", status=500, reason="internal-error"),
        GatewayRefused("the database is full", status=503, reason="store-unavailable"),
        GatewayRefused("later", status=503),
    ):
        changing.answers["/ca/log/consistency"] = away
        check()
        with pytest.raises(type(away)):
            LogTrust(settings, changing).verify(
                later["log_proof"], kind="ssh", certificate=certificate.blob
            )
        assert kept_size(settings, changing) == size
    path = LogTrust(settings, changing).path
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"unchecked_since": str(int(time.time()) - 86_500)}))
    with pytest.raises(LogNotTrusted, match="more than a day"):
        check()
    changing.answers.clear()
    check()
    assert "unchecked_since" not in json.loads(path.read_text())
    changing.answers["/ca/log/consistency"] = GatewayUnreachable("no answer")
    later, certificate = issue()
    check()


def test_a_gateway_that_proved_once_has_to_go_on(
    settings: Settings, api: GatewayApi, issue: Issue
) -> None:
    LogTrust(settings, api).check({}, kind="ssh", certificate=b"x")
    answer, certificate = issue()
    LogTrust(settings, api).check(answer, kind="ssh", certificate=certificate.blob)
    for without in ({}, answer | {"log_proof": None}):
        with pytest.raises(LogProofMissing):
            LogTrust(settings, api).check(without, kind="ssh", certificate=certificate.blob)


@pytest.mark.parametrize("content", ["", "[]", '{"key": 1}', '{"key": "x"}', "\x00"])
def test_a_kept_file_that_makes_no_sense_is_an_error(
    settings: Settings, api: GatewayApi, content: str
) -> None:
    path = LogTrust(settings, api).path
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"log-.*\.json"):
        LogTrust(settings, api)


def test_the_owner_lists_searches_verifies_and_asks_why(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    answer, certificate = issue()
    file = tmp_path / "id-cert.pub"
    file.write_text(answer["signed_ssh_cert"] + "\n")
    listed = json.loads(owner.run("ca", "log", "list", "--json").stdout)
    assert listed[0]["serial"] == str(certificate.serial)
    for word in (str(certificate.serial), certificate.fingerprint, EMAIL):
        found = json.loads(owner.run("ca", "log", "search", word, "--json").stdout)
        assert str(certificate.serial) in {one["serial"] for one in found}, word
    shown = owner.run("ca", "log", "verify", str(file))
    assert shown.returncode == 0, shown.stderr
    for _ in range(2):
        grown = owner.run("ca", "log", "consistency", "--json")
        assert grown.returncode == 0, grown.stderr
    assert json.loads(grown.stdout)["before"] is not None
    why = json.loads(owner.run("ca", "explain", str(file), "--json").stdout)
    assert why["decision"]["reasons"] == ["email-allowed"]
    table = owner.run("ca", "explain", str(certificate.serial))
    assert b"email-allowed" in table.stdout


def test_one_that_is_not_in_the_log_does_not_verify(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    _, certificate = issue()
    blob = certificate.blob[:-1] + bytes([certificate.blob[-1] ^ 1])
    file = tmp_path / "id-cert.pub"
    file.write_text(f"{certificate.line.split()[0]} {base64.b64encode(blob).decode()}\n")
    for arguments in (("ca", "log", "verify"), ("ca", "explain")):
        done = owner.run(*arguments, str(file))
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("explain",), ("log", "verify")])
def test_a_certificate_of_no_version_is_one_line(
    owner: Ctl, tmp_path: Path, command: tuple[str, ...]
) -> None:
    key, name, now = Ed25519PrivateKey.generate(), x509.Name([]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now).sign(key, None)
    der = made.public_bytes(serialization.Encoding.DER)
    sixth = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020105"), 1)
    file = tmp_path / "odd.pem"
    body = base64.encodebytes(sixth).decode()
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    done = owner.run("ca", *command, str(file))
    assert done.returncode == 2
    assert b"neither an SSH certificate nor a PEM certificate" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconcile"],
        ["reconcile", "--sshd-log", "/nowhere"],
        ["explain", "/nowhere"],
        ["log", "verify", "/dev/null"],
        ["log", "list", "--limit", "0"],
    ],
)
def test_a_mistake_is_one_line(owner: Ctl, arguments: list[str]) -> None:
    done = owner.run("ca", *arguments)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_proof_in_an_answer_is_what_the_format_says(issue: Issue) -> None:
    answer, _ = issue()
    assert InclusionProof.from_json(answer["log_proof"]).to_json() == answer["log_proof"]


def test_a_revocation_says_how_many_certificates_it_took_back(
    owner: Ctl, issue: Issue, issuing: IssuingGateway
) -> None:
    """Last, for all of the socket's certificates end."""
    issue()
    with closing(build_gateway(issuing.settings)) as gateway:
        socket = gateway.store.find_socket_by_dns_name(issuing.dns_name)
    assert socket is not None
    where = ("--socket", socket.socket_id)
    listed = owner.run("ca", "log", "list", *where, "--json")
    assert json.loads(listed.stdout), listed.stderr
    slip = owner.run("ca", "revoke", *where, "--person", "nobody@lab.test", "--json")
    assert (slip.returncode, json.loads(slip.stdout)["certificates"]) == (0, 0)
    assert b"is it spelled right?" in slip.stderr
    everything = owner.run("ca", "revoke", *where, "--all")
    assert everything.returncode == 0, everything.stderr
    rows = dict(re.findall(r"(?m)^\| (\w+) +\| (.*?) +\|$", everything.stdout.decode()))
    assert int(rows["certificates"]) > 0
    assert "value" not in rows
