"""The transparency log over HTTP: proofs for everybody, contents for owners and holders."""

import dataclasses
import hashlib
import itertools
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from sqlalchemy import update

from ca.formats import merkle
from ca.formats.checkpoint import LogKey, decode_base64
from ca.formats.host_messages import CLOCK_TOLERANCE_SECONDS
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.ssh_certificate import parse_certificate_line
from idp_gateway import sessions
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict
from idp_gateway.store.issuance import CERTIFICATES
from idp_gateway.store.log import LogTransaction
from idp_gateway.tokens import API_TOKEN_LIFE
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity
from tests.idp_gateway.api.conftest import (
    ClientTokenMaker,
    Person,
    PersonMaker,
    both_databases,
)
from tests.support.subjects import csr, ec_key, public_line

EMAIL = "alice@lab.test"


@pytest.fixture
def socket(owner: Person) -> dict[str, Any]:
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[EMAIL, "owner1@lab.test"],
    )


@pytest.fixture
def certify(api: httpx.Client, client_token: ClientTokenMaker, socket: dict[str, Any]) -> "Certify":
    return Certify(api, client_token, socket["dnsname"])


class Certify:
    """Asks for SSH certificates as a person who logged in."""

    def __init__(self, api: httpx.Client, tokens: ClientTokenMaker, dns_name: str) -> None:
        self._api, self._tokens, self.dns_name = api, tokens, dns_name

    def __call__(self, email: str = EMAIL) -> dict[str, Any]:
        reply = self._api.post(
            f"/mtls-ca/socket/{self.dns_name}/ssh",
            json={"ssh_public_key": public_line(ec_key())},
            headers={"x-access-token": self._tokens(self.dns_name, email=email)},
        )
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found


def log_key(api: httpx.Client) -> LogKey:
    return LogKey.parse(api.get("/ca/log/key").json()["key"])


def entry(answer: dict[str, Any], proof: InclusionProof) -> LogEntry:
    blob = parse_certificate_line(answer["signed_ssh_cert"]).blob
    return LogEntry(kind="ssh", issued_at_ms=proof.issued_at_ms, certificate=blob)


def serial_of(answer: dict[str, Any]) -> str:
    return str(parse_certificate_line(answer["signed_ssh_cert"]).serial)


@both_databases
def test_the_proof_comes_with_the_certificate_and_can_be_asked_for(
    api: httpx.Client, certify: Certify
) -> None:
    key = log_key(api)
    answers = [certify() for _ in range(5)]
    for answer in answers:
        proof = InclusionProof.from_json(answer["log_proof"])
        proof.verify(entry(answer, proof), key)
        later = api.get("/ca/log/proof", params={"serial": serial_of(answer)}).json()
        proof = InclusionProof.from_json(later)
        assert proof.verify(entry(answer, proof), key).size == 5


@both_databases
def test_the_log_is_shown_to_only_grow(api: httpx.Client, certify: Certify) -> None:
    key = log_key(api)
    seen = [key.open(api.get("/ca/log/checkpoint").json()["checkpoint"])]
    for _ in range(4):
        certify()
        seen.append(key.open(api.get("/ca/log/checkpoint").json()["checkpoint"]))
    assert [checkpoint.size for checkpoint in seen] == [0, 1, 2, 3, 4]
    for old, new in itertools.pairwise(seen):
        answer = api.get("/ca/log/consistency", params={"from": old.size, "to": new.size})
        assert merkle.verify_consistency(
            old=old.size,
            old_root=old.root,
            new=new.size,
            new_root=new.root,
            path=[decode_base64(step) for step in answer.json()["hashes"]],
        )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ca/log/proof?serial=99", 404),
        ("/ca/log/proof?serial=x", 400),
        ("/ca/log/proof", 400),
        ("/ca/log/consistency?from=1&to=0", 404),
        ("/ca/log/consistency?from=0&to=9", 404),
        ("/ca/log/consistency?from=-1&to=0", 400),
        ("/ca/log/consistency?from=1", 400),
    ],
)
def test_what_the_log_has_not_is_said(api: httpx.Client, path: str, status: int) -> None:
    reply = api.get(path)
    assert (reply.status_code, reply.json()["status"]) == (status, status)


@pytest.mark.parametrize("name", ["socket_id", "subject", "serial", "key_fingerprint"])
@pytest.mark.parametrize("value", ["", "a\x1b[2Jb", "a\n", "two words", "x" * 321])
def test_what_no_certificate_has_is_not_looked_for(name: str, value: str, owner: Person) -> None:
    reply = owner.call("GET", "/ca/log/entries", params={name: value})
    assert (reply.status_code, reply.json()["reason"]) == (400, "input-invalid")


