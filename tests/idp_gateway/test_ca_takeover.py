"""A gateway of before there were generations goes on with the very same keys."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import (
    AuthorityKeyIdentifier,
    BasicConstraints,
    Certificate,
    CertificateBuilder,
    ExtendedKeyUsage,
    KeyUsage,
    Name,
    NameAttribute,
    SubjectKeyIdentifier,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Connection, text

from ca import ssh, x509
from ca.errors import SealBrokenError
from ca.keybox import KeyBox, seal_private_key
from ca.serials import x509_serial
from ca.signers.file import FileSigner
from ca.signers.memory import MemorySigner
from idp_gateway.ca_files import RootFiles
from idp_gateway.ca_generations import SSH_TUNNEL, X509_ISSUING, user_ca_id
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.records import CaState
from idp_gateway.secret_files import load_or_make_secret
from idp_gateway.settings import Settings
from idp_gateway.store import Database
from idp_gateway.store.migrate import alembic_config
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_authority import csr, ssh_key
from tests.support.grants import grant

SOCKETS = ("socket-1", "socket-2")
TUNNEL = "ssh-tunnel-user-ca"


class Before:
    """The keys of an installation of the version before, on disk and in its database."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self.settings = settings
        self.box = KeyBox(load_or_make_secret(settings.master_key_file))
        self.keys = {name: ed25519.Ed25519PrivateKey.generate() for name in (*SOCKETS, TUNNEL)}
        database = Database(settings.database_url)
        with database.writing() as connection:
            command.upgrade(alembic_config(connection), "0002")
            self._fill(connection, now)
        database.close()
        self.issuing = self._make_issuing_ca(now)

    def line(self, name: str) -> str:
        return ssh.ca_public_line(MemorySigner(name=name, signing_key=self.keys[name]))

    def _fill(self, connection: Connection, now: datetime) -> None:
        connection.execute(
            text(
                "INSERT INTO accounts (account_id, email, email_verified, name, password_hash,"
                " ssh_key, created_at) VALUES ('a', 'a@corp.test', 1, 'A', 'h', '', :now)"
            ),
            {"now": now},
        )
        for number, name in enumerate(SOCKETS):
            self._add_socket(connection, number, name, now)
        sealed = seal_private_key(self.box, self.keys[TUNNEL], purpose=TUNNEL, object_id=TUNNEL)
        self._insert(
            connection,
            "signing_keys",
            purpose=TUNNEL,
            key_id=ssh.fingerprint(self.line(TUNNEL)),
            public=json.dumps({"line": self.line(TUNNEL)}),
            private_sealed=sealed,
            created_at=now,
        )

    def _add_socket(self, connection: Connection, number: int, name: str, now: datetime) -> None:
        words = ("protected_username", "protected_password", "description", "upstream_username")
        words += ("upstream_password", "upstream_http_hostname", "upstream_type")
        flags = ("protected", "cloud_authentication_enabled", "private_socket")
        sealed = seal_private_key(self.box, self.keys[name], purpose="ssh-user-ca", object_id=name)
        self._insert(
            connection,
            "sockets",
            socket_id=name,
            account_id="a",
            dns_name=f"{name}.edge.test",
            name=name,
            socket_type="tls",
            port=20000 + number,
            emails="[]",
            domains="[]",
            tags="{}",
            epoch=1,
            ssh_ca_public=self.line(name),
            ssh_ca_private_sealed=sealed,
            created_at=now,
            **dict.fromkeys(words, ""),
            **dict.fromkeys(flags, False),
        )

    def _insert(self, connection: Connection, table: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)

    def _make_issuing_ca(self, now: datetime) -> x509.Issuer:
        directory = self.settings.state_dir / "ca"
        root = RootFiles(directory, self.box, ("edge.test",)).root(now)
        signer = FileSigner.create(
            directory / "issuing.key", self.box, x509.make_ca_key(), name="issuing"
        )
        certificate = unlimited_ca(root.certificate, root.signer.signing_key, signer, now)
        issuer = x509.Issuer(certificate=certificate, signer=signer, parents=(root.certificate,))
        (directory / "issuing.pem").write_bytes(issuer.trust_pem)
        return issuer


def unlimited_ca(
    root: Certificate, root_key: Any, signer: FileSigner, now: datetime
) -> Certificate:
    """An issuing CA as the first version made it: below the root, for any name."""
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("digital_signature", "encipher_only", "decipher_only"),
        ),
        False,
    )
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    key_id = root.extensions.get_extension_for_class(SubjectKeyIdentifier).value
    return (
        CertificateBuilder()
        .subject_name(Name([NameAttribute(NameOID.COMMON_NAME, "mysocket issuing 1")]))
        .issuer_name(root.subject)
        .public_key(signer.public_key)
        .serial_number(x509_serial())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1000))
        .add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(SubjectKeyIdentifier.from_public_key(signer.public_key), critical=False)
        .add_extension(ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
        )
        .sign(root_key, SHA256())
    )


@pytest.fixture
def before(tmp_path: Path, clock: FixedClock) -> Before:
    return Before(Settings(state_dir=tmp_path / "before"), clock())


def test_every_key_is_the_first_generation_of_its_ca(before: Before, clock: FixedClock) -> None:
    gateway = build_gateway(before.settings, clock=clock)
    for name in SOCKETS:
        assert gateway.authority.trusted_user_cas(name) == (before.line(name),)
    assert gateway.authority.tunnel_user_ca == (before.line(TUNNEL),)
    assert gateway.authority.trust_pem.encode() == before.issuing.trust_pem
    for ca_id in (*map(user_ca_id, SOCKETS), SSH_TUNNEL, X509_ISSUING):
        (record,) = gateway.store.generations(ca_id)
        assert (record.generation, record.state) == (1, CaState.ACTIVE)
    signed = gateway.authority.issue_ssh_certificate(grant(), ssh_key()).certificate
    assert signed.ca_fingerprint == ssh.fingerprint(before.line("socket-1"))
    issued = gateway.authority.issue_client_certificate(grant(), csr()).certificate
    assert issued.issuer == before.issuing.certificate
    gateway.close()


def test_it_happens_once_and_can_be_cut_short(before: Before, clock: FixedClock) -> None:
    first = build_gateway(before.settings, clock=clock)
    known = {ca: first.store.generations(ca) for ca in (user_ca_id("socket-1"), X509_ISSUING)}
    first.close()
    second = build_gateway(before.settings, clock=clock)
    assert {ca: second.store.generations(ca) for ca in known} == known
    assert not (before.settings.state_dir / "ca" / "issuing.key").exists()
    second.close()


def test_another_master_key_takes_nothing_over(before: Before, clock: FixedClock) -> None:
    before.settings.master_key_file.unlink()
    with pytest.raises(SealBrokenError):
        build_gateway(before.settings, clock=clock)


def test_an_issuing_ca_of_before_that_may_certify_every_name_is_rotated_by_itself(
    before: Before, clock: FixedClock
) -> None:
    gateway: Gateway = build_gateway(before.settings, clock=clock)
    assert gateway.authority.generations.issuing_ca_outlived()
    assert not gateway.authority.generations.names_changed()
    gateway.close()
