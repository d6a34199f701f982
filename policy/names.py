"""Names that only mean something beside the provider that gives them: people and groups.

Everywhere outside they are text: ``<provider>:<rest>``, split at the first colon. The provider is
what this gateway calls it (``google``, ``github``, ``local``, a configured name), lower case.
"""

import re
from dataclasses import dataclass
from typing import Self

from policy.addresses import EmailAddress
from policy.errors import AddressError

_PROVIDER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
MAX_NAME_LENGTH = 255
"""Characters after the colon, at most."""


@dataclass(frozen=True, slots=True, order=True)
class SubjectName:
    """Somebody at one provider: by verified e-mail (``google:alice@corp.test``) or, with ``#``, by
    the provider's own subject (``github:#583231``), which is never given to anybody else.
    """

    provider: str
    email: EmailAddress | None
    subject: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<provider>:<e-mail>`` or ``<provider>:#<subject>``.

        Raises:
            AddressError: neither of the two.
        """
        provider, rest = _split(text)
        if rest.startswith("#"):
            if rest == "#":
                raise _error(text)
            return cls(provider, None, rest[1:])
        return cls(provider, EmailAddress.parse(rest))

    def __str__(self) -> str:
        return f"{self.provider}:{self.email if self.email is not None else '#' + self.subject}"


@dataclass(frozen=True, slots=True, order=True)
class GroupName:
    """A group at one provider: ``github:acme/ops``, ``okta:Admins``, ``google:corp.test`` (``hd``).

    Compared character by character: providers differ in what they fold.
    """

    provider: str
    group: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<provider>:<group>``.

        Raises:
            AddressError: not such a name.
        """
        return cls(*_split(text))

    def __str__(self) -> str:
        return f"{self.provider}:{self.group}"


def _split(text: str) -> tuple[str, str]:
    provider, _, rest = text.partition(":")
    plain = rest.isprintable() and rest == rest.strip() and 0 < len(rest) <= MAX_NAME_LENGTH
    if not plain or not _PROVIDER.fullmatch(provider):
        raise _error(text)
    return provider, rest


def _error(text: str) -> AddressError:
    return AddressError(f"not <provider>:<name>: {text[:80]!r}")
