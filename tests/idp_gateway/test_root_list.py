"""The root's list of withdrawn issuing CAs: who makes it, when, and what verifiers make of it."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.errors import KeyStoreError
from idp_gateway import upkeep
from idp_gateway.ca_generations import X509_ISSUING
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import CaGenerationRecord
from idp_gateway.root_list import MADE_ANEW_AFTER, ROOT_LIST_LIFE
from idp_gateway.rotation import GivenUp, Step
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_authority import csr
from tests.support.rows import race

COMPROMISED = GivenUp(compromised=True)


def rotate(gateway: Gateway, given_up: GivenUp = COMPROMISED) -> CaGenerationRecord:
    """Replace the issuing CA; the old one."""
    old = gateway.authority.issuing_ca(None)
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE, Step.RETIRE):
        gateway.rotation.take(X509_ISSUING, step, given_up)
    return old


def root_crl(gateway: Gateway) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(gateway.authority.root_list.current())


def serials(crl: x509.CertificateRevocationList) -> set[str]:
    return {format(one.serial_number, "x") for one in crl}


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture
def elsewhere(gateway: Gateway, clock: FixedClock, tmp_path: Path) -> Iterator[Gateway]:
    """Another gateway on the same database, without the root's key."""
    settings = gateway.settings.model_copy(
        update={
            "state_dir": tmp_path / "elsewhere",
            "master_key_file": gateway.settings.master_key_file,
            "database_url": gateway.settings.database_url,
        }
    )
    made = build_gateway(settings, clock=clock)
    yield made
    made.close()


def test_a_withdrawn_issuing_ca_is_refused_by_whoever_asks_the_root(
    gateway: Gateway, api: httpx.Client, clock: FixedClock, tmp_path: Path
) -> None:
    stolen = gateway.authority.issue_server_certificate(csr()).certificate
    # The last copy a verifier has: whoever has the stolen key makes more of them.
    last = x509.load_der_x509_crl(api.get("/ca/crl").content)
    old = rotate(gateway)
    renewed = gateway.authority.issue_server_certificate(csr()).certificate

    reply = api.get("/ca/root.crl")

    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/pkix-crl"
    listed = x509.load_der_x509_crl(reply.content)
    assert serials(listed) == {old.key_id}
    now = x509.load_der_x509_crl(api.get("/ca/crl").content)
    at = str(int(clock().timestamp()))
    root = old.public[old.public.rindex("-----BEGIN") :].encode()
    crls = [one.public_bytes(Encoding.PEM) for one in (listed, last, now)]
    said = [
        openssl_verify(
            tmp_path, at, root=root, crls=b"".join(crls), leaf=one.pem, chain=one.chain_pem
        )
        for one in (stolen, renewed)
    ]
    assert "certificate revoked" in said[0]
    assert said[1] == ""
    assert api.get(f"/ca/crl?ca={old.key_id}").json()["reason"] == "ca-unknown"


