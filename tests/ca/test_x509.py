"""X.509 certificates say what their spec says, end within their CA's life, or are not released."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from ca import errors, x509
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, ROOT_LIFE, SERVER_LIFE, CaCertSpec
from ca.subject_keys import parse_csr
from tests.support.subjects import (
    DNS_NAMES,
    EMAIL,
    client_spec,
    csr,
    ec_key,
    server_spec,
    tls_subject,
)

SUBJECT = tls_subject()


def extension(certificate: cryptography_x509.Certificate, kind: Any) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


def ca_spec(now: datetime, name: str = "another ca", **changes: Any) -> CaCertSpec:
    values: dict[str, Any] = {
        "common_name": name,
        "serial": x509_serial(),
        "not_before": now,
        "not_after": now + ISSUING_LIFE,
    }
    return CaCertSpec(**(values | changes))


def test_the_root_may_have_one_level_below_it(root: x509.Issuer, now: datetime) -> None:
    constraints = extension(root.certificate, cryptography_x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 1)
    assert root.certificate.subject == root.certificate.issuer
    assert root.not_after == now + ROOT_LIFE
    assert root.trust_pem == root.pem


def test_the_issuing_ca_signs_leaves_only(issuing: x509.Issuer, root: x509.Issuer) -> None:
    certificate = issuing.certificate
    constraints = extension(certificate, cryptography_x509.BasicConstraints)
    usage = extension(certificate, cryptography_x509.KeyUsage)
    assert constraints.critical
    assert usage.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    assert set(extension(certificate, cryptography_x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    authority = extension(certificate, cryptography_x509.AuthorityKeyIdentifier).value
    above = extension(root.certificate, cryptography_x509.SubjectKeyIdentifier).value
    assert authority.key_identifier == above.digest
    assert issuing.trust_pem == issuing.pem + root.pem


def test_the_issuing_ca_signs_no_ca(issuing: x509.Issuer, now: datetime) -> None:
    with pytest.raises(errors.IssuanceError, match="only a root"):
        x509.make_issuing_ca(issuing, issuing.signer, ca_spec(now), dns_names=DNS_NAMES)


def test_an_issuing_ca_ends_with_its_root(root: x509.Issuer, now: datetime) -> None:
    with pytest.raises(errors.ValidityError):
        x509.make_issuing_ca(
            root,
            MemorySigner(name="late", signing_key=x509.make_ca_key()),
            ca_spec(
                now,
                not_before=now + timedelta(days=1),
                not_after=root.not_after + timedelta(seconds=1),
            ),
            dns_names=DNS_NAMES,
        )


def test_a_client_certificate_for_some_networks_names_them_alone(
    issuing: x509.Issuer, now: datetime
) -> None:
    ids = ("fedcba9876543210", "0123456789abcdef")
    spec = client_spec(now, socket_id="s-1", epoch=9, source_ids=ids)
    issued = x509.issue_client_certificate(issuing, spec)
    names = extension(issued.certificate, cryptography_x509.SubjectAlternativeName).value
    assert names.get_values_for_type(cryptography_x509.UniformResourceIdentifier) == [
        "urn:mysocket:socket:s-1:9:from:0123456789abcdef",
        "urn:mysocket:socket:s-1:9:from:fedcba9876543210",
    ]
    assert names.get_values_for_type(cryptography_x509.RFC822Name) == [EMAIL]


def test_a_client_certificate_opens_one_socket(issuing: x509.Issuer, now: datetime) -> None:
    issued = x509.issue_client_certificate(issuing, client_spec(now, socket_id="s-1", epoch=9))
    certificate = cryptography_x509.load_pem_x509_certificate(issued.pem)
    assert certificate.subject.rfc4514_string() == f"CN={EMAIL}"
    names = extension(certificate, cryptography_x509.SubjectAlternativeName)
    assert not names.critical
    assert list(names.value) == [
        cryptography_x509.UniformResourceIdentifier("urn:mysocket:socket:s-1:9"),
        cryptography_x509.RFC822Name(EMAIL),
    ]
    purposes = extension(certificate, cryptography_x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = extension(certificate, cryptography_x509.BasicConstraints)
    assert (constraints.value.ca, constraints.critical) == (False, True)
    assert issued.not_after - issued.not_before == timedelta(minutes=10)
    assert issued.serial == certificate.serial_number
    assert issued.chain_pem == issued.pem + issuing.pem
    assert len(issued.fingerprint) == 64


def test_nothing_of_the_request_but_its_key_is_signed(issuing: x509.Issuer, now: datetime) -> None:
    """The CSR of ``tests.support`` asks for a DNS name of somebody else."""
    issued = x509.issue_client_certificate(issuing, client_spec(now, public_key=SUBJECT))
    names = extension(issued.certificate, cryptography_x509.SubjectAlternativeName).value
    assert names.get_values_for_type(cryptography_x509.DNSName) == []
    assert issued.certificate.public_key() == SUBJECT.key


def test_a_long_address_is_a_critical_alternative_name(issuing: x509.Issuer, now: datetime) -> None:
    email = f"{'a' * 64}@example.com"
    issued = x509.issue_client_certificate(issuing, client_spec(now, email=email))
    names = extension(issued.certificate, cryptography_x509.SubjectAlternativeName)
    assert names.critical
    assert not list(issued.certificate.subject)
    assert names.value.get_values_for_type(cryptography_x509.RFC822Name) == [email]


def test_a_server_certificate_names_hosts(issuing: x509.Issuer, now: datetime) -> None:
    spec = server_spec(now, not_before=now, not_after=now + SERVER_LIFE)
    issued = x509.issue_server_certificate(issuing, spec)
    names = extension(issued.certificate, cryptography_x509.SubjectAlternativeName)
    assert names.critical
    assert tuple(names.value.get_values_for_type(cryptography_x509.DNSName)) == spec.dns_names
    purposes = extension(issued.certificate, cryptography_x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_no_leaf_outlives_its_ca(issuing: x509.Issuer) -> None:
    almost_over = issuing.not_after - timedelta(minutes=3)
    spec = client_spec(almost_over, public_key=SUBJECT)
    with pytest.raises(errors.ValidityError) as caught:
        x509.issue_client_certificate(issuing, spec)
    assert caught.value.reason == "validity-invalid"
    shorter = client_spec(almost_over, public_key=SUBJECT, not_after=issuing.not_after)
    assert x509.issue_client_certificate(issuing, shorter).not_after == issuing.not_after


@given(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
    st.integers(1, 2**63 - 1),
    st.integers(2**64, 2**159 - 1),
)
def test_every_spec_can_be_signed(local: str, socket_id: str, epoch: int, serial: int) -> None:
    now = datetime.fromisoformat("2026-11-23T12:00:00Z")
    spec = client_spec(
        now,
        public_key=SUBJECT,
        email=f"{local}@example.com",
        socket_id=socket_id,
        epoch=epoch,
        serial=serial,
    )
    issued = x509.issue_client_certificate(ISSUER, spec)
    names = extension(issued.certificate, cryptography_x509.SubjectAlternativeName).value
    kind = cryptography_x509.UniformResourceIdentifier
    assert names.get_values_for_type(kind) == list(spec.socket_uris)
    assert issued.serial == serial


def _fixed_issuer() -> x509.Issuer:
    now = datetime.fromisoformat("2026-11-23T12:00:00Z")
    signer = MemorySigner(name="fixed", signing_key=x509.make_ca_key())
    root = x509.make_root(signer, ca_spec(now, "r"))
    return x509.make_issuing_ca(root, signer, ca_spec(now), dns_names=DNS_NAMES)


ISSUER = _fixed_issuer()


@pytest.mark.parametrize("field", ["subject", "public key", "serial", "start", "end", "extensions"])
def test_a_certificate_that_differs_is_not_released(
    field: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "subject": {"email": "mallory@example.com"},
        "public key": {"public_key": tls_subject()},
        "serial": {"serial": (1 << 100) + 1},
        "start": {"not_before": now - timedelta(minutes=6)},
        "end": {"not_after": now + timedelta(minutes=6)},
        "extensions": {"epoch": 4},
    }
    wanted = {"public_key": SUBJECT, "serial": 1 << 100}
    other = x509.issue_client_certificate(ISSUER, client_spec(now, **(wanted | changes[field])))
    monkeypatch.setattr(x509, "_sign", lambda *_: other.certificate)
    with pytest.raises(errors.SelfCheckError, match=f"not as specified: .*{field}"):
        x509.issue_client_certificate(ISSUER, client_spec(now, **wanted))


def test_a_certificate_of_another_ca_is_not_released(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same names and same key identifier, another signature."""
    spec = client_spec(now, public_key=SUBJECT)
    impostor = MemorySigner(name="impostor", signing_key=x509.make_ca_key())
    honest = x509._sign
    monkeypatch.setattr(x509, "_sign", lambda builder, name, _: honest(builder, name, impostor))
    with pytest.raises(errors.SelfCheckError, match="signature"):
        x509.issue_client_certificate(ISSUER, spec)


