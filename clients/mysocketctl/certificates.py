"""Certificates of this person for one socket: kept ones, renewals, and the login behind them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ca.formats.ssh_certificate import SshCertificate
from clients.mysocketctl.api import GatewayApi, Json, segment, text_field
from clients.mysocketctl.errors import NotLoggedIn, ProtocolViolation
from clients.mysocketctl.files import (
    CachedCertificate,
    HomeFiles,
    fresh_certificate,
    locked,
    remove,
    write_certificate,
    write_private,
)
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.oauth import LoginRequest, log_in
from clients.mysocketctl.settings import Settings
from clients.mysocketctl.standing import still_counts
from clients.mysocketctl.tokens import kept_client_token, read_claims

Post = Callable[[str, Json], Json]
"""POST a body to the socket's path of that name, with the client token; the answer."""


class ClientIdentity:
    """Who this person is towards one socket; logs in when it has to."""

    def __init__(self, settings: Settings, dns_name: str, *, way: str | None = None) -> None:
        self.files = HomeFiles(settings.home)
        self.dns_name = dns_name
        self._settings, self._way = settings, way or settings.login_way

    def certificate(self, *, fresh: bool = False) -> CachedCertificate:
        """A certificate good for half a minute at least; ``fresh`` never gives the kept one."""
        with self.alone():
            kept = None if fresh else fresh_certificate(self.files, self.dns_name)
            return kept or self._renew()

    def _renew(self) -> CachedCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.dns_name[:64])])
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        )
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        token, answer = self.ask("csr", {"csr": pem})
        chain = text_field(answer, "client_certificate")
        try:
            leaf = x509.load_pem_x509_certificate(chain.encode())
        except (ValueError, x509.InvalidVersion) as error:
            raise ProtocolViolation("the gateway's answer is no certificate") from error
        self.check_logged(
            answer, kind="x509", certificate=leaf.public_bytes(serialization.Encoding.DER)
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return write_certificate(
            self.files,
            self.dns_name,
            chain=chain,
            key=private.decode(),
            not_after=int(leaf.not_valid_after_utc.timestamp()),
            port=read_claims(token).socket_port,
        )

    def ask(self, what: str, body: Json) -> tuple[str, Json]:
        """POST to the socket's ``what`` with the client token; token and answer."""
        return self.converse(lambda post: post(what, body))

    def converse(self, exchange: Callable[[Post], Json]) -> tuple[str, Json]:
        """Ask the gateway several things under one client token; token and what came out.

        A token that the gateway no longer takes is dropped, and after one new login the exchange
        starts again from its beginning.
        """
        with GatewayApi(self._settings) as api:
            token = kept_client_token(self.files, self.dns_name)
            if token is not None:
                try:
                    return token, exchange(self._post(api, token))
                except NotLoggedIn:
                    remove(self.files.client_token(self.dns_name))
            token = self.log_in(api)
            return token, exchange(self._post(api, token))

    def check_logged(
        self, answer: Json, *, kind: Literal["ssh", "x509"], certificate: bytes
    ) -> None:
        """Check the proof that a new certificate is in the gateway's log, see ``LogTrust.check``.

        Raises:
            LogNotTrusted: the proof does not hold, or there is none and one is demanded.
        """
        with GatewayApi(self._settings) as api:
            LogTrust(self._settings, api).check(answer, kind=kind, certificate=certificate)

    def still_counts(self, kept: SshCertificate) -> bool:
        """Whether servers still take a kept SSH certificate, as far as the gateway says."""
        return still_counts(self._settings, self.dns_name, kept)

    def _post(self, api: GatewayApi, token: str) -> Post:
        place = f"/mtls-ca/socket/{segment(self.dns_name)}"
        return lambda what, body: api.post(f"{place}/{what}", body, token=token)

    def log_in(self, api: GatewayApi, say: Callable[[str], None] | None = None) -> str:
        """A new client token, which is also kept."""
        request = LoginRequest(resource=f"https://{self.dns_name}", way=self._way)
        if say is not None:
            request = LoginRequest(resource=request.resource, way=self._way, say=say)
        token = log_in(api, request)
        read_claims(token)
        write_private(self.files.client_token(self.dns_name), token + "\n")
        return token

    def log_out(self) -> bool:
        """Forget token, certificate and keys of this socket; whether there were any."""
        files, name = self.files, self.dns_name
        paths = [
            files.client_token(name),
            files.certificate(name),
            files.certificate_key(name),
            files.ssh_certificate(name),
        ]
        removed = [remove(path) for path in paths]
        return any(removed)

    def alone(self) -> AbstractContextManager[None]:
        """One renewal at a time per socket, also among processes: one login page, not five.

        Raises InvalidInput.
        """
        return locked(self.files.lock(self.dns_name))