def openssl_verify(folder: Path, at: str, **files: bytes) -> str:
    """What is wrong; nothing, if all is well."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    lists = ["-crl_check_all", "-CRLfile", folder / "crls"]
    trust = ["-CAfile", folder / "root", "-untrusted", folder / "chain", folder / "leaf"]
    command = ["openssl", "verify", "-attime", at, *lists, *trust]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def test_an_issuing_ca_replaced_in_good_order_is_not_on_the_list(
    gateway: Gateway, clock: FixedClock
) -> None:
    upkeep.tend(gateway)
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(X509_ISSUING, step)
    clock.advance(days=8)
    gateway.rotation.take(X509_ISSUING, Step.RETIRE)
    upkeep.tend(gateway)

    assert serials(root_crl(gateway)) == set()


def test_there_is_an_empty_list_as_soon_as_a_gateway_with_the_roots_key_serves(
    gateway: Gateway, api: httpx.Client
) -> None:
    missing = api.get("/ca/root.crl")
    assert (missing.status_code, missing.json()["reason"]) == (404, "root-list-missing")

    upkeep.tend(gateway)

    listed = root_crl(gateway)
    assert (list(listed), number_of(listed)) == ([], 1)
    assert listed.next_update_utc is not None
    assert listed.last_update_utc is not None
    assert listed.next_update_utc - listed.last_update_utc == ROOT_LIST_LIFE
    upkeep.tend(gateway)
    assert root_crl(gateway) == listed


def test_where_the_roots_key_is_the_list_is_made_anew_in_time(
    gateway: Gateway, clock: FixedClock
) -> None:
    old = rotate(gateway)
    first = number_of(root_crl(gateway))
    clock.advance(days=MADE_ANEW_AFTER.days, seconds=-1)
    upkeep.tend(gateway)
    assert number_of(root_crl(gateway)) == first
    clock.advance(seconds=1)
    upkeep.tend(gateway)
    renewed = root_crl(gateway)
    assert number_of(renewed) == first + 1
    assert serials(renewed) == {old.key_id}
    # A list of tomorrow is no list to a verifier whose clock is right.
    clock.advance(days=-1)
    upkeep.tend(gateway)
    assert number_of(root_crl(gateway)) == first + 2


def test_a_gateway_without_the_roots_key_gives_out_what_was_made(
    gateway: Gateway, elsewhere: Gateway, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(X509_ISSUING, step, COMPROMISED)
    old = gateway.authority.generations.trusted(X509_ISSUING)[0]
    upkeep.tend(gateway)

    elsewhere.rotation.take(X509_ISSUING, Step.RETIRE, COMPROMISED)

    assert [old.key_id in line and "root-list" in line for line in caplog.messages] == [True]
    assert root_crl(elsewhere) == root_crl(gateway)
    assert serials(root_crl(elsewhere)) == set()
    assert not elsewhere.authority.root_list.follow()
    assert not elsewhere.authority.root_list.follow(anew=True)
    upkeep.tend(gateway)
    assert serials(root_crl(elsewhere)) == {old.key_id}
    assert elsewhere.authority.root_list.follow()
    clock.advance(days=400)
    assert not elsewhere.authority.root_list.follow(anew=True)


def test_of_two_that_make_it_at_once_one_list_is_kept(gateway: Gateway) -> None:
    follow = gateway.authority.root_list.follow
    race([follow] * 4)
    assert number_of(root_crl(gateway)) == 1
    race([lambda: follow(anew=True)] * 4)
    assert 2 <= number_of(root_crl(gateway)) <= 5


def test_a_damaged_root_key_stops_no_withdrawal(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (Step.PREPARE, Step.PUBLISH, Step.ACTIVATE):
        gateway.rotation.take(X509_ISSUING, step, COMPROMISED)
    (gateway.settings.state_dir / "ca" / "root.key").write_bytes(b"nonsense")

    standing = gateway.rotation.take(X509_ISSUING, Step.RETIRE, COMPROMISED)

    assert not standing.under_way
    assert len(gateway.authority.issuing_ca_key_ids) == 1
    assert any("the root signs no list" in line for line in caplog.messages)


def test_a_root_that_is_moved_away_is_replaced_if_that_is_said(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    old, folder = rotate(gateway), gateway.settings.state_dir / "ca"
    before = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    for name in ("root.key", "root.pem"):
        (folder / name).rename(folder / f"old-{name}")
    with pytest.raises(KeyStoreError, match="another root"):
        gateway.rotation.take(X509_ISSUING, Step.PREPARE)

    second = rotate(gateway, GivenUp(compromised=True, new_root=True))

    after = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    chain = x509.load_pem_x509_certificates(gateway.authority.trust_pem.encode())
    assert chain[-1] == after != before
    assert {old.key_id, second.key_id}.isdisjoint(gateway.authority.issuing_ca_key_ids)
    listed = root_crl(gateway)
    assert listed.is_signature_valid(after.public_key())  # type: ignore[arg-type]
    assert (serials(listed), number_of(listed)) == (set(), 1)
    # What is below the old root is on no list: nobody can sign its own any more.
    assert any("below a root that was replaced" in line for line in caplog.messages)


def test_the_list_of_a_root_near_its_end_ends_with_it(gateway: Gateway, clock: FixedClock) -> None:
    (_, root) = x509.load_pem_x509_certificates(gateway.authority.trust_pem.encode())
    clock.advance(seconds=(root.not_valid_after_utc - clock() - timedelta(days=9)).total_seconds())
    assert gateway.authority.root_list.follow()
    assert root_crl(gateway).next_update_utc == root.not_valid_after_utc