def test_what_the_linter_refuses_is_not_released(now: datetime) -> None:
    with pytest.raises(errors.SelfCheckError, match="serial-short"):
        x509.issue_client_certificate(ISSUER, client_spec(now, public_key=SUBJECT, serial=1))


def test_a_signer_that_fails_is_a_typed_error(root: x509.Issuer, now: datetime) -> None:
    class Empty:
        name = "empty"
        public_key = root.signer.public_key
        signing_key = None

    broken = x509.Issuer(certificate=root.certificate, signer=Empty())  # type: ignore[arg-type]
    with pytest.raises(errors.IssuanceError, match="empty did not sign"):
        x509.issue_server_certificate(broken, server_spec(now))


def test_a_stored_ca_is_put_together_again(issuing: x509.Issuer) -> None:
    loaded = x509.load_issuer(issuing.trust_pem, issuing.signer)
    assert loaded == issuing


KEYS: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("make_key", KEYS.values(), ids=KEYS.keys())
def test_every_kind_of_ca_key_signs(make_key: Callable[[], Any], now: datetime) -> None:
    root = x509.make_root(MemorySigner(name="root", signing_key=make_key()), ca_spec(now, "r"))
    signer = MemorySigner(name="issuing", signing_key=make_key())
    issuing = x509.make_issuing_ca(root, signer, ca_spec(now), dns_names=DNS_NAMES)
    issued = x509.issue_server_certificate(issuing, server_spec(now))
    issued.certificate.verify_directly_issued_by(issuing.certificate)
    assert x509.load_issuer(issuing.trust_pem, signer) == issuing


