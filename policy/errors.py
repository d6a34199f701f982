"""Errors of the policy package.

PolicyError            reason: stable kebab-case word, message: a sentence for people
├── AddressError       an e-mail address or domain name that cannot be read
├── PrefixFileError    a file of address ranges that cannot be read
└── DocumentError      a policy document that cannot be read; faults: every one of them
"""

from dataclasses import dataclass


class PolicyError(ValueError):
    """Base of every error this package raises on purpose."""

    reason = "policy-invalid"


class AddressError(PolicyError):
    """Text that is not one plain e-mail address or domain name."""

    reason = "address-invalid"


class PrefixFileError(PolicyError):
    """A file that holds no address ranges in any format known here."""

    reason = "prefix-file-invalid"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong with a document."""

    path: str
    """Where, as in ``condition.where.allowed_ip[2]``; empty for the document as a whole."""
    line: int | None
    """Counted from 1; ``None`` if the document was no text."""
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.path or 'document'}: {self.message}"


class DocumentError(PolicyError):
    """A policy document that breaks the format; nothing of it is used."""

    reason = "policy-document-invalid"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults
