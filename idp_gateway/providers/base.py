"""What an identity provider is to the gateway: a place to send a browser, and an answer to check.

The contract of ``IdentityProvider``; the suite in ``tests/contracts`` holds every backend to it:

* ``authorization_url`` may fetch what the provider publishes about itself, and nothing else has a
  side effect. Calling it twice for one attempt gives the same address.
* ``identify`` is called at most once for an attempt, with the query parameters the browser came
  back with. It trusts none of them: the answer is bound to the attempt's ``state`` (already checked
  by the caller), its ``nonce`` and its ``code_verifier``.
* The identity's ``issuer`` is constant for a provider and shared with no other one, ``subject`` is
  the provider's own immutable id, and ``email`` is set only if the provider verified it.
* Everything that goes wrong is a ``ProviderFailed`` whose message is fit for a page; whatever the
  provider sent back stays out of it.
* Instances are used by many threads at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from policy.types import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sign-in under way; its secrets live in the database until it is used up."""

    state: str = field(repr=False)
    """256 random bits, base64url: what the browser must bring back (RFC 6749 §10.12)."""
    nonce: str = field(repr=False)
    """What the ID token must repeat (OpenID Connect Core §3.1.2.1)."""
    code_verifier: str = field(repr=False)
    """Secret behind the PKCE challenge (RFC 7636 §4.1)."""
    redirect_uri: str
    """The provider's own callback path on the gateway's canonical name."""


class IdentityProvider(Protocol):
    """Vouches for people who sign in elsewhere."""

    @property
    def name(self) -> str:
        """Short word for addresses: lower-case letters, digits and hyphens."""

    @property
    def label(self) -> str:
        """What the button on the login page calls it."""

    def authorization_url(self, attempt: Attempt) -> str:
        """Address to send the browser to.

        Raises:
            ProviderFailed: the provider cannot be reached or describes itself wrongly.
        """

    def identify(self, attempt: Attempt, answer: Mapping[str, str], now: datetime) -> Identity:
        """Who signed in, according to what the browser brought back.

        Raises:
            ProviderFailed: the answer is an error, is not for this attempt, or does not verify.
        """
