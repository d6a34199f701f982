"""Errors of the policy package.

PolicyError            reason: stable kebab-case word, message: a sentence for people
├── AddressError       an e-mail address or domain name that cannot be read
└── DocumentError      a policy document that cannot be read
"""


class PolicyError(ValueError):
    """Base of every error this package raises on purpose."""

    reason = "policy-invalid"


class AddressError(PolicyError):
    """Text that is not one plain e-mail address or domain name."""

    reason = "address-invalid"


class DocumentError(PolicyError):
    """A policy document that breaks the format; nothing of it is used."""

    reason = "policy-document-invalid"
