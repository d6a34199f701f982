"""One moment, and CAs made for the test."""

from datetime import UTC, datetime

import pytest

from ca import ssh, x509
from ca.serials import x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, ROOT_LIFE, CaCertSpec
from tests.support.subjects import DNS_NAMES


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def ssh_ca() -> MemorySigner:
    return MemorySigner(name="ssh user ca", signing_key=ssh.make_user_ca_key())


@pytest.fixture
def root(now: datetime) -> x509.Issuer:
    spec = CaCertSpec(
        common_name="mysocket root 1",
        serial=x509_serial(),
        not_before=now,
        not_after=now + ROOT_LIFE,
    )
    return x509.make_root(MemorySigner(name="root", signing_key=x509.make_ca_key()), spec)


@pytest.fixture
def issuing(root: x509.Issuer, now: datetime) -> x509.Issuer:
    spec = CaCertSpec(
        common_name="mysocket issuing 1",
        serial=x509_serial(),
        not_before=now,
        not_after=now + ISSUING_LIFE,
    )
    signer = MemorySigner(name="issuing", signing_key=x509.make_ca_key())
    return x509.make_issuing_ca(root, signer, spec, dns_names=DNS_NAMES)
