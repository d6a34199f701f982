"""Reads a *finished* SSH certificate and says what is wrong with it, whoever made it.

It sees the bytes, not what somebody meant. The rules come from what OpenSSH of any age does with
odd certificates; ``ssh_lint_rules`` has them with their reasons. Whether the certificate is valid
*now*, and whether its CA is to be trusted, are the verifier's questions and not asked here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import pairwise
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import rsa

from ca.formats.errors import (
    CertificateFormatError,
    CertificateTypeUnknownError,
    KeyFormatError,
    KeyIsCertificateError,
    KeyTypeUnknownError,
    SignatureInvalid,
    WireError,
)
from ca.formats.ssh_certificate import (
    FOREVER,
    HOST,
    USER,
    Options,
    SshCertificate,
    parse_certificate_blob,
    parse_certificate_line,
)
from ca.formats.ssh_keys import CERTIFICATE_SUFFIX, PublicKey, parse_key_blob, verify_signature
from ca.formats.ssh_lint_rules import RULES, Profile, Severity
from ca.formats.wire import Reader

__all__ = ["Finding", "Profile", "Severity", "lint", "lint_certificate"]

_DAY = 24 * 60 * 60
MAX_PRINCIPALS = 256
"""SSHKEY_CERT_MAX_PRINCIPALS of OpenSSH."""
MAX_PRINCIPAL_LENGTH = 255
MAX_KEY_ID_LENGTH = 320

_FLAGS = frozenset(
    {
        b"no-touch-required",
        b"permit-X11-forwarding",
        b"permit-agent-forwarding",
        b"permit-port-forwarding",
        b"permit-pty",
        b"permit-user-rc",
        b"verify-required",
    }
)
_EXTENSIONS = _FLAGS - {b"verify-required"}
_FORWARDING = frozenset(
    {b"permit-X11-forwarding", b"permit-agent-forwarding", b"permit-port-forwarding"}
)
_CRITICAL_OPTIONS = frozenset({b"force-command", b"source-address", b"verify-required"})
_VISIBLE = re.compile(rb"[!-~]*")
_PRINTABLE = re.compile(rb"[ -~]*")
_HOST_NAME = re.compile(
    rb"(?:[a-z0-9*?](?:[a-z0-9*?-]{0,61}[a-z0-9*?])?\.)*[a-z0-9*?](?:[a-z0-9*?-]{0,61}[a-z0-9*?])?"
    rb"|[0-9a-f:]*:[0-9a-f:.]*"
)
"""Wildcards are named by a rule of their own; an IPv6 address is a name to ssh."""
_NETWORK = re.compile(r"[0-9a-fA-F:.]+(?:/[0-9]{1,3})?")

_Broken = Iterator[tuple[str, str]]
"""Names of broken rules and what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule."""

    rule: str
    """Stable kebab-case name, one of ``ssh_lint_rules.RULES``."""
    message: str
    """What was seen, for people; may quote the certificate, with escapes."""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Where a profile draws its lines."""

    user_life: int
    host_life: int
    nonce: int
    ca_rsa_bits: int
    lowest_exponent: int


_LIMITS: Mapping[Profile, _Limits] = MappingProxyType(
    {
        Profile.OURS: _Limits(
            user_life=_DAY,
            host_life=31 * _DAY,
            nonce=32,
            ca_rsa_bits=3072,
            lowest_exponent=65537,
        ),
        Profile.GENERAL: _Limits(
            user_life=31 * _DAY,
            host_life=400 * _DAY,
            nonce=16,
            ca_rsa_bits=2048,
            lowest_exponent=3,
        ),
    }
)
_MIN_SUBJECT_RSA_BITS = 2048
_SMALL_SERIAL = 2**32


def lint(blob_or_line: bytes, *, profile: Profile) -> tuple[Finding, ...]:
    """What is wrong with a certificate, in wire format or as a ``-cert.pub`` line.

    Total: bytes that are no certificate are a finding. Nothing found means: well-formed, signed by
    the key it names, and within every rule of the profile.
    """
    try:
        # A blob begins with the length of its type, below 2^24; a line never begins with a zero.
        if blob_or_line[:1] == b"\0":
            certificate = parse_certificate_blob(blob_or_line)
        else:
            certificate = parse_certificate_line(blob_or_line)
    except CertificateTypeUnknownError as error:
        rule = "certificate-type-unsupported" if _claims(blob_or_line) else "not-a-certificate"
        return (Finding(rule=rule, message=str(error)),)
    except CertificateFormatError as error:
        return (Finding(rule="certificate-malformed", message=str(error)),)
    return lint_certificate(certificate, profile=profile)


def lint_certificate(certificate: SshCertificate, *, profile: Profile) -> tuple[Finding, ...]:
    """As ``lint``, for a certificate that is already read; its signature is verified here."""
    found = []
    for check in _CHECKS:
        for rule, message in check(certificate, _LIMITS[profile]):
            severity = RULES[rule].severity(profile)
            if severity is not None:
                found.append(Finding(rule=rule, severity=severity, message=message))
    return tuple(found)


def _claims(blob_or_line: bytes) -> bool:
    """Whether the bytes name a certificate type, of whatever key."""
    try:
        named = Reader(blob_or_line).string()
    except WireError:
        named = blob_or_line[:256].split()[0]
    return named.endswith(CERTIFICATE_SUFFIX.encode("ascii"))


def _check_signature(certificate: SshCertificate, limits: _Limits) -> _Broken:
    try:
        authority = parse_key_blob(certificate.signature_key)
    except KeyIsCertificateError:
        yield "signature-key-is-certificate", "signed by a certificate"
        return
    except KeyTypeUnknownError as error:
        yield "signature-key-unsupported", str(error)
        return
    except KeyFormatError as error:
        yield "signature-key-malformed", str(error)
        return
    if certificate.signature_algorithm == b"ssh-rsa":
        yield "signature-sha1", "signed with RSA and SHA-1"
    else:
        try:
            verify_signature(authority, certificate.signature, certificate.signed)
        except SignatureInvalid as error:
            yield "signature-invalid", str(error)
    yield from _weakness("signature-key-weak", authority.key, limits.ca_rsa_bits, limits)
    if certificate.signature_key == certificate.key_blob.blob:
        yield "subject-is-ca", "the CA certified its own key"


def _check_form(certificate: SshCertificate, limits: _Limits) -> _Broken:
    if certificate.kind not in (USER, HOST):
        yield "kind-unknown", f"the kind is {certificate.kind}"
    if len(certificate.nonce) < limits.nonce:
        yield "nonce-short", f"{len(certificate.nonce)} octets"
    if certificate.reserved:
        yield "reserved-not-empty", f"{len(certificate.reserved)} octets"
    yield from _weakness(
        "subject-key-weak", certificate.key_blob.key, _MIN_SUBJECT_RSA_BITS, limits
    )


def _weakness(rule: str, key: PublicKey, min_bits: int, limits: _Limits) -> _Broken:
    if not isinstance(key, rsa.RSAPublicKey):
        return
    exponent = key.public_numbers().e
    if key.key_size < min_bits:
        yield rule, f"RSA with {key.key_size} bits"
    elif exponent < limits.lowest_exponent:
        yield rule, f"RSA with the exponent {exponent}"


def _check_identity(certificate: SshCertificate, _: _Limits) -> _Broken:
    key_id, serial = certificate.key_id, certificate.serial
    if serial == 0:
        yield "serial-zero", "the serial is 0"
    elif serial < _SMALL_SERIAL:
        yield "serial-guessable", f"the serial is {serial}"
    if not key_id:
        yield "key-id-empty", "the key id is empty"
    if len(key_id) > MAX_KEY_ID_LENGTH:
        yield "key-id-too-long", f"{len(key_id)} octets"
    if not _VISIBLE.fullmatch(key_id):
        yield "key-id-odd", f"the key id is {_shown(key_id)}"


def _check_principals(certificate: SshCertificate, _: _Limits) -> _Broken:
    principals = certificate.principals
    if not principals:
        yield "principals-empty", "there is no principal"
    if len(principals) > MAX_PRINCIPALS:
        yield "principals-too-many", f"{len(principals)} principals"
    if len(set(principals)) < len(principals):
        yield "principal-duplicate", "a principal is named twice"
    host = certificate.kind == HOST
    broken = (found for one in principals for found in _check_principal(one, host=host))
    # One finding for each rule: a certificate has room for thousands of bad names.
    yield from {rule: (rule, message) for rule, message in broken}.values()


