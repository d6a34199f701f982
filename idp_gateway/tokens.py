"""JSON Web Tokens: ES256, one key and one ``typ`` per purpose (RFC 7519, RFC 8725 §3.11).

A session, which opens an HTTP socket, and the assertion inside it are made from a ``Grant`` and
from nothing else. Verifying is strict: size, algorithm, ``typ``, ``crit``, ``iss``, ``aud`` and the
times.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ca.keybox import KeyBox
from idp_gateway.clock import Clock
from idp_gateway.errors import TokenInvalid
from idp_gateway.grant_sources import session_address
from idp_gateway.records import SigningKeyRecord
from idp_gateway.store import Store
from policy.types import Grant

ALGORITHM = "ES256"
MAX_TOKEN_CHARACTERS = 16 * 1024
API_TOKEN_LIFE = timedelta(hours=12)
CLIENT_TOKEN_LIFE = timedelta(hours=8)

_REMEMBERED_TOKENS = 4096
"""Tokens whose signature is not computed again; a client shows its own every few minutes."""
_SKEW = timedelta(seconds=5)
"""Gateways of one database may differ this much in their clocks."""


class Purpose(StrEnum):
    """What a token is for; the value is the ``typ`` of its header."""

    API = "api+jwt"
    CLIENT = "client+jwt"
    SESSION = "session+jwt"
    ASSERTION = "assertion+jwt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClaims:
    """What a verified API token says."""

    account_id: str
    email: str
    session_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClaims:
    """What a verified client token says: who may ask for certificates of which socket."""

    identity_subject: str
    email: str
    dns_name: str
    port: int
    session_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaims:
    """What a verified session says."""

    email: str
    name: str
    epoch: int
    socket_session_id: str
    grant_id: str
    assertion: str
    expires_at: datetime


class Tokens:
    """Makes and verifies every token of the gateway; its keys live sealed in the store."""

    def __init__(self, *, store: Store, box: KeyBox, issuer: str, clock: Clock) -> None:
        self.issuer = issuer
        self._clock = clock
        self._keys = {purpose: _load_key(store, box, purpose, clock()) for purpose in Purpose}
        self._headers = {
            purpose: {"alg": ALGORITHM, "typ": purpose.value, "kid": key.kid}
            for purpose, key in self._keys.items()
        }
        self._registry = jws.JWSRegistry(algorithms=[ALGORITHM])
        self._registry.max_payload_length = MAX_TOKEN_CHARACTERS
        # A signature that was good stays good: our keys change with the process only. Times,
        # audience, and the login a token rests on are looked at every time. Errors are not kept.
        self._claims = lru_cache(_REMEMBERED_TOKENS)(self._read)

    def api_token(
        self, *, account_id: str, email: str, session_id: str, expires_at: datetime
    ) -> str:
        """Leave to manage an account's sockets, until its login session ends (at most 12 h)."""
        end = min(expires_at, self._clock() + API_TOKEN_LIFE)
        claims = {"sub": account_id, "user_id": account_id, "user_email": email, "sid": session_id}
        return self._sign(Purpose.API, "api", end, claims)

    def client_token(
        self,
        *,
        subject: str,
        email: str,
        dns_name: str,
        port: int,
        session_id: str,
        expires_at: datetime,
    ) -> str:
        """Leave to ask for certificates of one socket; every request is decided on anew."""
        end = min(expires_at, self._clock() + CLIENT_TOKEN_LIFE)
        claims = {
            "sub": subject,
            "user_id": subject,
            "user_email": email,
            "socket_dns": dns_name,
            "socket_port": port,
            "sid": session_id,
            "org_id": dns_name,
            "org_subdomain": dns_name,
        }
        return self._sign(Purpose.CLIENT, f"client:{dns_name}", end, claims)

    def session_token(self, grant: Grant, *, socket_session_id: str) -> str:
        """The cookie that opens one HTTP socket; carries the assertion for its origin.

        If the grant rests on its address, the session is good from that very address alone: at
        another the gateway is asked again.
        """
        claims: dict[str, Any] = {
            "sub": subject_of(grant),
            "epoch": grant.epoch,
            "email": str(grant.email),
            "name": grant.identity.name,
            "sid": socket_session_id,
            "grant": grant.grant_id,
            "asrt": self.assertion(grant),
        }
        address = session_address(grant)
        if address is not None:
            claims["addr"] = address
        return self._sign(
            Purpose.SESSION, grant.dns_name, grant.not_after, claims, start=grant.not_before
        )

    def assertion(self, grant: Grant) -> str:
        """What an origin can verify for itself: who is there, signed, for this host alone."""
        claims = {
            "sub": subject_of(grant),
            "email": str(grant.email),
            "name": grant.identity.name,
            "auth_time": int(grant.identity.authenticated_at.timestamp()),
        }
        return self._sign(
            Purpose.ASSERTION, grant.dns_name, grant.not_after, claims, start=grant.not_before
        )

    def verify_api_token(self, token: str) -> ApiClaims:
        """Raises: TokenInvalid."""
        claims = self._verify(Purpose.API, token, "api")
        return ApiClaims(
            account_id=_text(claims, "user_id"),
            email=_text(claims, "user_email"),
            session_id=_text(claims, "sid"),
            expires_at=_end(claims),
        )

    def verify_client_token(self, token: str, *, dns_name: str) -> ClientClaims:
        """Raises: TokenInvalid, also when the token is for another socket."""
        claims = self._verify(Purpose.CLIENT, token, f"client:{dns_name}")
        return ClientClaims(
            identity_subject=_text(claims, "sub"),
            email=_text(claims, "user_email"),
            dns_name=_text(claims, "socket_dns"),
            port=_number(claims, "socket_port"),
            session_id=_text(claims, "sid"),
            expires_at=_end(claims),
        )

    def verify_session(
        self, token: str, *, dns_name: str, allow_expired: bool = False
    ) -> SessionClaims:
        """Raises: TokenInvalid, also when the session is for another host.

        ``allow_expired`` is for silent renewal alone: signature, purpose and host still hold.
        """
        claims = self._verify(Purpose.SESSION, token, dns_name, allow_expired=allow_expired)
        return SessionClaims(
            email=_text(claims, "email"),
            name=_text(claims, "name"),
            epoch=_number(claims, "epoch"),
            socket_session_id=_text(claims, "sid"),
            grant_id=_text(claims, "grant"),
            assertion=_text(claims, "asrt"),
            expires_at=_end(claims),
        )

    def public_keys(self, purpose: Purpose) -> dict[str, Any]:
        """The JWK Set that verifies one kind of token; public halves only."""
        key = self._keys[purpose].as_dict(private=False)
        return {"keys": [{**key, "use": "sig", "alg": ALGORITHM}]}

    def _sign(
        self,
        purpose: Purpose,
        audience: str,
        end: datetime,
        claims: Mapping[str, Any],
        *,
        start: datetime | None = None,
    ) -> str:
        now = self._clock()
        payload = {
            "iss": self.issuer,
            "aud": audience,
            "iat": int(now.timestamp()),
            "nbf": int((start or now).timestamp()),
            "exp": int(end.timestamp()),
            "jti": secrets.token_urlsafe(12),
            **claims,
        }
        text = json.dumps(payload, separators=(",", ":"))
        return jws.serialize_compact(
            self._headers[purpose], text, self._keys[purpose], registry=self._registry
        )

    def _verify(
        self, purpose: Purpose, token: str, audience: str, *, allow_expired: bool = False
    ) -> Mapping[str, Any]:
        claims = self._claims(purpose, token)
        if claims.get("iss") != self.issuer or claims.get("aud") != audience:
            raise TokenInvalid("this token is for another audience")
        now = self._clock()
        if now + _SKEW < _moment(claims, "nbf"):
            raise TokenInvalid("this token is not valid yet")
        if now >= _end(claims) and not allow_expired:
            raise TokenInvalid("this token has expired", reason="token-expired")
        return claims

    def _read(self, purpose: Purpose, token: str) -> Mapping[str, Any]:
        """What a token says, if one of our keys of this purpose signed it."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenInvalid("this token is too long")
        try:
            parsed = jws.deserialize_compact(token, self._keys[purpose], registry=self._registry)
            claims = json.loads(parsed.payload)
        except (JoseError, ValueError) as error:
            raise TokenInvalid("this token is not valid here") from error
        header = parsed.headers()
        if header.get("typ") != purpose.value or "crit" in header or not isinstance(claims, dict):
            raise TokenInvalid("this token is for another purpose")
        return MappingProxyType(claims)


def subject_of(grant: Grant) -> str:
    """One opaque, stable word for a person, the same at every socket: hash of (issuer, subject)."""
    identity = grant.identity
    digest = hashlib.sha256(f"{identity.issuer}\0{identity.subject}".encode())
    return digest.hexdigest()[:32]


def _load_key(store: Store, box: KeyBox, purpose: Purpose, now: datetime) -> ECKey:
    def make() -> SigningKeyRecord:
        key = ECKey.generate_key("P-256", private=True, auto_kid=True)
        private = json.dumps(key.as_dict(private=True)).encode()
        return SigningKeyRecord(
            purpose=purpose.value,
            key_id=key.kid or "",
            public=dict(key.as_dict(private=False)),
            private_sealed=box.seal(private, purpose="jwt", object_id=purpose.value),
            created_at=now,
        )

    record = store.signing_key(purpose.value, make)
    private = box.open(record.private_sealed, purpose="jwt", object_id=purpose.value)
    return ECKey.import_key(json.loads(private))


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise TokenInvalid("this token lacks a claim")
    return value


def _number(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TokenInvalid("this token lacks a claim")
    return value


def _moment(claims: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.fromtimestamp(_number(claims, name), UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise TokenInvalid("this token has no sensible time") from error


def _end(claims: Mapping[str, Any]) -> datetime:
    return _moment(claims, "exp")
