"""Any OpenID Connect provider, by the authorization code flow with PKCE.

The protocol's pieces (addresses, challenge, client authentication, claims) come from Authlib,
signatures from joserfc; the transport is a plain ``httpx`` client without redirects or environment
proxies. Checks are those of OpenID Connect Core §3.1.3.7, RFC 9207 and RFC 9700, and stricter where
it costs nothing: asymmetric algorithms only, and nothing is believed to be true but ``true``.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jws
from joserfc.errors import JoseError

from idp_gateway.clock import Clock
from idp_gateway.errors import ProviderFailed
from idp_gateway.providers.base import Attempt
from idp_gateway.providers.discovery import Directory, JsonFetcher, Metadata
from policy.addresses import EmailAddress
from policy.errors import AddressError
from policy.names import GroupName
from policy.types import Assurance, Identity

ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
"""Signatures an ID token may carry (RFC 8725 §3.1): asymmetric ones, and never ``none``."""

MAX_ID_TOKEN_LENGTH = 16 * 1024
"""Longest ID token that is parsed, in characters."""

_LEEWAY_SECONDS = 60
_MAX_SUBJECT_LENGTH = 255
_MAX_NAME_LENGTH = 200
_MAX_GROUPS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIDRegistration:
    """How the gateway is registered at one provider."""

    name: str
    label: str
    issuer: str
    """Exactly as the provider's metadata and ID tokens spell it."""
    client_id: str
    client_secret: str = field(default="", repr=False)
    """Empty for a public client, which PKCE alone protects."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    endpoint_origins: frozenset[str] = frozenset()
    """Origins beside the issuer's own at which its endpoints may lie."""


