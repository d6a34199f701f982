"""The issuing CA certifies the gateway's own names, also after they were changed."""

from cryptography import x509 as cryptography_x509

from ca import x509
from idp_gateway.ca_generations import X509_ISSUING
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import CaState
from idp_gateway.settings import Settings
from idp_gateway.upkeep import follow_names
from tests.idp_gateway.conftest import FixedClock
from tests.support.subjects import csr, ec_key


def server_certificate(gateway: Gateway) -> x509.IssuedCertificate:
    return gateway.authority.issue_server_certificate(csr(ec_key()).decode("ascii")).certificate


def limits(gateway: Gateway) -> list[str]:
    record = gateway.authority.generations.active(X509_ISSUING).record
    certificate = gateway.authority.generations.issuer(record).certificate
    kind = cryptography_x509.NameConstraints
    permitted = certificate.extensions.get_extension_for_class(kind).value.permitted_subtrees
    return [one.value for one in permitted or ()]


def names(issued: x509.IssuedCertificate) -> list[str]:
    kind = cryptography_x509.SubjectAlternativeName
    found = issued.certificate.extensions.get_extension_for_class(kind).value
    return found.get_values_for_type(cryptography_x509.DNSName)


def test_the_issuing_ca_is_limited_to_the_names_in_the_settings(gateway: Gateway) -> None:
    assert limits(gateway) == ["edge.localhost", "gateway.localhost"]
    assert names(server_certificate(gateway)) == ["gateway.localhost", "*.edge.localhost"]


def test_new_names_take_a_new_issuing_ca_at_the_next_start(
    settings: Settings, clock: FixedClock
) -> None:
    before = build_gateway(settings, clock=clock)
    old = server_certificate(before)
    before.close()
    changed = settings.model_copy(update={"edge_domain": "sockets.example.net"})
    gateway = build_gateway(changed, clock=clock)
    follow_names(gateway)
    assert limits(gateway) == ["gateway.localhost", "sockets.example.net"]
    issued = server_certificate(gateway)
    assert names(issued) == ["gateway.localhost", "*.sockets.example.net"]
    assert issued.issuer != old.issuer
    # Certificates of the old one are still taken while they last.
    states = [one.state for one in gateway.store.generations(X509_ISSUING)]
    assert states == [CaState.DRAINING, CaState.ACTIVE]
    old_pem = x509._pem(old.issuer).decode("ascii")
    assert old_pem in gateway.authority.client_cas
    gateway.close()


def test_the_same_names_take_none(settings: Settings, clock: FixedClock) -> None:
    first = build_gateway(settings, clock=clock)
    known = first.store.generations(X509_ISSUING)
    first.close()
    second = build_gateway(settings, clock=clock)
    follow_names(second)
    assert second.store.generations(X509_ISSUING) == known
    second.close()
