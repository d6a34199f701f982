"""The gateway's certificate authority: a grant in, a certificate on record out.

People's certificates are made from a ``Grant`` only. The row that records an issuance is durable
before the certificate is returned; a serial number that was given out before stops the issuance.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from ca import ssh, x509
from ca.keybox import KeyBox, open_private_key, seal_private_key
from ca.serials import ssh_serial, x509_serial
from ca.signers.base import Signer
from ca.signers.memory import MemorySigner
from ca.specs import SERVER_LIFE, TUNNEL_EXTENSIONS, ClientCertSpec, ServerCertSpec, UserCertSpec
from ca.subject_keys import parse_csr, parse_ssh_public_key
from idp_gateway.ca_files import load_or_make_issuing_ca
from idp_gateway.clock import Clock
from idp_gateway.errors import NotFound
from idp_gateway.records import (
    AccountRecord,
    CertificateKind,
    CertificateRecord,
    SigningKeyRecord,
)
from idp_gateway.settings import Settings
from idp_gateway.store import Store
from policy.types import Grant, Reason

SSH_PRINCIPAL = "mysocket_ssh_signed"
"""Second principal of every login certificate, as in the original service."""

_USER_CA = "ssh-user-ca"
_TUNNEL_CA = "ssh-tunnel-user-ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshUserCa:
    """A socket's own SSH user CA, ready for its row."""

    public_line: str
    sealed: bytes = field(repr=False)