class OpenIDProvider:
    """One provider, found through its discovery document when it is first needed."""

    def __init__(
        self, registration: OpenIDRegistration, *, clock: Clock, fetcher: JsonFetcher | None = None
    ) -> None:
        self._registration = registration
        self._fetcher = fetcher or JsonFetcher()
        self._directory = Directory(
            registration.issuer,
            allowed_origins=registration.endpoint_origins,
            clock=clock,
            fetcher=self._fetcher,
        )

    @property
    def name(self) -> str:
        return self._registration.name

    @property
    def label(self) -> str:
        return self._registration.label

    def authorization_url(self, attempt: Attempt) -> str:
        metadata = self._directory.metadata()
        client = OAuth2Client(
            None,
            client_id=self._registration.client_id,
            scope=" ".join(self._registration.scopes),
            redirect_uri=attempt.redirect_uri,
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            metadata.authorization_endpoint,
            state=attempt.state,
            code_verifier=attempt.code_verifier,
            nonce=attempt.nonce,
        )
        return str(url)

    def identify(self, attempt: Attempt, answer: Mapping[str, str], now: datetime) -> Identity:
        metadata = self._directory.metadata()
        code = self._code_of(answer, metadata)
        tokens = self._redeem(metadata, attempt, code)
        claims = self._verified_claims(metadata, attempt, tokens, now)
        return self._identity(self._with_email(metadata, tokens, claims), now)

    def _code_of(self, answer: Mapping[str, str], metadata: Metadata) -> str:
        """The authorization code, once it is sure which provider sent it (RFC 9207 §2.4)."""
        named = "iss" in answer or metadata.sends_issuer
        if named and answer.get("iss") != self._registration.issuer:
            raise self._failed("came from another issuer", "issuer-mismatch")
        if "error" in answer:
            reason = "access-denied" if answer["error"] == "access_denied" else "provider-failed"
            raise ProviderFailed(f"{self.label} did not sign you in.", reason=reason)
        code = answer.get("code", "")
        if not 1 <= len(code) <= 4096:
            raise self._failed("has no code")
        return code

    def _redeem(self, metadata: Metadata, attempt: Attempt, code: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.code_verifier,
        }
        registration = self._registration
        method = "none"
        if registration.client_secret:
            method = metadata.token_authentication()
        sign = ClientAuth(registration.client_id, registration.client_secret, method).prepare
        answer = self._fetcher.post_form(metadata.token_endpoint, form, sign=sign)
        if not isinstance(answer.get("id_token"), str):
            raise self._failed("has no ID token")
        return answer

    def _verified_claims(
        self, metadata: Metadata, attempt: Attempt, tokens: Mapping[str, Any], now: datetime
    ) -> Mapping[str, Any]:
        text = tokens["id_token"]
        if len(text) > MAX_ID_TOKEN_LENGTH:
            raise self._failed("has an ID token that is too long")
        header, payload = self._verified_signature(text, metadata)
        claims = CodeIDToken(
            payload,
            header,
            options={
                "iss": {"essential": True, "value": self._registration.issuer},
                "aud": {"essential": True, "value": self._registration.client_id},
                "sub": {"essential": True},
                "exp": {"essential": True},
                "iat": {"essential": True},
                "nonce": {"essential": True},
            },
            params={
                "nonce": attempt.nonce,
                "client_id": self._registration.client_id,
                "access_token": tokens.get("access_token"),
            },
        )
        try:
            claims.validate(now=int(now.timestamp()), leeway=_LEEWAY_SECONDS)
        except (JoseError, TypeError, ValueError) as error:
            raise self._failed("does not verify", "id-token-invalid") from error
        return dict(payload)

    def _verified_signature(
        self, text: str, metadata: Metadata
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        allowed = sorted(ALGORITHMS & metadata.signing_algorithms)
        try:
            unverified = jws.extract_compact(text.encode("ascii"))
            header = unverified.headers()
            algorithm, key_id = header.get("alg"), header.get("kid")
            if algorithm not in allowed or not isinstance(key_id, str | None):
                raise self._failed("is signed in a way we do not accept", "id-token-invalid")
            keys = self._directory.keys(key_id)
            verified = jws.deserialize_compact(text, keys, algorithms=allowed)
            payload = verified.payload
        except (JoseError, ValueError) as error:
            raise self._failed("does not verify", "id-token-invalid") from error
        return dict(header), self._fetcher.parse_object(payload)

    def _with_email(
        self, metadata: Metadata, tokens: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """``claims``, completed from the userinfo endpoint only if they lack an e-mail."""
        token = tokens.get("access_token")
        if "email" in claims or not metadata.userinfo_endpoint or not isinstance(token, str):
            return claims
        extra = self._fetcher.get(metadata.userinfo_endpoint, bearer=token)
        if extra.get("sub") != claims.get("sub"):
            raise self._failed("is about somebody else", "subject-mismatch")
        return {**extra, **claims}

    def _identity(self, claims: Mapping[str, Any], now: datetime) -> Identity:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_LENGTH:
            raise self._failed("has no subject we can keep")
        if not (subject.isascii() and subject.isprintable()):
            raise self._failed("has no subject we can keep")
        email = verified_email(claims)
        name = _plain(claims.get("name")) or _plain(claims.get("preferred_username"))
        return Identity(
            issuer=self._registration.issuer,
            subject=subject,
            provider=self.name,
            email=email,
            name=name or (str(email) if email else subject),
            assurance=Assurance.PROVIDER_VERIFIED if email else Assurance.SELF_ASSERTED,
            groups=_groups(self.name, claims.get("groups")),
            authenticated_at=now,
        )

    def _failed(self, what: str, reason: str = "provider-answer-invalid") -> ProviderFailed:
        return ProviderFailed(f"The answer of {self.label} {what}.", reason=reason)


def verified_email(claims: Mapping[str, Any]) -> EmailAddress | None:
    """The e-mail of ``claims``, if ``email_verified`` is the boolean true and it parses."""
    text = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(text, str):
        return None
    try:
        return EmailAddress.parse(text)
    except AddressError:
        return None


def _plain(value: object) -> str:
    """A display name without characters that could break a header or a line; empty if none."""
    if not isinstance(value, str):
        return ""
    kept = "".join(character for character in value if character.isprintable())
    return " ".join(kept.split())[:_MAX_NAME_LENGTH]


def _groups(provider: str, value: object) -> frozenset[GroupName]:
    """The groups an ID token names. One whose name we could not write down as it is, is none: a
    name that was mended could be another group's.
    """
    if not isinstance(value, list):
        return frozenset()
    found = set()
    for entry in value[:_MAX_GROUPS]:
        with suppress(AddressError):
            found.add(GroupName.parse(f"{provider}:{entry}" if isinstance(entry, str) else ""))
    return frozenset(found)
