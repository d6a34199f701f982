"""pkilint's opinion of every X.509 certificate and list we make, by every kind of CA key."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkilint import loader, pkix, validation
from pkilint.bin import lint_pkix_signer_signee_cert_chain as chain_linter
from pkilint.pkix import certificate, crl, extension, name

from ca import x509
from ca.crl import RevokedX509, make_crl
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from idp_gateway.root_list import ROOT_LIST_LIFE
from tests.support.subjects import DNS_NAMES, DRIFT, client_spec, ec_key, server_spec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEYS: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}

URI_WITHOUT_HOST = "pkix.invalid_uri_syntax"
"""pkilint wants a host in every URI. RFC 5280 §4.2.1.6 wants one only where there is an authority;
a ``urn:`` (RFC 8141) has none, and is what the edge matches."""
WILDCARD = "pkix.invalid_domain_name_syntax"
"""RFC 5280 leaves wildcards to others: RFC 6125 §6.4.3 and RFC 9525 §6.3 define them."""
_REMARKS = {
    validation.ValidationFindingSeverity.INFO,
    validation.ValidationFindingSeverity.DEBUG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    root: x509.Issuer
    issuing: x509.Issuer


@pytest.fixture(scope="module", params=KEYS)
def chain(request: pytest.FixtureRequest) -> Chain:
    def signer(role: str) -> MemorySigner:
        return MemorySigner(name=role, signing_key=KEYS[request.param]())

    def spec(role: str) -> CaCertSpec:
        return CaCertSpec(
            common_name=f"mysocket {role} 1",
            serial=x509_serial(),
            not_before=NOW - DRIFT,
            not_after=NOW + ISSUING_LIFE,
        )

    root = x509.make_root(signer("root"), spec("root"))
    return Chain(
        root=root,
        issuing=x509.make_issuing_ca(root, signer("issuing"), spec("issuing"), dns_names=DNS_NAMES),
    )


def codes(results: list[validation.ValidationResult]) -> list[str]:
    """What was found, remarks left out."""
    return [
        str(found.finding.code)
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity not in _REMARKS
    ]


def lint_certificate(one: cryptography_x509.Certificate) -> list[str]:
    linter = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    return codes(linter.validate(loader.load_certificate(der_of(one), "certificate").root))


def lint_crl(der: bytes) -> list[str]:
    linter = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    return codes(linter.validate(loader.load_crl(der, "crl").root))


def lint_pair(
    issuer: cryptography_x509.Certificate, subject: cryptography_x509.Certificate
) -> list[str]:
    """Whether names, key identifiers and the signature of two certificates fit."""
    documents: dict[str, Any] = {}
    load = loader.RFC5280CertificateDocumentLoader()
    for role, one in (("issuer", issuer), ("subject", subject)):
        documents[role] = load.load_der_document(der_of(one), role, role, documents)
    decoder = chain_linter.create_decoder_validation_container()
    return codes(
        [
            *decoder.validate(documents["issuer"].root),
            *decoder.validate(documents["subject"].root),
            *chain_linter.create_issuer_validation_container().validate(documents["issuer"].root),
            *chain_linter.create_subject_validation_container().validate(documents["subject"].root),
        ]
    )


def der_of(one: cryptography_x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


def test_a_root_has_no_findings(chain: Chain) -> None:
    assert lint_certificate(chain.root.certificate) == []


def test_an_issuing_ca_has_no_findings(chain: Chain) -> None:
    assert lint_certificate(chain.issuing.certificate) == []
    assert lint_pair(chain.root.certificate, chain.issuing.certificate) == []


@pytest.mark.parametrize("email", ["alice@example.com", f"{'a' * 60}@{'b' * 60}.example"])
def test_a_client_certificate_has_only_the_urn(chain: Chain, email: str) -> None:
    issued = x509.issue_client_certificate(chain.issuing, client_spec(NOW, email=email))
    assert lint_certificate(issued.certificate) == [URI_WITHOUT_HOST]
    assert lint_pair(chain.issuing.certificate, issued.certificate) == []


def test_a_server_certificate_has_no_findings(chain: Chain) -> None:
    spec = server_spec(NOW, dns_names=DNS_NAMES)
    issued = x509.issue_server_certificate(chain.issuing, spec)
    assert lint_certificate(issued.certificate) == []
    assert lint_pair(chain.issuing.certificate, issued.certificate) == []


def test_a_server_certificate_with_a_wildcard_has_only_that(chain: Chain) -> None:
    issued = x509.issue_server_certificate(chain.issuing, server_spec(NOW))
    assert lint_certificate(issued.certificate) == [WILDCARD]


@pytest.mark.parametrize("length", [0, 1, 50])
def test_a_revocation_list_has_no_findings(chain: Chain, length: int) -> None:
    revoked = [RevokedX509(serial=x509_serial(), at=NOW) for _ in range(length)]
    der = make_crl(
        chain.issuing,
        number=7,
        revoked=revoked,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
    )
    assert lint_crl(der) == []


def test_the_roots_list_has_no_findings(chain: Chain) -> None:
    der = make_crl(
        chain.root,
        number=7,
        revoked=[RevokedX509(serial=chain.issuing.certificate.serial_number, at=NOW)],
        this_update=NOW,
        next_update=NOW + ROOT_LIST_LIFE,
        longest=ROOT_LIST_LIFE,
    )
    assert lint_crl(der) == []


def test_pkilint_would_have_said_so(chain: Chain) -> None:
    """The tests above can fail: an odd certificate, and a pair that does not belong together."""
    key, nobody = ec_key(), cryptography_x509.Name([])
    odd = (
        cryptography_x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(
            cryptography_x509.BasicConstraints(ca=True, path_length=None), critical=False
        )
        .sign(key, x509.digest_for(key.public_key()))
    )
    assert set(lint_certificate(odd)) == {
        "pkix.basic_constraints_extension_not_critical",
        "pkix.ca_certificate_no_ku_extension",
        "pkix.certificate_skid_ca_missing",
        "pkix.name_empty",
    }
    issued = x509.issue_client_certificate(chain.issuing, client_spec(NOW))
    assert lint_pair(chain.root.certificate, issued.certificate) != []
