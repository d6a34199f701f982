"""The rules of the SSH certificate linter: names, how grave each is, and what it means.

``docs/ssh-lint.md`` shows this table; a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """Some OpenSSH lets in somebody it should not, or nobody, or the bytes are broken."""
    WARNING = "warning"
    """Works, but promises less than it seems to, or breaks easily."""


class Profile(StrEnum):
    """Against what a certificate is measured."""

    OURS = "mysocket"
    """What this product releases: anything else is an error."""
    GENERAL = "general"
    """Any certificate for any OpenSSH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that can be wrong."""

    name: str
    """Stable kebab-case name."""
    ours: Severity | None
    """In ``Profile.OURS``; None where the profile does not have the rule."""
    general: Severity | None
    """In ``Profile.GENERAL``."""
    meaning: str
    """One sentence: what is wrong, and what follows from it."""

    def severity(self, profile: Profile) -> Severity | None:
        """How grave it is there; None if it does not count there."""
        return self.ours if profile is Profile.OURS else self.general


def _always(name: str, meaning: str) -> Rule:
    return Rule(name=name, ours=Severity.ERROR, general=Severity.ERROR, meaning=meaning)


def _milder(name: str, meaning: str) -> Rule:
    """An error in ours, a warning in general."""
    return Rule(name=name, ours=Severity.ERROR, general=Severity.WARNING, meaning=meaning)


_FORM = (
    _always("certificate-malformed", "The bytes are not one whole certificate in canonical form."),
    _always("not-a-certificate", "It is a plain key, or something else."),
    _always(
        "certificate-type-unsupported",
        "A certificate of a kind of key that is obsolete (DSA) or not read here.",
    ),
    _always("kind-unknown", "Neither a user nor a host certificate; OpenSSH refuses it."),
    _milder("nonce-short", "Too little randomness against collisions prepared by the subject."),
    _milder("reserved-not-empty", "The reserved field holds something; no meaning is defined."),
)
_SIGNATURE = (
    _always("signature-invalid", "The CA's signature does not fit."),
    _always("signature-sha1", "Signed with SHA-1 (`ssh-rsa`); OpenSSH refuses it since 8.2."),
    _always("signature-key-malformed", "What stands as the CA's key is no key."),
    _always(
        "signature-key-is-certificate",
        "The CA's key is itself a certificate; there are no chains, and verifiers that follow one "
        "were broken into (CVE-2025-49825).",
    ),
    _always(
        "signature-key-unsupported",
        "The CA's key is of a kind that is obsolete (DSA) or not read here: not verified.",
    ),
    _always("signature-key-weak", "The CA's RSA key is short (ours: under 3072, else 2048 bits)."),
    _milder("subject-is-ca", "The certified key is the CA's own."),
    _always("subject-key-weak", "The certified RSA key has under 2048 bits or an odd exponent."),
)
_NAMES = (
    _milder("serial-zero", "Serial 0 means none: a KRL cannot revoke it by its serial."),
    Rule(
        name="serial-guessable",
        ours=None,
        general=Severity.WARNING,
        meaning="Under 2^32, so likely a counter: restored from a backup it names two "
        "certificates, and a revocation hits the wrong one.",
    ),
    _milder("key-id-empty", "sshd's log could not say whose certificate it was."),
    _milder("key-id-odd", "A blank, control or non-ASCII character could forge a log line."),
    _milder("key-id-too-long", "Over 320 octets; sshd cuts its log lines."),
    _always(
        "principals-empty",
        "Good for every account or host, where it is not refused: old "
        "sshd lets it in as anybody (CVE-2024-7594), OpenSSH 10.3 refuses it.",
    ),
    _always("principals-too-many", "Over 256, where OpenSSH stops reading."),
    _always("principal-empty", "One of the principals has no character."),
    _always("principal-comma", "Old sshd splits it and takes each part (CVE-2026-35414)."),
    _always("principal-wildcard", "`*` or `?` in a user's principal is a pattern to old sshd."),
    _milder("host-wildcard", "`*` or `?`: good for every host that fits."),
    _milder("principal-odd", "A blank, control or non-ASCII character in a principal."),
    _milder("principal-too-long", "A principal of over 255 octets."),
    _milder("principal-duplicate", "A principal is named twice."),
    _milder(
        "principal-no-host-name",
        "A host's principal that is no lower-case host name; ssh looks for it in lower case.",
    ),
)
_VALIDITY = (
    _always("validity-endless", "It never ends."),
    _always("validity-empty", "It ends before or when it starts; OpenSSH refuses it."),
    _milder("validity-no-start", "It starts in 1970: valid whatever the clock says."),
    _milder(
        "validity-too-long",
        "Ours: over 24 hours (user) or 31 days (host); else over 31 days (user) or 400 (host). "
        "The longer it lives, the more rests on revocation.",
    ),
)
_OPTIONS = (
    _milder(
        "options-unordered",
        "Options or extensions are not in the lexical order the format demands; OpenSSH overlooks "
        "it.",
    ),
    _always("option-duplicate", "An option or extension stands twice."),
    _always("option-unknown", "A critical option sshd does not know: it refuses the certificate."),
    _milder(
        "extension-unknown",
        "An extension sshd does not know, without a `@domain`: ignored, "
        "until some version gives it a meaning.",
    ),
    _always("flag-with-value", "A flag with a value; sshd refuses the certificate."),
    _always("option-value-missing", "`force-command` or `source-address` without a value."),
    _milder("option-value-odd", "A control or non-ASCII character in a value."),
    _always("source-address-invalid", "Not a list of networks in CIDR form; sshd lets nobody in."),
    _milder(
        "force-command-with-forwarding",
        "A forced command does not stop port, agent or X11 forwarding.",
    ),
    _milder(
        "verify-required-without-security-key",
        "Only security keys can ask for a PIN; with any other key sshd demands nothing.",
    ),
    _milder("touch-not-required", "`no-touch-required`: a security key signs with nobody there."),
    _always("host-with-options", "Host certificates know no critical options; ssh refuses it."),
    _milder("host-with-extensions", "Host certificates know no extensions; ssh ignores it."),
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for group in (_FORM, _SIGNATURE, _NAMES, _VALIDITY, _OPTIONS)
        for rule in group
    }
)
"""All rules by name, in the order of the documentation."""