def test_an_issuing_ca_is_limited_to_names(issuing: x509.Issuer) -> None:
    limits = extension(issuing.certificate, cryptography_x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [
        cryptography_x509.DNSName("edge.localhost"),
        cryptography_x509.DNSName("gateway.localhost"),
    ]
    assert limits.value.excluded_subtrees == [
        cryptography_x509.IPAddress(ip_network("0.0.0.0/0")),
        cryptography_x509.IPAddress(ip_network("::/0")),
    ]


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (("gateway.localhost",), True),
        (("edge.localhost", "*.edge.localhost", "a.b.edge.localhost"), True),
        (("gateway.localhost", "example.com"), False),
        (("notedge.localhost",), False),
        (("localhost",), False),
        (("*.localhost",), False),
        (("edge.localhost.example.com",), False),
    ],
)
def test_no_server_certificate_beyond_the_limits(
    issuing: x509.Issuer, now: datetime, names: tuple[str, ...], *, allowed: bool
) -> None:
    outcome = contextlib.nullcontext() if allowed else pytest.raises(errors.SubjectNameError)
    with outcome as caught:
        x509.issue_server_certificate(issuing, server_spec(now, dns_names=names))
    assert caught is None or caught.value.reason == "name-invalid"


def test_limits_fit_the_names_they_were_made_for(issuing: x509.Issuer, root: x509.Issuer) -> None:
    assert x509.limits_fit(issuing.certificate, DNS_NAMES)
    assert x509.limits_fit(issuing.certificate, ("*.edge.localhost", *DNS_NAMES))
    assert not x509.limits_fit(issuing.certificate, (*DNS_NAMES, "example.com"))
    assert not x509.limits_fit(issuing.certificate, DNS_NAMES[:1])
    assert not x509.limits_fit(root.certificate, DNS_NAMES)
    assert x509.is_limited(issuing.certificate)
    assert not x509.is_limited(root.certificate)


