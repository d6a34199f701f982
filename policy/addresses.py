"""E-mail addresses and domain names, parsed once and compared as values.

Text that is not plain ASCII with exactly one ``@`` is refused rather than repaired: mailbox
takeovers through ``a@evil@corp.com``, the Kelvin sign or a dotless i start with a lenient parser.
"""

import re
import string
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import idna

from policy.errors import AddressError

MAX_EMAIL_LENGTH = 254
"""Longest address that fits an SMTP path, in characters (RFC 5321 §4.5.3.1.3)."""

_MAX_LOCAL_LENGTH = 64
_REMEMBERED = 4096
"""Names that need no second look: every decision reads its person's address anew."""
_ATEXT = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~")
_LDH_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True, order=True)
class DomainName:
    """A DNS name as its lower-case IDNA A-labels, compared label by label, never as text."""

    labels: tuple[str, ...]

    @classmethod
    @lru_cache(_REMEMBERED)
    def parse(cls, text: str) -> Self:
        """Read ``text`` as a domain name of at least two labels.

        Raises:
            AddressError: not a domain name, or one IDNA 2008 (RFC 5891) does not allow.
        """
        if not text or len(text) > MAX_EMAIL_LENGTH:
            raise AddressError("a domain name has 1 to 253 characters")
        try:
            ascii_name = text.translate(_ASCII_LOWER)
            if not ascii_name.isascii():
                ascii_name = idna.encode(ascii_name, strict=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressError(f"not a domain name: {text!r}") from error
        labels = tuple(ascii_name.split("."))
        if len(ascii_name) > 253 or len(labels) < 2:
            raise AddressError(f"not a full domain name: {text!r}")
        if not all(_LDH_LABEL.fullmatch(label) for label in labels):
            raise AddressError(f"not a domain name: {text!r}")
        return cls(labels)

    def __str__(self) -> str:
        return ".".join(self.labels)


@dataclass(frozen=True, slots=True, order=True)
class EmailAddress:
    """One mailbox: an ASCII local part, lower-cased, at a domain name (RFC 5321 dot-string)."""

    local: str
    domain: DomainName

    @classmethod
    @lru_cache(_REMEMBERED)
    def parse(cls, text: str) -> Self:
        """Read ``text`` as exactly one address; no display name, comment, quote or blank.

        Raises:
            AddressError: anything else.
        """
        if len(text) > MAX_EMAIL_LENGTH:
            raise AddressError(f"an e-mail address has at most {MAX_EMAIL_LENGTH} characters")
        if text.count("@") != 1:
            raise AddressError("an e-mail address has exactly one @")
        local, _, domain = text.partition("@")
        atoms = local.split(".")
        if len(local) > _MAX_LOCAL_LENGTH or not all(atoms):
            raise AddressError(f"not an e-mail address: {text!r}")
        if not all(character in _ATEXT for atom in atoms for character in atom):
            raise AddressError(f"not a plain ASCII e-mail address: {text!r}")
        return cls(local.translate(_ASCII_LOWER), DomainName.parse(domain))

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"