class Authority:
    """Signs for people, tunnels and edges; each purpose has a key of its own."""

    def __init__(self, *, settings: Settings, store: Store, box: KeyBox, clock: Clock) -> None:
        self._store = store
        self._box = box
        self._clock = clock
        self._drift = timedelta(minutes=settings.clock_drift_minutes)
        self._life = timedelta(minutes=settings.grant_minutes)
        self._server_names = (*settings.gateway_names, f"*.{settings.edge_domain}")
        self._directory = settings.state_dir / "ca"
        self._issuing = load_or_make_issuing_ca(self._directory, box, clock())
        self._tunnel_ca = self._load_tunnel_ca()

    @property
    def trust_pem(self) -> str:
        """PEM of the issuing CA, then the root."""
        return self._issuing.trust_pem.decode("ascii")

    @property
    def tunnel_user_ca(self) -> tuple[str, ...]:
        """Public keys that sign tunnel logins, as ``authorized_keys`` lines."""
        return (ssh.ca_public_line(self._tunnel_ca),)

    def renew_issuing_ca(self) -> bool:
        """Go over to a new issuing CA if the present one is near its end, or was followed by one
        already; whether it did.

        Raises:
            ca.errors.KeyStoreError: a file is broken, or sealed with another key.
        """
        latest = load_or_make_issuing_ca(self._directory, self._box, self._clock())
        if latest.certificate.serial_number == self._issuing.certificate.serial_number:
            return False
        self._issuing = latest
        return True

    def new_user_ca(self, socket_id: str) -> SshUserCa:
        """An SSH user CA for a new socket; the seal opens for this socket only."""
        key = ssh.make_user_ca_key()
        signer = MemorySigner(name=socket_id, signing_key=key)
        sealed = seal_private_key(self._box, key, purpose=_USER_CA, object_id=socket_id)
        return SshUserCa(public_line=ssh.ca_public_line(signer), sealed=sealed)

    def issue_client_certificate(self, grant: Grant, csr: str) -> x509.IssuedCertificate:
        """A TLS client certificate for one socket and epoch; only the CSR's key is used.

        Raises:
            ca.errors.CsrError: the request is malformed or its key is refused.
        """
        key = parse_csr(csr)
        spec = ClientCertSpec(
            public_key=key,
            email=str(grant.email),
            socket_id=grant.socket_id,
            epoch=grant.epoch,
            serial=x509_serial(),
            not_before=grant.not_before,
            not_after=min(grant.not_after, self._issuing.not_after),
        )
        issued = x509.issue_client_certificate(self._issuing, spec)
        self._record_x509(
            CertificateKind.X509_CLIENT, issued, str(grant.email), key.fingerprint, grant
        )
        return issued

    def issue_ssh_certificate(
        self, grant: Grant, public_key: str, *, proven: bool = False
    ) -> ssh.IssuedSshCertificate:
        """A login certificate of the socket's own CA, as the original service made them.

        ``proven`` says that the key's holder proved to have its private half; it is recorded.

        Raises:
            ca.errors.SubjectKeyError: the key is refused.
            NotFound: the socket is gone.
        """
        key = parse_ssh_public_key(public_key)
        spec = UserCertSpec(
            public_key=key,
            key_id=str(grant.email),
            principals=(str(grant.email), SSH_PRINCIPAL),
            serial=ssh_serial(),
            not_before=grant.not_before,
            not_after=grant.not_after,
        )
        issued = ssh.issue_user_certificate(self._open_user_ca(grant.socket_id), spec)
        self._record_ssh(
            CertificateKind.SSH_USER,
            issued,
            grant=grant,
            socket_id=grant.socket_id,
            proven=proven,
        )
        return issued

    def issue_tunnel_certificate(
        self,
        *,
        account: AccountRecord,
        socket_id: str,
        tunnel_id: str | None,
        public_key: str,
    ) -> ssh.IssuedSshCertificate:
        """A short login to the tunnel server for a socket's owner; the caller checked ownership.

        Raises:
            ca.errors.SubjectKeyError: the key is refused.
        """
        key = parse_ssh_public_key(public_key)
        now = self._clock()
        place = socket_id if tunnel_id is None else f"{socket_id}:{tunnel_id}"
        spec = UserCertSpec(
            public_key=key,
            key_id=f"{account.user_name}.{account.generation}:{place}",
            principals=(account.user_name,),
            serial=ssh_serial(),
            not_before=now - self._drift,
            not_after=now + self._life,
            extensions=TUNNEL_EXTENSIONS,
        )
        issued = ssh.issue_user_certificate(self._tunnel_ca, spec)
        self._record_ssh(CertificateKind.SSH_TUNNEL, issued, grant=None, socket_id=socket_id)
        return issued

    def issue_server_certificate(self, csr: str) -> x509.IssuedCertificate:
        """A certificate for an edge: the product's own names, whatever the CSR says.

        Raises:
            ca.errors.CsrError: the request is malformed or its key is refused.
        """
        key = parse_csr(csr)
        now = self._clock()
        spec = ServerCertSpec(
            public_key=key,
            dns_names=self._server_names,
            serial=x509_serial(),
            not_before=now - self._drift,
            not_after=min(now - self._drift + SERVER_LIFE, self._issuing.not_after),
        )
        issued = x509.issue_server_certificate(self._issuing, spec)
        self._record_x509(
            CertificateKind.X509_SERVER, issued, self._server_names[0], key.fingerprint, None
        )
        return issued

    def _open_user_ca(self, socket_id: str) -> Signer:
        socket = self._store.find_socket(socket_id)
        if socket is None:
            raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
        key = open_private_key(
            self._box, socket.ssh_ca_private_sealed, purpose=_USER_CA, object_id=socket_id
        )
        return MemorySigner(name=socket_id, signing_key=key)

    def _load_tunnel_ca(self) -> Signer:
        def make() -> SigningKeyRecord:
            key = ssh.make_user_ca_key()
            line = ssh.ca_public_line(MemorySigner(name=_TUNNEL_CA, signing_key=key))
            return SigningKeyRecord(
                purpose=_TUNNEL_CA,
                key_id=ssh.fingerprint(line),
                public={"line": line},
                private_sealed=seal_private_key(
                    self._box, key, purpose=_TUNNEL_CA, object_id=_TUNNEL_CA
                ),
                created_at=self._clock(),
            )

        record = self._store.signing_key(_TUNNEL_CA, make)
        key = open_private_key(
            self._box, record.private_sealed, purpose=_TUNNEL_CA, object_id=_TUNNEL_CA
        )
        return MemorySigner(name=_TUNNEL_CA, signing_key=key)

    def _record_x509(
        self,
        kind: CertificateKind,
        issued: x509.IssuedCertificate,
        subject: str,
        fingerprint: str,
        grant: Grant | None,
    ) -> None:
        self._store.record_certificate(
            CertificateRecord(
                serial=format(issued.serial, "x"),
                kind=kind,
                ca_key_id=format(self._issuing.certificate.serial_number, "x"),
                subject=subject,
                socket_id=grant.socket_id if grant else None,
                epoch=grant.epoch if grant else None,
                grant_id=grant.grant_id if grant else None,
                decision_id=grant.decision_id if grant else None,
                public_key_fingerprint=fingerprint,
                not_before=issued.not_before,
                not_after=issued.not_after,
                issued_at=self._clock(),
                body=issued.pem.decode("ascii"),
            )
        )

    def _record_ssh(
        self,
        kind: CertificateKind,
        issued: ssh.IssuedSshCertificate,
        *,
        grant: Grant | None,
        socket_id: str,
        proven: bool = False,
    ) -> None:
        self._store.record_certificate(
            CertificateRecord(
                serial=str(issued.serial),
                kind=kind,
                ca_key_id=issued.ca_fingerprint,
                subject=issued.key_id,
                socket_id=socket_id,
                epoch=grant.epoch if grant else None,
                grant_id=grant.grant_id if grant else None,
                decision_id=grant.decision_id if grant else None,
                public_key_fingerprint=issued.subject_fingerprint,
                not_before=issued.not_before,
                not_after=issued.not_after,
                issued_at=self._clock(),
                body=issued.line,
                proven=proven,
            )
        )