@pytest.mark.parametrize(
    "names", [(), ("",), (".",), ("Edge.localhost",), ("*.*.a",), ("a" * 254,)]
)
def test_limits_are_dns_names(root: x509.Issuer, now: datetime, names: tuple[str, ...]) -> None:
    with pytest.raises(errors.SubjectNameError):
        x509.make_issuing_ca(root, root.signer, ca_spec(now), dns_names=names)


def test_a_ca_that_breaks_a_rule_is_not_released(root: x509.Issuer, now: datetime) -> None:
    with pytest.raises(errors.SelfCheckError, match="serial-short"):
        x509.make_issuing_ca(root, root.signer, ca_spec(now, serial=1), dns_names=DNS_NAMES)
    with pytest.raises(errors.SelfCheckError, match="serial-short"):
        x509.make_root(root.signer, ca_spec(now, serial=1))


@pytest.mark.parametrize("change", ["common_name", "serial", "not_before", "not_after"])
def test_a_ca_that_differs_is_not_released(
    change: str, root: x509.Issuer, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ca_spec(now)
    wanted: dict[str, Any] = {
        "common_name": "mallory",
        "serial": spec.serial + 1,
        "not_before": now + timedelta(seconds=1),
        "not_after": spec.not_after - timedelta(seconds=1),
    }
    names = {"dns_names": DNS_NAMES}
    other = x509.make_issuing_ca(
        root, root.signer, replace(spec, **{change: wanted[change]}), **names
    )
    monkeypatch.setattr(x509, "_sign", lambda *_: other.certificate)
    with pytest.raises(errors.SelfCheckError, match="not as specified"):
        x509.make_issuing_ca(root, root.signer, spec, **names)


def test_an_issuing_ca_of_another_root_is_not_released(
    root: x509.Issuer, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = MemorySigner(name="impostor", signing_key=x509.make_ca_key())
    honest = x509._sign
    monkeypatch.setattr(x509, "_sign", lambda builder, name, _: honest(builder, name, impostor))
    with pytest.raises(errors.SelfCheckError, match="signature"):
        x509.make_issuing_ca(root, root.signer, ca_spec(now), dns_names=DNS_NAMES)


def test_a_ca_certifies_for_its_purposes_only(root: x509.Issuer, now: datetime) -> None:
    clients_only = nested(root, now, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
    x509.issue_client_certificate(clients_only, client_spec(now))
    with pytest.raises(errors.IssuanceError, match="for this purpose"):
        x509.issue_server_certificate(clients_only, server_spec(now))


def nested(above: x509.Issuer, now: datetime, **changes: Any) -> x509.Issuer:
    """A CA below ``above`` as another program might make it, with a key of its own."""
    values: dict[str, Any] = {
        "length": 0,
        "purposes": [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH],
        "end": now + timedelta(days=1),
    } | changes
    signer = MemorySigner(name="nested", signing_key=x509.make_ca_key())
    start = values["end"] - timedelta(days=1)
    spec = ca_spec(now, "nested", not_before=start, not_after=values["end"])
    builder = (
        x509._ca_builder(spec, x509._ca_name(spec), signer.public_key, path_length=values["length"])
        .add_extension(cryptography_x509.ExtendedKeyUsage(values["purposes"]), critical=False)
        .add_extension(x509.authority_key_identifier(above.certificate), critical=False)
    )
    certificate = x509._sign(builder, above.certificate.subject, above.signer)
    return x509.Issuer(
        certificate=certificate, signer=signer, parents=(above.certificate, *above.parents)
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"length": 1}, "levels below it"),
        ({"length": None}, "levels below it"),
        ({"purposes": [ExtendedKeyUsageOID.CODE_SIGNING]}, "purposes its parent has not"),
        ({"end": timedelta(seconds=1)}, "outlives its parent"),
    ],
)
def test_a_stored_ca_allows_no_more_than_its_parent(
    root: x509.Issuer, now: datetime, changes: dict[str, Any], why: str
) -> None:
    if "end" in changes:
        changes = {"end": root.not_after + changes["end"]}
    bad = nested(root, now, **changes)
    with pytest.raises(errors.KeyStoreError, match=why):
        x509.load_issuer(bad.trust_pem, bad.signer)


