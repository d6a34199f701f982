"""Errors of the gateway. Each carries a stable kebab-case ``reason`` and a sentence for people.

GatewayError
├── InvalidInput            input the caller has to mend; names the field where it can
│   ├── BodyTooLarge
│   ├── CodeInvalid         a one-time or device code that is unknown, used up or too old
│   ├── KeyProofInvalid     what was sent does not prove possession of a private key
│   ├── KeyRefused          a public key or signing request that is not accepted
│   └── PolicyRefused       a policy document with faults, or one whose own cases fail; names them
├── NotAuthenticated        no, or no valid, credentials
│   ├── LoginFailed         wrong e-mail or password; says not which
│   └── TokenInvalid        a token that does not verify
├── Forbidden
│   ├── AccessDenied        the policy said no; carries the decision's id
│   ├── KeyProofRequired    this socket certifies a key only for who proves to have it
│   ├── KeyRevoked          the socket's owner revoked this key
│   ├── SignupClosed
│   └── QuotaExceeded       the account has as many as it may have
├── NotCounted              never leaves the store: to be tried again
├── NotFound                unknown, or somebody else's: the same answer for both
├── Conflict
│   ├── NameTaken
│   ├── EmailTaken
│   ├── PolicyNameTaken
│   └── PrefixListInUse     names the policies that look at the list
├── TooManyAttempts         come back after ``retry_after`` seconds
│   └── TooManyCertificates
├── ListsBusy               too many ask for lists; come back after ``retry_after`` seconds
├── PortsExhausted          every port of the range is given away
├── ProviderFailed          an identity provider did not answer as it must
└── SettingsError           the gateway cannot start like this

HTTP statuses are chosen in ``idp_gateway.problems`` and nowhere else.
"""

# ruff: noqa: N818 - the names are the tree above, read aloud in `except`

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """Base of every error the gateway raises on purpose."""

    reason = "gateway-error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class InvalidInput(GatewayError):
    """Something the caller sent cannot be used."""

    reason = "input-invalid"

    def __init__(
        self, message: str, *, field: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.field = field


class BodyTooLarge(InvalidInput):
    """The request's body is longer than any call needs."""

    reason = "body-too-large"


class CodeInvalid(InvalidInput):
    """A code that is unknown, was used before, or is too old."""

    reason = "code-invalid"


class KeyRefused(InvalidInput):
    """A public key or certificate signing request that is not accepted."""

    reason = "key-refused"


class KeyProofInvalid(InvalidInput):
    """A signature over a challenge that is not the key's, or a challenge that is not this one's."""

    reason = "key-proof-invalid"


class PolicyRefused(InvalidInput):
    """A policy document that is not taken; the version in force stays in force."""

    reason = "policy-document-invalid"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        faults: tuple[Mapping[str, Any], ...] = (),
        cases: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        super().__init__(message, field="policy_data", reason=reason)
        self.faults = faults
        """Each with ``path``, ``line`` (or None) and ``message``."""
        self.cases = cases
        """Its own cases that came out otherwise than they say."""


class NotAuthenticated(GatewayError):
    """The caller has to log in first."""

    reason = "not-authenticated"


class LoginFailed(NotAuthenticated):
    """E-mail and password do not belong together; which of them is wrong is not said."""

    reason = "login-failed"


class TokenInvalid(NotAuthenticated):
    """A token that is malformed, expired, for another purpose, or not ours."""

    reason = "token-invalid"


class Forbidden(GatewayError):
    """The caller is known and may not do this."""

    reason = "forbidden"


class AccessDenied(Forbidden):
    """A decision fell against the caller."""

    reason = "access-denied"

    def __init__(self, message: str, *, decision_id: str, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.decision_id = decision_id


class KeyProofRequired(Forbidden):
    """The socket's owner demands proof of possession, and none was sent."""

    reason = "key-proof-required"


class KeyRevoked(Forbidden):
    """The key was revoked on this socket and is not certified for it until that is lifted."""

    reason = "key-revoked"


class SignupClosed(Forbidden):
    """This gateway lets nobody create an account of their own."""

    reason = "signup-closed"


class QuotaExceeded(Forbidden):
    """The account has as many sockets, or the socket as many tunnels, as it may have."""

    reason = "quota-exceeded"


class NotCounted(GatewayError):
    """What was to be written takes longer to look at than others may wait for it; some of that is
    done, and remembered.
    """

    reason = "not-counted"


class NotFound(GatewayError):
    """There is no such thing, or it belongs to somebody else."""

    reason = "not-found"


class Conflict(GatewayError):
    """The change contradicts what is stored."""

    reason = "conflict"


class NameTaken(Conflict):
    """Another socket has this name."""

    reason = "name-taken"


class EmailTaken(Conflict):
    """Another account has this e-mail address."""

    reason = "email-taken"


class PolicyNameTaken(Conflict):
    """Another policy of the account has this name."""

    reason = "policy-name-taken"


class PrefixListInUse(Conflict):
    """Policies look at the list."""

    reason = "prefix-list-in-use"

    def __init__(self, message: str, *, policies: tuple[str, ...]) -> None:
        super().__init__(message)
        self.policies = policies


class TooManyAttempts(GatewayError):
    """Too many failures lately from this address or on this account."""

    reason = "too-many-attempts"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyCertificates(TooManyAttempts):
    """A person, a socket or an account was given as many certificates lately as it may be given."""

    reason = "too-many-certificates"


class ListsBusy(GatewayError):
    """As many wait already for public lists as may."""

    reason = "lists-busy"
    retry_after = 5


class PortsExhausted(GatewayError):
    """No port of the range is free."""

    reason = "ports-exhausted"


class ProviderFailed(GatewayError):
    """An identity provider is out of reach or answered against its protocol."""

    reason = "provider-failed"


class SettingsError(GatewayError):
    """The gateway cannot start with these settings or this state directory."""

    reason = "settings-invalid"