@both_databases
def test_owners_see_what_was_issued_for_their_sockets(
    owner: Person, stranger: Person, certify: Certify, socket: dict[str, Any]
) -> None:
    serials = [serial_of(certify()) for _ in range(3)]
    found = owner.call("GET", "/ca/log/entries").json()
    assert [one["serial"] for one in found] == serials[::-1]
    assert {one["subject"] for one in found} == {EMAIL}
    assert [one["index"] for one in found] == [2, 1, 0]
    assert stranger.call("GET", "/ca/log/entries").json() == []
    for query, expected in (
        ({"limit": 1}, serials[2:]),
        ({"before": 1}, serials[:1]),
        ({"serial": serials[1]}, serials[1:2]),
        ({"subject": "bob@lab.test"}, []),
        ({"kind": "x509-client"}, []),
        ({"socket_id": socket["socket_id"]}, serials[::-1]),
        ({"socket_id": "another"}, []),
        ({"since": "2026-11-23T12:00:01Z"}, []),
        ({"key_fingerprint": found[0]["public_key_fingerprint"]}, serials[2:]),
    ):
        answer = owner.call("GET", "/ca/log/entries", params=query)
        assert [one["serial"] for one in answer.json()] == expected, query


ISSUER = "https://idp.lab.test"


def logged_in_as(gateway: Gateway, person: Person, email: str, issuer: str, subject: str) -> Person:
    """The same account, with a login as this identity."""
    now = gateway.clock()
    identity = Identity(
        issuer=issuer,
        subject=subject,
        email=EmailAddress.parse(email),
        name="Holder",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=now,
    )
    _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
    token = gateway.tokens.api_token(
        account_id=person.account.account_id,
        email=person.account.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    return dataclasses.replace(person, session=session, token=token)


@both_databases
def test_people_see_their_own_certificates_for_others_sockets(
    new_person: PersonMaker, certify: Certify, gateway: Gateway
) -> None:
    mine, anothers = serial_of(certify(EMAIL)), serial_of(certify("owner1@lab.test"))
    holder = new_person()
    me = f"subject of {EMAIL}"
    for email, issuer, subject, seen in (
        (EMAIL, ISSUER, me, [mine]),
        ("alice.new@lab.test", ISSUER, me, [mine]),
        # Whoever was given the address later, or has it at another provider.
        (EMAIL, ISSUER, "another", []),
        (EMAIL, "https://other.lab.test", me, []),
        ("bob@lab.test", ISSUER, "subject of bob@lab.test", []),
    ):
        person = logged_in_as(gateway, holder, email, issuer, subject)
        found = person.call("GET", "/ca/log/entries").json()
        assert [one["serial"] for one in found] == seen
        for serial in (mine, anothers):
            reply = person.call("GET", f"/ca/certificates/{serial}")
            assert (reply.status_code == 200) == (serial in seen)


@both_databases
def test_of_certificates_of_before_only_the_sockets_owner_is_sure(
    owner: Person, new_person: PersonMaker, certify: Certify, gateway: Gateway
) -> None:
    serial = serial_of(certify(EMAIL))
    with gateway.store.database.writing() as connection:
        connection.execute(update(CERTIFICATES).values(holder_issuer=None, holder_subject=None))
    person = logged_in_as(gateway, new_person(), EMAIL, ISSUER, f"subject of {EMAIL}")
    assert person.call("GET", "/ca/log/entries").json() == []
    assert person.call("GET", f"/ca/certificates/{serial}").status_code == 404
    assert [one["serial"] for one in owner.call("GET", "/ca/log/entries").json()] == [serial]
    assert owner.call("GET", f"/ca/certificates/{serial}").status_code == 200


@both_databases
def test_a_certificate_is_explained_to_its_owner_alone(
    owner: Person, stranger: Person, certify: Certify, api: httpx.Client
) -> None:
    answer = certify()
    serial = serial_of(answer)
    found = owner.call("GET", f"/ca/certificates/{serial}").json()
    assert found["certificate"] == answer["signed_ssh_cert"]
    assert found["decision"]["reasons"] == ["email-allowed"]
    assert found["decision"]["decision_id"] == found["decision_id"]
    assert found["login"] == "https://idp.lab.test"
    assert found["index"] == 0
    assert found["policy_version"]
    assert not found["proven"]
    assert stranger.call("GET", f"/ca/certificates/{serial}").status_code == 404
    assert api.get(f"/ca/certificates/{serial}").status_code == 401
    assert owner.call("GET", "/ca/certificates/1").status_code == 404


def ask(person: Person, *questions: dict[str, Any]) -> list[str]:
    reply = person.call("POST", "/ca/log/known", json={"certificates": list(questions)})
    assert reply.status_code == 200, reply.text
    return [one["verdict"] for one in reply.json()["certificates"]]


def said_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What sshd logs of a certificate."""
    certificate = parse_certificate_line(answer["signed_ssh_cert"])
    return {
        "kind": "ssh",
        "serial": str(certificate.serial),
        "ca": certificate.ca_fingerprint,
        "key_fingerprint": certificate.fingerprint,
        "key_id": certificate.key_id.decode(),
    }


FORGED = (("ca", "SHA256:x"), ("key_fingerprint", "SHA256:x"), ("key_id", "root"))


@both_databases
def test_what_was_never_issued_shows(owner: Person, stranger: Person, certify: Certify) -> None:
    said = said_of(certify())
    assert ask(owner, said) == ["issued"]
    assert ask(owner, {"kind": "ssh", "serial": said["serial"]}) == ["issued"]
    assert ask(owner, said | {"serial": "77"}, said) == ["unknown", "issued"]
    for name, value in FORGED:
        assert ask(owner, said | {name: value}) == ["different"]
    assert ask(owner, said | {"kind": "x509", "serial": said["serial"]}) != ["issued"]
    assert ask(stranger, said) == ["unknown"]


def test_a_copy_that_is_used_after_the_true_ones_end_shows(
    owner: Person, certify: Certify, clock: Any
) -> None:
    answer = certify()
    said = said_of(answer)
    end = parse_certificate_line(answer["signed_ssh_cert"]).valid_before
    times = [
        datetime.fromtimestamp(end + seconds, UTC).isoformat()
        for seconds in (-60, CLOCK_TOLERANCE_SECONDS, CLOCK_TOLERANCE_SECONDS + 1)
    ]
    asked = [said | {"seen_at": at} for at in times]
    assert ask(owner, *asked) == ["issued", "issued", "different"]


@both_databases
def test_what_is_forgotten_or_of_a_deleted_socket_is_still_told_from_a_forgery(
    owner: Person,
    stranger: Person,
    certify: Certify,
    gateway: Gateway,
    socket: dict[str, Any],
    clock: Any,
) -> None:
    said = said_of(certify())
    owner.call("DELETE", f"/socket/{socket['socket_id']}")
    assert ask(owner, said) == ["issued"]
    clock.advance(hours=2)
    gateway.store.forget_audit(clock())
    assert ask(owner, said) == ["forgotten"]
    for name, value in FORGED:
        assert ask(owner, said | {name: value}) == ["different"]
    assert ask(owner, said | {"seen_at": clock().isoformat()}) == ["different"]
    assert ask(stranger, said) == ["unknown"]


def test_client_certificates_are_told_apart_by_their_whole_content(
    api: httpx.Client, owner: Person, socket: dict[str, Any], client_token: ClientTokenMaker
) -> None:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(ec_key(), hashes.SHA256())
    )
    reply = api.post(
        f"/mtls-ca/socket/{socket['dnsname']}/csr",
        json={"csr": request.public_bytes(serialization.Encoding.PEM).decode()},
        headers={"x-access-token": client_token(socket["dnsname"])},
    ).json()
    leaf = x509.load_pem_x509_certificate(reply["client_certificate"].encode())
    der = leaf.public_bytes(serialization.Encoding.DER)
    proof = InclusionProof.from_json(reply["log_proof"])
    logged = LogEntry(kind="x509", issued_at_ms=proof.issued_at_ms, certificate=der)
    proof.verify(logged, log_key(api))
    spelled = format(leaf.serial_number, "X")
    said = {"kind": "x509", "serial": "0" + spelled}
    digest = hashlib.sha256(der).hexdigest()
    assert ask(owner, said | {"certificate_sha256": digest}) == ["issued"]
    assert ask(owner, said | {"certificate_sha256": "0" * 64}) == ["different"]


def test_a_serial_number_is_found_however_openssl_printed_it(
    api: httpx.Client, owner: Person, socket: dict[str, Any], client_token: ClientTokenMaker
) -> None:
    reply = api.post(
        f"/mtls-ca/socket/{socket['dnsname']}/csr",
        json={"csr": csr(ec_key()).decode()},
        headers={"x-access-token": client_token(socket["dnsname"])},
    ).json()
    leaf = x509.load_pem_x509_certificate(reply["client_certificate"].encode())
    kept = f"{leaf.serial_number:x}"
    octets = leaf.serial_number.to_bytes(20, "big")
    for spelled in (kept, octets.hex().upper(), octets.hex(":")):
        found = owner.call("GET", "/ca/log/entries", params={"serial": spelled}).json()
        assert [one["serial"] for one in found] == [kept], spelled
        proof = api.get("/ca/log/proof", params={"serial": spelled})
        assert proof.status_code == 200, spelled
        assert owner.call("GET", f"/ca/certificates/{spelled}").json()["serial"] == kept
        path = f"/socket/{socket['socket_id']}/revocation"
        made = owner.call("POST", path, json={"scope": "serial", "value": spelled})
        assert (made.status_code, made.json().get("value")) == (200, kept)
        issuer = x509.load_der_x509_crl(api.get("/ca/crl").content).issuer
        listed = api.get("/ca/crl", params={"ca": newest_ca(owner).upper()})
        assert x509.load_der_x509_crl(listed.content).issuer == issuer


def newest_ca(owner: Person) -> str:
    """The CA of the newest certificate, as the log names it."""
    return str(owner.call("GET", "/ca/log/entries").json()[0]["ca"])


def test_a_forgotten_certificate_is_known_to_have_been(
    owner: Person, certify: Certify, gateway: Gateway, clock: Any
) -> None:
    serial = serial_of(certify())
    clock.advance(hours=2)
    gateway.store.forget_audit(clock())
    assert ask(owner, {"kind": "ssh", "serial": serial}) == ["forgotten"]


def test_only_so_many_are_asked_about_at_once(owner: Person) -> None:
    many = [{"kind": "ssh", "serial": "1"}] * 201
    reply = owner.call("POST", "/ca/log/known", json={"certificates": many})
    assert reply.status_code == 400


@both_databases
def test_every_decision_is_on_record_whatever_came_of_it(
    api: httpx.Client,
    gateway: Gateway,
    owner: Person,
    socket: dict[str, Any],
    client_token: ClientTokenMaker,
    certify: Certify,
) -> None:
    """Allowed and certified, allowed with a key that is refused, and denied."""
    certify()
    for email, line in ((EMAIL, "ssh-rsa AAAA"), ("mallory@lab.test", public_line(ec_key()))):
        reply = api.post(
            f"/mtls-ca/socket/{socket['dnsname']}/ssh",
            json={"ssh_public_key": line},
            headers={"x-access-token": client_token(socket["dnsname"], email=email)},
        )
        assert reply.status_code in {400, 403}
    decisions = gateway.store.decisions_page(socket["socket_id"], offset=0, limit=10)
    assert sorted((one.email or "", str(one.effect)) for one in decisions) == [
        (EMAIL, "allow"),
        (EMAIL, "allow"),
        ("mallory@lab.test", "deny"),
    ]
    assert len(gateway.store.certificates_of(socket["socket_id"])) == 1


def test_a_repeated_denial_is_on_record_once(
    api: httpx.Client, gateway: Gateway, socket: dict[str, Any], client_token: ClientTokenMaker
) -> None:
    token = client_token(socket["dnsname"], email="mallory@lab.test")
    ids = set()
    for _ in range(3):
        reply = api.post(
            f"/mtls-ca/socket/{socket['dnsname']}/ssh",
            json={"ssh_public_key": public_line(ec_key())},
            headers={"x-access-token": token},
        )
        assert reply.status_code == 403
        ids.add(reply.json()["decision_id"])
    assert len(ids) == 1
    assert len(gateway.store.decisions_page(socket["socket_id"], offset=0, limit=10)) == 1


def test_nothing_leaves_when_the_record_cannot_be_kept(
    api: httpx.Client,
    gateway: Gateway,
    socket: dict[str, Any],
    client_token: ClientTokenMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: LogTransaction, growth: object) -> None:
        raise Conflict("this serial number was given out before")

    monkeypatch.setattr(LogTransaction, "add", fail)
    reply = api.post(
        f"/mtls-ca/socket/{socket['dnsname']}/ssh",
        json={"ssh_public_key": public_line(ec_key())},
        headers={"x-access-token": client_token(socket["dnsname"])},
    )
    assert reply.status_code == 409
    assert "signed_ssh_cert" not in reply.text
    assert gateway.store.certificates_of(socket["socket_id"]) == ()


@pytest.mark.parametrize("since", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00%2B23:59"])
def test_a_time_that_is_none_in_utc_is_refused(owner: Person, since: str) -> None:
    answer = owner.call("GET", f"/ca/log/entries?since={since}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "time-invalid")
    body = {"certificates": [{"kind": "ssh", "serial": "1", "seen_at": since.replace("%2B", "+")}]}
    assert owner.call("POST", "/ca/log/known", json=body).status_code == 400
