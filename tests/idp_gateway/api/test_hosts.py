"""Enrolled hosts over the API: names, proofs, bundles, renewal, and who may do what."""

import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats.host_messages import (
    BUNDLE_NAMESPACE,
    ENROL_NAMESPACE,
    SYNC_NAMESPACE,
    Bundle,
    EnrolStatement,
    SyncStatement,
    parse_bundle,
)
from ca.formats.krl import parse_krl
from ca.formats.ssh_certificate import HOST, parse_certificate_line, verify
from ca.formats.ssh_keys import PrivateKey, blob_of, parse_key_blob, parse_key_line
from ca.formats.sshsig import make_sshsig, verify_sshsig
from idp_gateway.ca_generations import SSH_HOST
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict
from idp_gateway.records import RevocationRecord, RevocationScope
from idp_gateway.rotation import GivenUp, Step
from tests.idp_gateway.api.conftest import Person, both_databases
from tests.idp_gateway.conftest import FixedClock

TRUSTED = "SHA256:" + "a" * 43


@dataclass(slots=True)
class Server:
    """A host with a key of its own."""

    api: httpx.Client
    clock: FixedClock
    socket: dict[str, Any]
    key: PrivateKey
    host_id: str = ""
    certificate: str = ""
    bundle_key: str = ""

    @property
    def line(self) -> str:
        return parse_key_blob(blob_of(self.key.public_key())).line

    def now(self) -> int:
        return int(self.clock().timestamp())

    def enrol(self, owner: Person, **changes: Any) -> httpx.Response:
        proved = {
            "socket_id": self.socket["socket_id"],
            "host_key": self.line,
            "principals": (),
            "at": self.now(),
        }
        proved |= changes.pop("proved", {})
        signer = changes.pop("signer", self.key)
        namespace = changes.pop("namespace", ENROL_NAMESPACE)
        body = {
            "name": "db1",
            "host_key": self.line,
            "principals": list(proved["principals"]),
            "at": proved["at"],
            "proof": make_sshsig(signer, EnrolStatement(**proved).signed, namespace),
        }
        path = f"/socket/{self.socket['socket_id']}/host"
        reply = owner.call("POST", path, json=body | changes)
        if reply.status_code == 200:
            self.host_id = reply.json()["host_id"]
            self.certificate = reply.json()["host_certificate"]
            self.bundle_key = reply.json()["bundle_key"]
        return reply

    def question(self, **changes: Any) -> dict[str, Any]:
        signer = changes.pop("signer", self.key)
        namespace = changes.pop("namespace", SYNC_NAMESPACE)
        said = {
            "host_id": self.host_id,
            "nonce": secrets.token_hex(16),
            "at": self.now(),
            "number": 0,
            "trusted_cas": (TRUSTED,),
            "certificate": self.certificate,
        } | changes.pop("said", {})
        signature = make_sshsig(signer, SyncStatement(**said).signed, namespace)
        body = said | {"trusted_cas": list(said["trusted_cas"]), "signature": signature}
        return body | changes

    def ask(self, **changes: Any) -> httpx.Response:
        return self.api.post("/hosts/sync", json=self.question(**changes))

    def bundle(self, **changes: Any) -> Bundle:
        reply = self.ask(**changes)
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        signer = verify_sshsig(answer["signature"], answer["bundle"].encode(), BUNDLE_NAMESPACE)
        assert signer.blob == parse_key_line(self.bundle_key).blob
        return parse_bundle(answer["bundle"])


@pytest.fixture
def server(api: httpx.Client, clock: FixedClock, tls_socket: dict[str, Any]) -> Server:
    return Server(api, clock, tls_socket, ed25519.Ed25519PrivateKey.generate())


