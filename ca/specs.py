"""What to sign, as frozen values that check themselves: a spec that exists may be signed.

Times are aware datetimes; a spec keeps them as UTC in whole seconds, because that is what a
certificate can say. Whether a person *may* have the certificate was decided before, elsewhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
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

MAX_SOURCE_ADDRESSES = 128
"""Networks in one SSH certificate; as text they are the longest thing in it."""
MAX_SOURCE_IDS = 64
"""Sets of networks one client certificate names."""

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
_CRITICAL_OPTIONS = frozenset({"force-command", "verify-required"})
_SOURCE_ADDRESS = "source-address"
_MAPPED = IPv6Network("::ffff:0:0/96")
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
_SOURCE_ID = re.compile(r"[0-9a-f]{16}")

Network = IPv4Network | IPv6Network


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
    """Those that name no address."""
    source_addresses: tuple[Network, ...] | None = None
    """The only networks sshd takes it from, whatever their order; ``None`` if from anywhere."""

    def __post_init__(self) -> None:
        _check_principals(self.principals)
        _check_key_id(self.key_id)
        _check_serial(self.serial, MAX_SSH_SERIAL)
        _settle_validity(self, MAX_GRANT_LIFE)
        _check_extensions(self.extensions)
        _check_critical_options(self.critical_options, self.extensions)
        if "verify-required" in self.critical_options and not self.public_key.is_security_key:
            raise errors.OptionError("only a security key can ask for its PIN")
        if self.source_addresses is not None:
            object.__setattr__(self, "source_addresses", _settled(self.source_addresses))
        object.__setattr__(self, "extensions", MappingProxyType(dict(self.extensions)))
        object.__setattr__(self, "critical_options", MappingProxyType(dict(self.critical_options)))

    @property
    def all_critical_options(self) -> Mapping[str, str]:
        """The critical options as they stand in the certificate."""
        if self.source_addresses is None:
            return self.critical_options
        addresses = ",".join(map(str, self.source_addresses))
        return {**self.critical_options, _SOURCE_ADDRESS: addresses}


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
    source_ids: tuple[str, ...] | None = None
    """The sets of networks it is good from, one of which the client must be in; ``None`` if it is
    good from anywhere."""

    def __post_init__(self) -> None:
        if len(self.email) > 254 or not _EMAIL.fullmatch(self.email):
            raise errors.SubjectNameError("a certificate names one plain e-mail address")
        if not _SOCKET_ID.fullmatch(self.socket_id):
            raise errors.SubjectNameError("a socket id has letters, digits and hyphens")
        if isinstance(self.epoch, bool) or not 1 <= self.epoch < 2**63:
            raise errors.SubjectNameError("an epoch is a positive number")
        if self.source_ids is not None:
            _check_source_ids(self.source_ids)
        _check_serial(self.serial, MAX_X509_SERIAL)
        _settle_validity(self, MAX_GRANT_LIFE)

    @property
    def socket_uris(self) -> tuple[str, ...]:
        """The URI names; an edge looks for one of them, exactly.

        What is good from some networks only does not have the name of what is good from anywhere.
        """
        plain = f"urn:mysocket:socket:{self.socket_id}:{self.epoch}"
        if self.source_ids is None:
            return (plain,)
        return tuple(f"{plain}:from:{source_id}" for source_id in sorted(self.source_ids))


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
    if options.get("verify-required"):
        raise errors.OptionError("verify-required takes no value")
    if "force-command" in options:
        if not options["force-command"]:
            raise errors.OptionError("force-command needs a command")
        # A forced command alone leaves every forwarding open.
        if _FORWARDING & extensions.keys():
            raise errors.OptionError("a forced command goes without forwarding")


def _settled(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """The fewest networks that hold the same addresses: IPv4 first, in order."""
    if not networks:
        raise errors.OptionError("a certificate that is good from no address is not made")
    four = [one for one in networks if isinstance(one, IPv4Network)]
    six = [one for one in networks if isinstance(one, IPv6Network)]
    # sshd sees a client of a mapped network at its IPv4 address, and cannot read a scope.
    odd = any(one.subnet_of(_MAPPED) or one.network_address.scope_id for one in six)
    if odd or len(four) + len(six) < len(networks):
        raise errors.OptionError("source addresses are IPv4 networks or plain IPv6 ones")
    settled: tuple[Network, ...] = (*collapse_addresses(four), *collapse_addresses(six))
    if len(settled) > MAX_SOURCE_ADDRESSES:
        raise errors.OptionError(f"a certificate names at most {MAX_SOURCE_ADDRESSES} networks")
    return settled


def _check_source_ids(source_ids: tuple[str, ...]) -> None:
    if not 1 <= len(source_ids) <= MAX_SOURCE_IDS or len(set(source_ids)) != len(source_ids):
        raise errors.SubjectNameError(f"1 to {MAX_SOURCE_IDS} sets of networks, each of them once")
    if not all(_SOURCE_ID.fullmatch(source_id) for source_id in source_ids):
        raise errors.SubjectNameError("a set of networks is named by 16 hexadecimal digits")


def _plain_value(value: str) -> bool:
    return len(value) <= 1024 and value.isascii() and (not value or value.isprintable())
