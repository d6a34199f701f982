"""What to sign, as frozen values that check themselves: a spec that exists may be signed.

Times are aware datetimes; a spec keeps them as UTC in whole seconds, because that is what a
certificate can say. Whether a person *may* have the certificate was decided before, elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from types import MappingProxyType

from ca import errors
from ca.serials import MAX_SSH_SERIAL, MAX_X509_SERIAL
from ca.subject_keys import SshPublicKey, TlsPublicKey

MAX_GRANT_LIFE = timedelta(hours=24)
"""Longest life of a certificate that carries a grant, start to end."""
MAX_HOST_LIFE = timedelta(days=31)
"""Longest life of an SSH host certificate, start to end."""
SERVER_LIFE = timedelta(days=7)
"""Usual life of a server certificate: short, so that an edge that stops renewing shows early."""
MAX_SERVER_LIFE = timedelta(days=31)
ISSUING_LIFE = timedelta(days=3 * 365)
ROOT_LIFE = timedelta(days=10 * 365)

MAX_PRINCIPALS = 256
"""SSHKEY_CERT_MAX_PRINCIPALS of OpenSSH."""
MAX_PRINCIPAL_LENGTH = 255
MAX_KEY_ID_LENGTH = 320
"""sshd cuts log lines; beyond this the key id could lose its end. An e-mail address of 254
characters, a decision id and a policy version fit."""

ORIGINAL_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {
        "permit-X11-forwarding": "",
        "permit-agent-forwarding": "",
        "permit-port-forwarding": "",
        "permit-pty": "",
        "permit-user-rc": "",
    }
)
"""What the original service allowed, which is also what ``ssh-keygen -s`` allows by default."""

TUNNEL_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {"permit-port-forwarding": "", "permit-pty": ""}
)
"""What a tunnel login needs: its remote forward, and a screen for the request log."""

_FORWARDING = frozenset(
    {"permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding"}
)
_CRITICAL_OPTIONS = frozenset({"force-command", "source-address", "verify-required"})
_PRINCIPAL = re.compile(r"[A-Za-z0-9!#$%&'+/=^_`{|}~.@:-]+")
_OWN_EXTENSION = re.compile(r"[a-z0-9-]{1,32}@[a-z0-9.-]{1,64}")
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_DNS_NAME = re.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_HOST_NAME = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*"
    r"(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
"""A last label with a letter: an address is not a name."""
_SOCKET_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCertSpec:
    """An OpenSSH user certificate (PROTOCOL.certkeys), for a login or for a tunnel."""

    public_key: SshPublicKey
    key_id: str
    """What sshd writes into its log: ``email/decision-id/policy-version`` for people."""
    principals: tuple[str, ...]
    serial: int
    not_before: datetime
    not_after: datetime
    """First moment the certificate is no longer valid."""
    extensions: Mapping[str, str] = field(default_factory=lambda: ORIGINAL_EXTENSIONS)
    """Name to value; the ``permit-…`` flags have the value ``""``."""
    critical_options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _check_principals(self.principals)
        _check_key_id(self.key_id)
        _check_serial(self.serial, MAX_SSH_SERIAL)
        _settle_validity(self, MAX_GRANT_LIFE)
        _check_extensions(self.extensions)
        _check_critical_options(self.critical_options, self.extensions)
        if "verify-required" in self.critical_options and not self.public_key.is_security_key:
            raise errors.OptionError("only a security key can ask for its PIN")
        object.__setattr__(self, "extensions", MappingProxyType(dict(self.extensions)))
        object.__setattr__(self, "critical_options", MappingProxyType(dict(self.critical_options)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCertSpec:
    """An OpenSSH host certificate: clients that trust the host CA need no line per host."""

    public_key: SshPublicKey
    key_id: str
    principals: tuple[str, ...]
    """Lower-case host names, as clients dial them; no wildcards, no addresses."""
    serial: int
    not_before: datetime
    not_after: datetime
    """First moment the certificate is no longer valid."""

    def __post_init__(self) -> None:
        _check_principals(self.principals)
        for name in self.principals:
            if len(name) > 253 or not _HOST_NAME.fullmatch(name):
                raise errors.PrincipalError(f"not a lower-case host name: {name[:80]!r}")
        if self.public_key.is_security_key:
            raise errors.SpecError("a host's key is not a security key: nobody is there to touch")
        _check_key_id(self.key_id)
        _check_serial(self.serial, MAX_SSH_SERIAL)
        _settle_validity(self, MAX_HOST_LIFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertSpec:
    """An X.509 client certificate that opens one socket at one epoch."""

    public_key: TlsPublicKey
    email: str
    socket_id: str
    epoch: int
    serial: int
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if len(self.email) > 254 or not _EMAIL.fullmatch(self.email):
            raise errors.SubjectNameError("a certificate names one plain e-mail address")
        if not _SOCKET_ID.fullmatch(self.socket_id):
            raise errors.SubjectNameError("a socket id has letters, digits and hyphens")
        if isinstance(self.epoch, bool) or not 1 <= self.epoch < 2**63:
            raise errors.SubjectNameError("an epoch is a positive number")
        _check_serial(self.serial, MAX_X509_SERIAL)
        _settle_validity(self, MAX_GRANT_LIFE)

    @property
    def socket_uri(self) -> str:
        """The URI name an edge matches exactly."""
        return f"urn:mysocket:socket:{self.socket_id}:{self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertSpec:
    """An X.509 server certificate for names of our own."""

    public_key: TlsPublicKey
    dns_names: tuple[str, ...]
    """Lower-case A-labels; a leftmost ``*`` label is allowed (RFC 6125 §6.4.3)."""
    serial: int
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if not self.dns_names or len(set(self.dns_names)) != len(self.dns_names):
            raise errors.SubjectNameError("a server certificate has names, each of them once")
        for name in self.dns_names:
            if len(name) > 253 or not _DNS_NAME.fullmatch(name):
                raise errors.SubjectNameError(f"not a lower-case DNS name: {name!r}")
            if name.startswith("*.") and name.count(".") < 2:
                raise errors.SubjectNameError(f"a wildcard over a whole top level: {name!r}")
        _check_serial(self.serial, MAX_X509_SERIAL)
        _settle_validity(self, MAX_SERVER_LIFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaCertSpec:
    """A certificate authority of our own; its key comes from its signer."""

    common_name: str
    """Distinct per generation: verifiers that find CAs by name must not mix them up."""
    serial: int
    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        plain = self.common_name.isascii() and self.common_name.isprintable()
        if not plain or not 1 <= len(self.common_name) <= 64:
            raise errors.SubjectNameError("a CA's name has 1 to 64 printable ASCII characters")
        _check_serial(self.serial, MAX_X509_SERIAL)
        _settle_validity(self, ROOT_LIFE)


def _check_principals(principals: tuple[str, ...]) -> None:
    if not 1 <= len(principals) <= MAX_PRINCIPALS:
        raise errors.PrincipalError(f"a certificate has 1 to {MAX_PRINCIPALS} principals")
    if len(set(principals)) != len(principals):
        raise errors.PrincipalError("a principal is named once")
    for principal in principals:
        # Old sshd splits a principal on commas and reads * and ? as patterns (CVE-2026-35414).
        if len(principal) > MAX_PRINCIPAL_LENGTH or not _PRINCIPAL.fullmatch(principal):
            raise errors.PrincipalError(f"not one plain principal: {principal[:80]!r}")


def _check_key_id(key_id: str) -> None:
    plain = key_id.isascii() and key_id.isprintable() and " " not in key_id
    if not plain or not 1 <= len(key_id) <= MAX_KEY_ID_LENGTH:
        raise errors.KeyIdError(f"a key id has 1 to {MAX_KEY_ID_LENGTH} visible ASCII characters")


def _check_serial(serial: int, highest: int) -> None:
    if isinstance(serial, bool) or not 1 <= serial <= highest:
        raise errors.SerialError("a serial number is positive and within its format's size")


def _settle_validity(
    spec: UserCertSpec | HostCertSpec | ClientCertSpec | ServerCertSpec | CaCertSpec,
    longest: timedelta,
) -> None:
    """Check the window and store it in whole seconds of UTC."""
    for name in ("not_before", "not_after"):
        moment: datetime = getattr(spec, name)
        if moment.tzinfo is None:
            raise errors.ValidityError("a certificate's times have a time zone")
        settled = moment.astimezone(UTC).replace(microsecond=0)
        object.__setattr__(spec, name, settled)
    if spec.not_before.year < 1970 or spec.not_after <= spec.not_before:
        raise errors.ValidityError("a certificate ends after it starts")
    if spec.not_after - spec.not_before > longest:
        raise errors.ValidityError(f"a certificate of this kind lives at most {longest}")


def _check_extensions(extensions: Mapping[str, str]) -> None:
    for name, value in extensions.items():
        flag = name in ORIGINAL_EXTENSIONS
        if not flag and not _OWN_EXTENSION.fullmatch(name):
            raise errors.OptionError(f"not an extension we sign: {name[:80]!r}")
        if (flag and value) or not _plain_value(value):
            raise errors.OptionError(f"the extension {name} does not take this value")


def _check_critical_options(options: Mapping[str, str], extensions: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in _CRITICAL_OPTIONS or not _plain_value(value):
            raise errors.OptionError(f"not a critical option we sign: {name[:80]!r}")
    if "source-address" in options:
        _check_source_address(options["source-address"])
    if options.get("verify-required"):
        raise errors.OptionError("verify-required takes no value")
    if "force-command" in options:
        if not options["force-command"]:
            raise errors.OptionError("force-command needs a command")
        # A forced command alone leaves every forwarding open.
        if _FORWARDING & extensions.keys():
            raise errors.OptionError("a forced command goes without forwarding")


def _check_source_address(text: str) -> None:
    try:
        for part in text.split(","):
            ip_network(part)
    except ValueError as error:
        raise errors.OptionError("source-address is a list of networks") from error


def _plain_value(value: str) -> bool:
    return len(value) <= 1024 and value.isascii() and (not value or value.isprintable())