def test_a_stored_ca_of_an_issuing_ca_is_refused(issuing: x509.Issuer, now: datetime) -> None:
    bad = nested(issuing, now)
    with pytest.raises(errors.KeyStoreError, match="levels below it"):
        x509.load_issuer(bad.trust_pem, bad.signer)


def test_a_ca_from_before_the_limits_still_loads(root: x509.Issuer, now: datetime) -> None:
    """The names are then whatever is asked for, until it is followed by a limited one."""
    old = nested(root, now)
    loaded = x509.load_issuer(old.trust_pem, old.signer)
    assert not x509.is_limited(loaded.certificate)
    x509.issue_server_certificate(
        loaded, server_spec(now, dns_names=("example.com",), not_after=now + timedelta(hours=1))
    )


def test_a_chain_that_is_not_ours_is_refused(issuing: x509.Issuer, root: x509.Issuer) -> None:
    key = ec_key()
    start = issuing.certificate.not_valid_before_utc
    leaf = x509.issue_server_certificate(
        issuing, server_spec(start, public_key=parse_csr(csr(key)))
    )
    own_key = MemorySigner(name="leaf", signing_key=key)
    stranger = MemorySigner(name="stranger", signing_key=x509.make_ca_key())
    for chain, signer in (
        (b"", issuing.signer),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", issuing.signer),
        (issuing.pem * 200, issuing.signer),
        (root.pem + issuing.pem, root.signer),
        (issuing.trust_pem, stranger),
        (leaf.chain_pem, own_key),
    ):
        with pytest.raises(errors.KeyStoreError):
            x509.load_issuer(chain, signer)


def test_a_stored_chain_is_short(issuing: x509.Issuer) -> None:
    with pytest.raises(errors.KeyStoreError, match="this long"):
        x509.load_issuer(issuing.trust_pem + b"\n" * 65536, issuing.signer)


def test_a_stored_root_that_breaks_a_rule_is_refused(root: x509.Issuer, now: datetime) -> None:
    """A single certificate has no parent to be compared with."""
    for length in (0, 2, None):
        bad = self_signed(root.signer, now, length)
        with pytest.raises(errors.KeyStoreError, match="breaks a rule: path-length-wrong"):
            x509.load_issuer(x509._pem(bad), root.signer)


def self_signed(signer: Any, now: datetime, length: int | None) -> cryptography_x509.Certificate:
    spec = ca_spec(now, "own")
    name = x509._ca_name(spec)
    builder = x509._ca_builder(spec, name, signer.public_key, path_length=length)
    return x509._sign(builder, name, signer)