@both_databases
def test_an_enrolled_host_gets_a_certificate_under_the_sockets_name(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    reply = server.enrol(owner)

    assert reply.status_code == 200, reply.text
    found = parse_certificate_line(server.certificate)
    verify(found)
    dns_name = server.socket["dnsname"].encode()
    assert found.kind == HOST
    assert found.principals == (dns_name, dns_name + b".mysocket-dummy")
    assert found.key_blob.blob == blob_of(server.key.public_key())
    assert found.critical_options == ()
    trusted = {parse_key_line(line).blob for line in gateway.authority.host_ca_lines}
    assert found.signature_key in trusted
    record = gateway.store.find_certificate(str(found.serial))
    assert record is not None
    assert record.log_index is not None


@both_databases
def test_the_bundle_says_whom_to_trust_and_answers_one_question(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    server.enrol(owner)
    nonce = secrets.token_hex(16)

    bundle = server.bundle(said={"nonce": nonce})

    assert bundle.nonce == nonce
    assert bundle.host_id == server.host_id
    assert bundle.dns_name == server.socket["dnsname"]
    assert bundle.user_cas == gateway.authority.trusted_user_cas(server.socket["socket_id"])
    assert bundle.host_cas == gateway.authority.host_ca_lines
    assert parse_krl(bundle.krl).is_empty
    assert bundle.host_certificate == ""
    assert not bundle.enrol_again


@both_databases
def test_the_gateway_remembers_what_a_host_has_installed(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    server.enrol(owner)
    clock.advance(minutes=1)

    server.bundle(said={"number": 12})
    server.bundle(said={"number": 3})

    path = f"/socket/{server.socket['socket_id']}/host"
    (listed,) = owner.call("GET", path).json()
    assert listed["trusted_cas"] == [TRUSTED]
    assert listed["synced_number"] == 12
    assert listed["seen_at"] > listed["enrolled_at"]


@both_databases
def test_the_number_grows_with_what_is_revoked(owner: Person, server: Server) -> None:
    server.enrol(owner)
    before = server.bundle()

    path = f"/socket/{server.socket['socket_id']}/revocation"
    owner.call("POST", path, json={"scope": "person", "value": "alice@lab.test"})

    assert server.bundle().number > before.number


def test_a_certificate_is_renewed_in_the_second_half_of_its_life(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    server.enrol(owner)
    first = parse_certificate_line(server.certificate)
    half = (first.valid_before - first.valid_after) / 2
    clock.advance(seconds=half - 600)
    assert server.bundle().host_certificate == ""
    clock.advance(seconds=1200)

    renewed = server.bundle().host_certificate

    found = parse_certificate_line(renewed)
    assert found.serial != first.serial
    assert found.valid_before > first.valid_before
    assert found.principals == first.principals
    server.certificate = renewed
    assert server.bundle().host_certificate == ""


def test_a_revoked_host_key_is_not_enrolled_again(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    server.enrol(owner)
    stolen = parse_certificate_line(server.certificate).fingerprint
    socket_id = server.socket["socket_id"]
    owner.call("POST", f"/socket/{socket_id}/revocation", json={"scope": "key", "value": stolen})

    again = server.enrol(owner)

    assert (again.status_code, again.json()["reason"]) == (403, "key-revoked")
    assert len(gateway.store.certificates_of(socket_id)) == 1
    assert server.bundle().enrol_again


def test_a_renewed_certificate_is_sent_until_the_host_shows_it(
    owner: Person, server: Server, clock: FixedClock, gateway: Gateway
) -> None:
    server.enrol(owner)
    clock.advance(days=10)
    socket_id = server.socket["socket_id"]

    sent = {server.bundle().host_certificate for _ in range(3)}

    assert len(sent) == 1
    assert len(gateway.store.certificates_of(socket_id)) == 2
    serial = str(parse_certificate_line(*sent).serial)
    socket = gateway.store.find_socket(socket_id)
    assert socket is not None
    revocation = RevocationRecord(
        revocation_id="1",
        socket_id=socket_id,
        scope=RevocationScope.SERIAL,
        value=serial,
        reason="",
        created_by="owner",
        created_at=clock(),
    )
    gateway.store.add_revocation(socket.account_id, revocation)
    assert server.bundle().host_certificate not in {*sent, ""}


def test_a_certificate_under_former_names_is_not_sent_again(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    server.enrol(owner)
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(SSH_HOST, step, GivenUp(by_hand=True))
    server.bundle()
    socket = gateway.store.find_socket(server.socket["socket_id"])
    host = gateway.store.find_host(server.host_id)
    assert socket is not None
    assert host is not None
    name = f"db1.{socket.dns_name}"
    gateway.store.keep_host(socket.account_id, replace(host, principals=(name,)))

    sent = parse_certificate_line(server.bundle().host_certificate)

    assert sent.principals == (name.encode(),)


def test_a_host_ca_drains_until_its_hosts_have_renewed(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    server.enrol(owner)
    by_hand = GivenUp(by_hand=True)
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(SSH_HOST, step, by_hand)

    def awaited() -> list[str]:
        return [one.name for one in gateway.rotation.standing(SSH_HOST).awaited]

    assert awaited() == ["db1"]
    server.ask()
    # Its answer may have been lost: the host still shows the old one.
    renewed = server.bundle().host_certificate
    assert awaited() == ["db1"]
    with pytest.raises(Conflict):
        gateway.rotation.take(SSH_HOST, Step.RETIRE)

    server.certificate = renewed
    assert server.bundle().host_certificate == ""

    assert awaited() == []
    gateway.rotation.take(SSH_HOST, Step.RETIRE)


def test_an_enrolment_whose_answer_was_lost_does_not_count_as_moved(
    owner: Person, server: Server, gateway: Gateway
) -> None:
    server.enrol(owner)
    old = server.certificate
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(SSH_HOST, step, GivenUp(by_hand=True))
    server.enrol(owner)
    enrolled, server.certificate = server.certificate, old

    assert server.bundle().host_certificate == enrolled

    assert [one.name for one in gateway.rotation.standing(SSH_HOST).awaited] == ["db1"]


def test_a_certificate_that_has_expired_is_not_renewed(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    server.enrol(owner)
    clock.advance(days=40)

    bundle = server.bundle()

    assert bundle.enrol_again
    assert bundle.host_certificate == ""
    assert bundle.user_cas


def test_a_revoked_host_certificate_is_not_renewed(
    owner: Person, server: Server, clock: FixedClock
) -> None:
    server.enrol(owner)
    serial = parse_certificate_line(server.certificate).serial
    path = f"/socket/{server.socket['socket_id']}/revocation"
    owner.call("POST", path, json={"scope": "serial", "value": str(serial)})
    clock.advance(days=10)

    assert server.bundle().enrol_again


@both_databases
def test_enrolling_again_keeps_the_id(owner: Person, server: Server) -> None:
    server.enrol(owner)
    first, certificate = server.host_id, server.certificate
    server.enrol(owner, name="renamed")

    path = f"/socket/{server.socket['socket_id']}/host"
    assert server.host_id == first
    assert server.certificate == certificate
    assert [one["name"] for one in owner.call("GET", path).json()] == ["renamed"]


def test_a_new_host_key_is_told_to_enrol_again(owner: Person, server: Server) -> None:
    server.enrol(owner)

    reply = server.ask(signer=ed25519.Ed25519PrivateKey.generate())

    assert (reply.status_code, reply.json()["reason"]) == (403, "host-key-changed")


@both_databases
def test_a_removed_host_is_told_so_and_its_certificates_are_revoked(
    owner: Person, server: Server, stranger: Person
) -> None:
    server.enrol(owner)
    path = f"/socket/{server.socket['socket_id']}/host/{server.host_id}"
    assert stranger.call("DELETE", path).status_code == 404

    assert owner.call("DELETE", path).status_code == 204

    reply = server.ask()
    assert (reply.status_code, reply.json()["reason"]) == (403, "host-removed")
    assert owner.call("DELETE", path).status_code == 404
    krl = parse_krl(server.api.get(f"/ssh/{server.socket['dnsname']}/krl").content)
    shown = parse_certificate_line(server.certificate)
    assert krl.revokes_certificate(
        ca=shown.signature_key,
        serial=shown.serial,
        key_id=shown.key_id,
        subject=shown.key_blob.blob,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signer": ed25519.Ed25519PrivateKey.generate()}, "key-proof-invalid"),
        ({"namespace": "file"}, "key-proof-invalid"),
        ({"namespace": SYNC_NAMESPACE}, "key-proof-invalid"),
        ({"proof": "nonsense"}, "key-proof-invalid"),
        ({"at": 5}, "host-clock-off"),
        ({"proved": {"socket_id": "another"}}, "key-proof-invalid"),
        ({"principals": ["google.com"]}, "principal-not-own"),
        ({"principals": ["*.edge.localhost"]}, "input-invalid"),
        ({"host_key": "ssh-ed25519 AAAA"}, "key-malformed"),
        ({"host_key": "x" * 20_000}, "key-too-large"),
        ({"name": ""}, "input-invalid"),
    ],
)
def test_an_enrolment_that_does_not_hold_is_refused(
    changes: dict[str, Any], reason: str, owner: Person, server: Server
) -> None:
    reply = server.enrol(owner, **changes)

    assert reply.status_code == 400, reply.text
    assert reply.json()["reason"] == reason
    assert owner.call("GET", f"/socket/{server.socket['socket_id']}/host").json() == []


def test_names_are_the_sockets_own_or_below_it(owner: Person, server: Server) -> None:
    dns_name = server.socket["dnsname"]
    names = (dns_name, f"db1.{dns_name}")

    reply = server.enrol(owner, proved={"principals": names})
    lookalike = server.enrol(owner, proved={"principals": (f"x{dns_name}",)})

    assert reply.status_code == 200
    found = parse_certificate_line(reply.json()["host_certificate"])
    assert found.principals == tuple(name.encode() for name in names)
    assert lookalike.json()["reason"] == "principal-not-own"


def test_nobody_enrols_a_host_behind_a_socket_of_others(stranger: Person, server: Server) -> None:
    reply = server.enrol(stranger)

    assert (reply.status_code, reply.json()["reason"]) == (404, "socket-unknown")


def test_there_is_no_sshd_behind_a_web_socket(
    owner: Person, api: httpx.Client, clock: FixedClock
) -> None:
    server = Server(api, clock, owner.socket(), ed25519.Ed25519PrivateKey.generate())

    assert server.enrol(owner).json()["reason"] == "action-not-offered"


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"said": {"host_id": "0-0"}}, 404, "host-unknown"),
        ({"said": {"at": 5}}, 400, "host-clock-off"),
        ({"namespace": ENROL_NAMESPACE}, 400, "key-proof-invalid"),
        ({"number": 7}, 400, "key-proof-invalid"),
        ({"trusted_cas": []}, 400, "key-proof-invalid"),
        ({"nonce": "0" * 32}, 400, "key-proof-invalid"),
        ({"nonce": "short"}, 400, "input-invalid"),
        ({"number": -1}, 400, "input-invalid"),
        ({"number": 1 << 63}, 400, "input-invalid"),
        ({"trusted_cas": ["SHA256:x"]}, 400, "input-invalid"),
        ({"signature": ""}, 400, "key-proof-invalid"),
    ],
)
def test_a_question_that_does_not_hold_is_refused(
    changes: dict[str, Any], status: int, reason: str, owner: Person, server: Server
) -> None:
    server.enrol(owner)

    reply = server.ask(**changes)

    assert (reply.status_code, reply.json()["reason"]) == (status, reason)
    path = f"/socket/{server.socket['socket_id']}/host"
    assert owner.call("GET", path).json()[0]["trusted_cas"] == []


def test_a_bundle_is_read_only_as_it_was_written(owner: Person, server: Server) -> None:
    server.enrol(owner)
    text = server.ask().json()["bundle"]
    document = json.loads(text)

    assert parse_bundle(text).encode() == text
    for changed in (
        text + " ",
        json.dumps(document),
        json.dumps(document | {"more": 1}, sort_keys=True, separators=(",", ":")),
        json.dumps(document | {"number": True}, sort_keys=True, separators=(",", ":")),
        json.dumps(document | {"krl": "!"}, sort_keys=True, separators=(",", ":")),
        json.dumps(document | {"user_cas": ["a\nb"]}, sort_keys=True, separators=(",", ":")),
        "[" * 100_000,
        "",
    ):
        with pytest.raises(ValueError, match="bundle"):
            parse_bundle(changed)
