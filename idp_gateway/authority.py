"""The gateway's certificate authority: a grant in, a certificate on record out.

People's certificates are made from a ``Grant`` only. The row that records an issuance is durable
before the certificate is returned; a serial number that was given out before stops the issuance.
Which key signs is ``idp_gateway.ca_generations``'s to say, when it is replaced ``rotation``'s.
"""

from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType

from ca import ssh, x509
from ca.crl import KeptCrls, RevokedX509
from ca.keybox import KeyBox
from ca.serials import ssh_serial, x509_serial
from ca.specs import (
    ORIGINAL_EXTENSIONS,
    SERVER_LIFE,
    TUNNEL_EXTENSIONS,
    ClientCertSpec,
    HostCertSpec,
    ServerCertSpec,
    UserCertSpec,
)
from ca.subject_keys import parse_csr, parse_ssh_public_key
from idp_gateway.bundle_key import load_bundle_signer
from idp_gateway.ca_files import RootFiles
from idp_gateway.ca_generations import (
    SSH_HOST,
    SSH_TUNNEL,
    X509_ISSUING,
    Generations,
    user_ca_id,
)
from idp_gateway.ca_takeover import take_over
from idp_gateway.clock import Clock
from idp_gateway.errors import KeyRevoked, NotFound
from idp_gateway.grant_sources import source_addresses, source_ids
from idp_gateway.issuance_log import IssuanceLog
from idp_gateway.paces import CertificatePace, OwnersPace, Shares
from idp_gateway.prepared import (
    CertificateType,
    Issued,
    Prepared,
    of_grant,
    of_ssh,
    of_x509,
    policy_version,
    prepared_ssh,
    prepared_x509,
)
from idp_gateway.records import (
    AccountRecord,
    CaGenerationRecord,
    CaState,
    CertificateKind,
    CertificateRecord,
    SocketRecord,
)
from idp_gateway.root_list import RootList
from idp_gateway.settings import Settings
from idp_gateway.signing import Signing
from idp_gateway.store import Store
from idp_gateway.store.list_position import Position
from policy.types import Grant, Reason

SSH_PRINCIPAL = "mysocket_ssh_signed"
"""Second principal of every login certificate, as in the original service."""

DECISION_EXTENSION = "decision@mysocket.io"
"""Says in an SSH certificate which decision it rests on: ``<decision id> <policy version>``."""

MAX_PAST_CAS = 32
"""How many retired tunnel CAs edges are told of; a tunnel older than so many rotations is asked to
log in again."""

HOST_LIFE = timedelta(days=14)
"""Life of a host certificate: its host renews it when half of that is over, or the CA's key was
replaced."""

_TLS_SHARES: Shares = {"for_socket": 5, "for_account": 50}
"""How many persons' fill of client certificates there is for a socket, and for all of an account:
revoked, they are on the list that all share (``ca.crl.MAX_REVOKED``), which nobody may fill
alone."""
_SSH_SHARES: Shares = {"for_socket": 15, "for_account": 150}
"""The same of SSH certificates: a socket's list names ``store.revocations.MAX_LISTED``."""
HOST_CERTIFICATES = 4_800
"""Of one socket in a day: its hosts all get new ones at once, and two weeks of them, revoked, fit
on its list."""
TUNNEL_LOGINS = 144_000
"""Certificates for tunnels of one socket in a day; one is asked for at each connection."""

CRL_LIFE = timedelta(days=7)
"""How long a revocation list counts; ``ca.crl.KeptCrls`` says when a new one is made."""


