"""Who a tunnel client is: an account's registered key, or a certificate of the gateway's CA.

Everything is decided from the edge's state. An account that does not exist and a key that is not
registered take the same path and get the same answer.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import asyncssh
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    SSHCertPublicKeyTypes,
    load_ssh_public_identity,
)

from proxy.errors import TunnelRefused
from proxy.state import EdgeState, Trust, TunnelUser, changed_keys

CERTIFICATE_SUFFIX = b"-cert-v01@openssh.com"
_SHORT_TYPES = {
    b"ssh-ed25519": "ED25519",
    b"ssh-rsa": "RSA",
    **{b"ecdsa-sha2-nistp%d" % bits: "ECDSA" for bits in (256, 384, 521)},
    b"sk-ssh-ed25519@openssh.com": "ED25519-SK",
    b"sk-ecdsa-sha2-nistp256@openssh.com": "ECDSA-SK",
}
"""What sshd calls them in its log."""
_PURPOSE = re.compile(
    rb"(?P<user_name>[0-9a-f]{32})\.(?P<generation>[1-9][0-9]{0,8})"
    rb":(?P<socket_id>[0-9A-Za-z_-]{1,64})(?::(?P<tunnel_id>[0-9A-Za-z_-]{1,64}))?"
)
"""The key id of a tunnel login, see ``docs/internals.md``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A proven login: which account, by which key, and for which socket it was made out."""

    user_name: str
    key: bytes
    """Public key blob (RFC 4253 §6.6) that proved it: the account's own, or the CA's."""
    by_certificate: bool
    socket_id: str | None = None
    """Only this socket, if the certificate names one."""
    tunnel_id: str | None = None
    generation: int | None = None
    """Of the account, as the certificate names it."""
    shown: str
    """Key or certificate as sshd names them in its log, for ``mysocketctl ca reconcile``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginKeys:
    """The keys of a state, decoded once: per account, and the trusted CAs."""

    accounts: Mapping[str, frozenset[bytes]]
    authorities: frozenset[bytes]
    users: Mapping[str, TunnelUser]
    """What ``accounts`` was decoded from."""
    trust: Trust | None = None
    """What ``authorities`` and ``past`` were decoded from."""
    past: frozenset[bytes] = frozenset()
    """CAs by which nobody logs in any more, and may have before."""

    @classmethod
    def of(cls, state: EdgeState | None, earlier: Self | None = None) -> Self:
        """Keys that cannot be decoded are left out: nobody can log in with them.

        What is as in ``earlier`` is not decoded again; if no account differs, ``accounts`` is the
        same object.
        """
        if earlier is None:
            earlier = cls(accounts={}, authorities=frozenset(), users={})
        if state is None:
            return earlier
        accounts, authorities, past = earlier.accounts, earlier.authorities, earlier.past
        if changes := changed_keys(earlier.users, state.tunnel_users):
            users = state.tunnel_users
            accounts = {name: blobs for name, blobs in accounts.items() if name not in changes} | {
                name: _blobs(users[name].public_keys) for name in changes if name in users
            }
        if earlier.trust is not state.trust:
            authorities = _blobs(state.trust.tunnel_user_ca)
            past = _blobs(state.trust.tunnel_user_ca_past)
        return cls(
            accounts=accounts,
            authorities=authorities,
            past=past,
            users=state.tunnel_users,
            trust=state.trust,
        )

    def knows(self, user_name: str, key: bytes) -> bool:
        """Whether the account registered this public key blob."""
        return key in self.accounts.get(user_name, frozenset())

    def still_allow(self, login: Login) -> bool:
        """Whether a login made earlier still counts, whenever its certificate may have ended."""
        if login.by_certificate:
            return login.key in self.authorities | self.past and self.is_current(login)
        return self.knows(login.user_name, login.key)

    def is_current(self, login: Login) -> bool:
        """Whether the account a certificate is made out to is still in the same hands.

        A later generation than is known here is the gateway's, and this edge has yet to hear of it.
        """
        user = self.users.get(login.user_name)
        return user is not None and (login.generation or 0) >= user.generation