def _check_principal(principal: bytes, *, host: bool) -> _Broken:
    shown = _shown(principal)
    if not principal:
        yield "principal-empty", "a principal is empty"
    elif b"," in principal:
        yield "principal-comma", shown
    elif not _VISIBLE.fullmatch(principal):
        yield "principal-odd", shown
    elif host and not _HOST_NAME.fullmatch(principal):
        yield "principal-no-host-name", shown
    if b"*" in principal or b"?" in principal:
        yield "host-wildcard" if host else "principal-wildcard", shown
    if len(principal) > MAX_PRINCIPAL_LENGTH:
        yield "principal-too-long", f"{len(principal)} octets"


def _check_window(certificate: SshCertificate, limits: _Limits) -> _Broken:
    start, end = certificate.valid_after, certificate.valid_before
    longest = limits.host_life if certificate.kind == HOST else limits.user_life
    if start == 0:
        yield "validity-no-start", "it starts in 1970"
    if end <= start:
        yield "validity-empty", f"from {start} to {end}"
    elif end == FOREVER:
        yield "validity-endless", "it never ends"
    elif end - start > longest:
        yield "validity-too-long", f"{(end - start) / _DAY:.1f} days, at most {longest // _DAY}"


def _check_options(certificate: SshCertificate, _: _Limits) -> _Broken:
    for options in (certificate.critical_options, certificate.extensions):
        names = [name for name, _value in options]
        if len(set(names)) < len(names):
            yield "option-duplicate", "a name stands twice"
        if any(later < earlier for earlier, later in pairwise(names)):
            yield "options-unordered", ", ".join(map(_shown, names[:16]))
        broken = (found for name, value in options for found in _check_value(name, value))
        yield from {rule: (rule, message) for rule, message in broken}.values()
    if certificate.kind == HOST:
        yield from _check_host_options(certificate)
    else:
        yield from _check_user_options(certificate)


def _check_value(name: bytes, value: bytes) -> _Broken:
    if name in _FLAGS and value:
        yield "flag-with-value", _shown(name)
    if not _PRINTABLE.fullmatch(value):
        yield "option-value-odd", f"{_shown(name)}: {_shown(value)}"


def _check_host_options(certificate: SshCertificate) -> _Broken:
    if certificate.critical_options:
        yield "host-with-options", _shown(certificate.critical_options[0][0])
    plain = [name for name, _ in certificate.extensions if b"@" not in name]
    if plain:
        yield "host-with-extensions", _shown(plain[0])


def _check_user_options(certificate: SshCertificate) -> _Broken:
    critical, extensions = certificate.critical_options, certificate.extensions
    forced, granted = dict(critical), dict(extensions)
    yield from _check_names(critical, extensions)
    for name in (b"force-command", b"source-address"):
        if forced.get(name) == b"":
            yield "option-value-missing", _shown(name)
    if forced.get(b"source-address") and not _are_networks(forced[b"source-address"]):
        yield "source-address-invalid", _shown(forced[b"source-address"])
    if b"force-command" in forced and not _FORWARDING.isdisjoint(granted):
        yield "force-command-with-forwarding", "a forced command, and forwarding is permitted"
    if b"verify-required" in forced and not certificate.key_blob.is_security_key:
        yield "verify-required-without-security-key", certificate.key_blob.key_type
    if b"no-touch-required" in granted:
        yield "touch-not-required", "nobody needs to be there"


def _check_names(critical: Options, extensions: Options) -> _Broken:
    unknown = [name for name, _ in critical if name not in _CRITICAL_OPTIONS]
    if unknown:
        yield "option-unknown", _shown(unknown[0])
    unknown = [name for name, _ in extensions if name not in _EXTENSIONS and b"@" not in name]
    if unknown:
        yield "extension-unknown", _shown(unknown[0])


def _are_networks(value: bytes) -> bool:
    """Whether sshd's ``addr_match_cidr_list`` can read it: host bits must be zero."""
    parts = value.decode("latin-1").split(",")
    if not all(_NETWORK.fullmatch(part) for part in parts):
        return False
    try:
        for part in parts:
            ip_network(part)
    except ValueError:
        return False
    return True


def _shown(raw: bytes) -> str:
    """For a message: short, ASCII, with escapes."""
    cut = raw[:80]
    return repr(cut)[1:] + ("…" if len(raw) > len(cut) else "")


_CHECKS: tuple[Callable[[SshCertificate, _Limits], _Broken], ...] = (
    _check_signature,
    _check_form,
    _check_identity,
    _check_principals,
    _check_window,
    _check_options,
)