class Authority:
    """Signs for people, tunnels, hosts and edges; each purpose has a key of its own."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        box: KeyBox,
        clock: Clock,
        issuances: IssuanceLog,
    ) -> None:
        """Take keys of earlier versions over, and make those that are missing.

        Raises:
            SettingsError: a signer the settings name is not installed.
            ca.errors.KeyStoreError: a key cannot be opened with this master key.
            ca.errors.IssuanceError: the place of a key is out of reach.
        """
        self._store = store
        self._clock = clock
        self._issuances = issuances
        self._crls = KeptCrls(CRL_LIFE)
        each = settings.certificates_per_person
        self._tls_pace = CertificatePace(each, **_TLS_SHARES)
        self._ssh_pace = CertificatePace(each, **_SSH_SHARES)
        self._host_pace = OwnersPace(HOST_CERTIFICATES)
        self._tunnel_pace = OwnersPace(TUNNEL_LOGINS)
        self._drift = timedelta(minutes=settings.clock_drift_minutes)
        self._life = timedelta(minutes=settings.grant_minutes)
        self._server_names = (*settings.gateway_names, f"*.{settings.edge_domain}")
        self._signing = signing = Signing(settings, box)
        names = (*settings.gateway_names, settings.edge_domain)
        root = RootFiles(settings.state_dir / "ca", box, names)
        self.generations = Generations(store=store, signing=signing, root=root, clock=clock)
        self.root_list = RootList(store=store, root=root, clock=clock)
        take_over(store=store, box=box, signing=signing, generations=self.generations, root=root)
        for ca_id in (X509_ISSUING, SSH_TUNNEL, SSH_HOST):
            self.generations.first(ca_id)
        self.bundle_signer = load_bundle_signer(store, box, clock())

    def close(self) -> None:
        """Let go of the places keys live in."""
        self._signing.close()

    @property
    def trust_pem(self) -> str:
        """PEM of the issuing CA that signs now, then the root."""
        return self.generations.active(X509_ISSUING).record.public

    @property
    def client_cas(self) -> str:
        """PEM of every issuing CA whose client certificates count, the one that signs first.

        Without the root: below it, an issuing CA that was retired would go on counting.
        """
        trusted = self.generations.trusted(X509_ISSUING)
        # An edge renews its own certificate as soon as that is of another than the first.
        ordered = sorted(trusted, key=lambda record: record.state is not CaState.ACTIVE)
        return "".join(_first_certificate(record.public) for record in ordered)

    @property
    def issuing_ca_key_ids(self) -> tuple[str, ...]:
        """``ca_key_id`` of every issuing CA that is trusted."""
        return tuple(record.key_id for record in self.generations.trusted(X509_ISSUING))

    @property
    def tunnel_user_ca(self) -> tuple[str, ...]:
        """Public keys that sign tunnel logins, as ``authorized_keys`` lines."""
        return self._lines(SSH_TUNNEL)

    @property
    def tunnel_user_ca_past(self) -> tuple[str, ...]:
        """Public keys that signed tunnel logins until they were retired: tunnels that stand on
        such a login stay.
        """
        retired = self.generations.retired(SSH_TUNNEL)
        return tuple(record.public for record in retired[-MAX_PAST_CAS:])

    @property
    def host_ca_lines(self) -> tuple[str, ...]:
        """Public keys that sign host certificates, for ``@cert-authority`` lines."""
        return self._lines(SSH_HOST)

    def trusted_user_cas(self, socket_id: str) -> tuple[str, ...]:
        """Public keys whose certificates open the sshd behind a socket, for its
        ``TrustedUserCAKeys``; empty if there is no such socket.
        """
        return self._lines(user_ca_id(socket_id))

    def _lines(self, ca_id: str) -> tuple[str, ...]:
        return tuple(record.public for record in self.generations.trusted(ca_id))

    def new_user_ca(self, socket_id: str) -> CaGenerationRecord:
        """The first key of an SSH user CA for a new socket; it opens for this socket only.

        Raises:
            ca.errors.IssuanceError: the place of the key is out of reach.
        """
        ca_id = user_ca_id(socket_id)
        return self.generations.new(ca_id, generation=1, state=CaState.ACTIVE)

    def issuing_ca(self, ca_key_id: str | None) -> CaGenerationRecord:
        """The issuing CA of that key id if it is trusted; for ``None`` the one that signs.

        Raises:
            NotFound: there is none.
        """
        for record in self.generations.trusted(X509_ISSUING):
            if record.state is CaState.ACTIVE if ca_key_id is None else record.key_id == ca_key_id:
                return record
        raise NotFound("no such issuing CA", reason="ca-unknown")

    def crl(
        self, issuing: CaGenerationRecord, revoked: Sequence[RevokedX509], position: Position
    ) -> bytes:
        """A revocation list (DER) of an issuing CA: this one's certificates, this one's signature.

        Its number grows with ``position``, read before what is revoked was.

        Raises:
            ca.errors.SpecError: an entry is out of range.
        """
        issuer, come = self.generations.issuer(issuing), position.revision + position.log_size
        return self._crls.current(issuer, revoked, self._clock(), position=come)

    def issue_client_certificate(self, grant: Grant, csr: str) -> Issued[x509.IssuedCertificate]:
        """As ``prepare_client_certificate``, put on record."""
        return self._released(self.prepare_client_certificate(grant, csr))

    def prepare_client_certificate(
        self, grant: Grant, csr: str
    ) -> Prepared[x509.IssuedCertificate]:
        """A TLS client certificate for one socket and epoch; only the CSR's key is used.

        If the grant rests on addresses, so does the certificate.

        Raises:
            ca.errors.CsrError: the request is malformed, its key is refused, or it asks for names
                other than the person's address and the socket's.
            KeyRevoked: the key was revoked on this socket.
            TooManyCertificates: the person, the socket or its account was given very many lately.
            Forbidden: no edge could hold the grant to its addresses.
            NotFound: the socket is gone.
        """
        key = parse_csr(csr, names={str(grant.email), grant.dns_name})
        socket = self._check_key(grant.socket_id, key.fingerprint)
        self._tls_pace.take(socket, str(grant.email))
        issuing = self.generations.active(X509_ISSUING).record
        issuer = self.generations.issuer(issuing)
        spec = ClientCertSpec(
            public_key=key,
            email=str(grant.email),
            socket_id=grant.socket_id,
            epoch=grant.epoch,
            serial=x509_serial(),
            not_before=grant.not_before,
            not_after=min(grant.not_after, issuer.not_after),
            source_ids=source_ids(grant),
        )
        issued = x509.issue_client_certificate(issuer, spec)
        certificate = CertificateRecord(
            kind=CertificateKind.X509_CLIENT,
            ca_key_id=issuing.key_id,
            subject=str(grant.email),
            public_key_fingerprint=key.fingerprint,
            issued_at=self._clock(),
            # A request is signed by the key it names.
            proven=True,
            **of_grant(grant),
            **of_x509(issued),
        )
        return prepared_x509(issued, certificate)

    def issue_ssh_certificate(
        self, grant: Grant, public_key: str, *, proven: bool = False
    ) -> Issued[ssh.IssuedSshCertificate]:
        """As ``prepare_ssh_certificate``, put on record.

        Raises:
            Conflict: the serial number was given out before.
        """
        return self._released(self.prepare_ssh_certificate(grant, public_key, proven=proven))

    def prepare_ssh_certificate(
        self, grant: Grant, public_key: str, *, proven: bool = False
    ) -> Prepared[ssh.IssuedSshCertificate]:
        """A login certificate of the socket's own CA, with the original service's principals.

        Its key id and an extension name the decision it rests on. If that rests on addresses, sshd
        takes the certificate from those alone, and from the tunnel's end. ``proven``: whether the
        caller checked that whoever asks has the private half.

        Raises:
            ca.errors.SubjectKeyError: the key is refused.
            KeyRevoked: the key was revoked on this socket.
            TooManyCertificates: the person, the socket or its account was given very many lately.
            NotFound: the socket is gone.
        """
        key = parse_ssh_public_key(public_key)
        socket = self._check_key(grant.socket_id, key.fingerprint)
        self._ssh_pace.take(socket, str(grant.email))
        ca = self.generations.active(user_ca_id(grant.socket_id))
        decision = f"{grant.decision_id} {policy_version(grant)}"
        spec = UserCertSpec(
            public_key=key,
            key_id=f"{grant.email}/{decision.replace(' ', '/')}",
            principals=(str(grant.email), SSH_PRINCIPAL),
            serial=ssh_serial(),
            not_before=grant.not_before,
            not_after=grant.not_after,
            extensions=MappingProxyType({**ORIGINAL_EXTENSIONS, DECISION_EXTENSION: decision}),
            source_addresses=source_addresses(grant, socket.ssh_source_addresses),
        )
        issued = ssh.issue_user_certificate(ca.signer, spec)
        certificate = CertificateRecord(
            kind=CertificateKind.SSH_USER,
            ca_key_id=ca.record.key_id,
            subject=str(grant.email),
            issued_at=self._clock(),
            proven=proven,
            **of_grant(grant),
            **of_ssh(issued),
        )
        return prepared_ssh(issued, certificate)

    def signs_here(self, socket_id: str) -> bool:
        """Whether a socket's logins are signed in this process, without waiting for a token or an
        agent.

        Raises:
            NotFound: the socket has no CA.
        """
        return self.generations.signs_here(user_ca_id(socket_id))

    def issue_host_certificate(
        self,
        *,
        socket_id: str,
        key_id: str,
        public_key: str,
        principals: tuple[str, ...],
    ) -> Issued[ssh.IssuedSshCertificate]:
        """A host certificate for a server behind a socket; the caller checked whose it is, that
        it has the private half, and that the names are the socket's own.

        Raises:
            ca.errors.SubjectKeyError: the key is refused.
            ca.errors.SpecError: a name or the key id is not one to be signed.
            KeyRevoked: the key is revoked on the socket.
            TooManyCertificates: the socket or its account was given very many lately.
            NotFound: the socket is gone.
        """
        key = parse_ssh_public_key(public_key)
        # Read before signing: what is revoked meanwhile names this one too.
        socket = self._check_key(socket_id, key.fingerprint)
        ca = self.generations.active(SSH_HOST)
        self._host_pace.take(socket)
        now = self._clock()
        spec = HostCertSpec(
            public_key=key,
            key_id=key_id,
            principals=principals,
            serial=ssh_serial(),
            not_before=now - self._drift,
            not_after=now - self._drift + HOST_LIFE,
        )
        issued = ssh.issue_host_certificate(ca.signer, spec)
        certificate = CertificateRecord(
            kind=CertificateKind.SSH_HOST,
            ca_key_id=ca.record.key_id,
            subject=principals[0],
            socket_id=socket_id,
            epoch=socket.epoch,
            issued_at=self._clock(),
            proven=True,
            **of_ssh(issued),
        )
        return self._released(prepared_ssh(issued, certificate))

    def issue_tunnel_certificate(
        self,
        *,
        account: AccountRecord,
        socket_id: str,
        tunnel_id: str | None,
        public_key: str,
    ) -> Issued[ssh.IssuedSshCertificate]:
        """A short login to the tunnel server for a socket's owner; the caller checked ownership.

        Raises:
            ca.errors.SubjectKeyError: the key is refused.
            KeyRevoked: the key is revoked on the socket.
            TooManyCertificates: the socket or its account was given very many lately.
            NotFound: the socket is gone.
        """
        key = parse_ssh_public_key(public_key)
        self._tunnel_pace.take(self._check_key(socket_id, key.fingerprint))
        ca = self.generations.active(SSH_TUNNEL)
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
        issued = ssh.issue_user_certificate(ca.signer, spec)
        certificate = CertificateRecord(
            kind=CertificateKind.SSH_TUNNEL,
            ca_key_id=ca.record.key_id,
            subject=issued.key_id,
            socket_id=socket_id,
            issued_at=self._clock(),
            **of_ssh(issued),
        )
        return self._released(prepared_ssh(issued, certificate))

    def issue_server_certificate(self, csr: str) -> Issued[x509.IssuedCertificate]:
        """A certificate for an edge: the product's own names, whatever the CSR says.

        Raises:
            ca.errors.CsrError: the request is malformed or its key is refused.
        """
        key = parse_csr(csr)
        # An edge that was just told of another CA asks at once: not the one remembered for it.
        self.generations.forget()
        issuing = self.generations.active(X509_ISSUING).record
        issuer = self.generations.issuer(issuing)
        now = self._clock()
        spec = ServerCertSpec(
            public_key=key,
            dns_names=self._server_names,
            serial=x509_serial(),
            not_before=now - self._drift,
            not_after=min(now - self._drift + SERVER_LIFE, issuer.not_after),
        )
        issued = x509.issue_server_certificate(issuer, spec)
        certificate = CertificateRecord(
            kind=CertificateKind.X509_SERVER,
            ca_key_id=issuing.key_id,
            subject=self._server_names[0],
            public_key_fingerprint=key.fingerprint,
            issued_at=self._clock(),
            proven=True,
            **of_x509(issued),
        )
        return self._released(prepared_x509(issued, certificate))

    def _released(self, prepared: Prepared[CertificateType]) -> Issued[CertificateType]:
        """Put an issuance on record; only then may the certificate leave."""
        proof = self._issuances.append(prepared.record, prepared.entry)
        return Issued(certificate=prepared.certificate, proof=proof)

    def _check_key(self, socket_id: str, fingerprint: str) -> SocketRecord:
        # The socket first: what is revoked after this look ends the epoch that was read.
        socket = self._socket(socket_id)
        if self._store.blocks_key(socket_id, fingerprint):
            raise KeyRevoked("this key was revoked for this socket; make a new one")
        return socket

    def _socket(self, socket_id: str) -> SocketRecord:
        socket = self._store.find_socket(socket_id)
        if socket is None:
            raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
        return socket


def _first_certificate(chain: str) -> str:
    end = "-----END CERTIFICATE-----\n"
    return chain[: chain.index(end) + len(end)]