def _blobs(lines: tuple[str, ...]) -> frozenset[bytes]:
    blobs = set()
    for line in lines:
        try:
            blobs.add(asyncssh.import_public_key(line).public_data)
        except (asyncssh.KeyImportError, ValueError):
            continue
    return frozenset(blobs)


def is_certificate(blob: bytes) -> bool:
    """Whether a public key blob is an OpenSSH certificate, by its type string."""
    return _type_of(blob).endswith(CERTIFICATE_SUFFIX)


def read_certificate(blob: bytes, user_name: str, keys: LoginKeys, now: datetime) -> Login:
    """Check a user certificate (PROTOCOL.certkeys) made out for a tunnel of ``user_name``.

    Possession of the certified key is not checked here; the SSH server does that.

    Raises:
        TunnelRefused: with the reason; no client is told which.
    """
    certificate = _decoded(blob)
    authority = _blob_of(certificate.signature_key())
    if authority not in keys.authorities:
        raise TunnelRefused("unknown-authority", "the certificate's CA is not trusted here")
    if certificate.type is not SSHCertificateType.USER:
        raise TunnelRefused("not-a-user-certificate", "a host certificate is no login")
    if certificate.valid_principals != [user_name.encode()]:
        raise TunnelRefused("wrong-principal", "the certificate is for another account")
    if certificate.critical_options:
        raise TunnelRefused("unknown-option", "the certificate has a critical option")
    if not certificate.valid_after <= now.timestamp() < certificate.valid_before:
        until = datetime.fromtimestamp(min(certificate.valid_before, 2**33), UTC)
        raise TunnelRefused("certificate-expired", f"the certificate is not valid now ({until})")
    login = _login(certificate, user_name, authority)
    if not keys.is_current(login):
        raise TunnelRefused("account-handed-over", "the account has another owner since")
    return login


def _decoded(blob: bytes) -> SSHCertificate:
    try:
        line = _type_of(blob) + b" " + base64.b64encode(blob)
        certificate = load_ssh_public_identity(line)
        if not isinstance(certificate, SSHCertificate):
            raise TunnelRefused("not-a-certificate", "a plain key where a certificate is due")
        certificate.verify_cert_signature()
    except (ValueError, RuntimeError, UnsupportedAlgorithm, InvalidSignature) as error:
        # The library raises a RuntimeError for a point in its compressed form.
        raise TunnelRefused("bad-certificate", "the certificate cannot be read") from error
    return certificate


def _blob_of(key: SSHCertPublicKeyTypes) -> bytes:
    line = key.public_bytes(encoding=Encoding.OpenSSH, format=PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def key_login(user_name: str, key: bytes) -> Login:
    """The login of an account by a key of its own."""
    return Login(user_name=user_name, key=key, by_certificate=False, shown=_in_words(key))


def _in_words(key: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f"{_SHORT_TYPES.get(_type_of(key), 'UNKNOWN')} SHA256:{digest}"


def _login(certificate: SSHCertificate, user_name: str, authority: bytes) -> Login:
    found = _PURPOSE.fullmatch(certificate.key_id)
    if found is None or found["user_name"] != user_name.encode():
        raise TunnelRefused("wrong-purpose", "the certificate is not for a tunnel")
    key_type, fingerprint = _in_words(_blob_of(certificate.public_key())).split()
    shown = (
        f"{key_type}-CERT {fingerprint} ID {found[0].decode()} "
        f"(serial {certificate.serial}) CA {_in_words(authority)}"
    )
    tunnel_id = found["tunnel_id"]
    return Login(
        user_name=user_name,
        key=authority,
        by_certificate=True,
        socket_id=found["socket_id"].decode(),
        tunnel_id=None if tunnel_id is None else tunnel_id.decode(),
        generation=int(found["generation"]),
        shown=shown,
    )


def _type_of(blob: bytes) -> bytes:
    """The first string of a blob (RFC 4251 §5), or nothing."""
    if len(blob) < 4:
        return b""
    (length,) = struct.unpack(">I", blob[:4])
    return blob[4 : 4 + length] if length <= 64 else b""
