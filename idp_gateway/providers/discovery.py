"""What a provider publishes about itself: metadata and keys, fetched lazily and kept.

OpenID Connect Discovery §4. The document must name the issuer it was asked from, and its endpoints
must lie at the issuer's own origin unless an exception names another: otherwise one document on one
host could send codes and secrets anywhere.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.oidc.discovery import get_well_known_url  # type: ignore[import-untyped]
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet, import_key

from idp_gateway.clock import Clock
from idp_gateway.errors import ProviderFailed
from idp_gateway.targets import TargetRefused, is_loopback, origin_of

MAX_ANSWER_LENGTH = 256 * 1024
"""Longest answer of a provider that is read, in octets."""
METADATA_LIFE = timedelta(hours=1)
KEYS_LIFE = timedelta(hours=1)
KEYS_PATIENCE = timedelta(minutes=1)
"""Least time between two fetches of the keys because of a key id nobody knows."""

_TIMEOUT_SECONDS = 5.0

SignRequest = Callable[[str, str, dict[str, str], str], tuple[str, dict[str, str], str]]
"""Adds client authentication: (method, URL, headers, body) to (URL, headers, body)."""

KNOWN_ORIGINS: Mapping[str, frozenset[str]] = {
    "https://accounts.google.com": frozenset(
        {
            "https://oauth2.googleapis.com",
            "https://openidconnect.googleapis.com",
            "https://www.googleapis.com",
        }
    ),
}
"""Issuers known to keep their endpoints at other origins, and which."""


class JsonFetcher:
    """Talks JSON to a provider: no redirects, short waits, bounded answers."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"accept": "application/json"},
        )

    def get(self, url: str, *, bearer: str | None = None) -> dict[str, Any]:
        """The JSON object at ``url``.

        Raises:
            ProviderFailed: no answer, not 200, too long, or not a JSON object.
        """
        headers = {"authorization": f"Bearer {bearer}"} if bearer is not None else {}
        return self._object(self._client.build_request("GET", url, headers=headers))

    def post_form(self, url: str, form: Mapping[str, str], *, sign: SignRequest) -> dict[str, Any]:
        """The JSON object a form is answered with; ``sign`` adds the client's authentication.

        Raises:
            ProviderFailed: as ``get``.
        """
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url, headers, body = sign("POST", url, headers, urlencode(form))
        return self._object(self._client.build_request("POST", url, headers=headers, content=body))

    def _object(self, request: httpx.Request) -> dict[str, Any]:
        try:
            response = self._client.send(request, stream=True)
            try:
                body = b""
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_LENGTH:
                        raise ProviderFailed("The identity provider's answer is too long.")
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise ProviderFailed(
                "The identity provider cannot be reached.", reason="provider-unreachable"
            ) from error
        if response.status_code != httpx.codes.OK:
            raise ProviderFailed(f"The identity provider answered {response.status_code}.")
        return self.parse_object(body)

    @staticmethod
    def parse_object(body: bytes) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            ProviderFailed: anything else.
        """
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed("The identity provider's answer is not JSON.") from error
        if not isinstance(value, dict):
            raise ProviderFailed("The identity provider's answer is not a JSON object.")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The part of a discovery document that is used, checked."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    signing_algorithms: frozenset[str]
    token_methods: frozenset[str]
    sends_issuer: bool
    """Whether every answer carries ``iss`` (RFC 9207 §3)."""

    def token_authentication(self) -> str:
        """How to authenticate at the token endpoint; ``client_secret_basic`` is the default."""
        if self.token_methods and "client_secret_basic" not in self.token_methods:
            return "client_secret_post"
        return "client_secret_basic"


class Directory:
    """Metadata and keys of one issuer, kept for an hour; safe for many threads."""

    def __init__(
        self,
        issuer: str,
        *,
        allowed_origins: frozenset[str] = frozenset(),
        clock: Clock,
        fetcher: JsonFetcher,
    ) -> None:
        self._issuer = check_issuer(issuer)
        self._origins = allowed_origins | KNOWN_ORIGINS.get(issuer, frozenset())
        self._clock = clock
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at: datetime | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None

    def metadata(self) -> Metadata:
        """The provider's metadata, fetched if there is none younger than an hour.

        Raises:
            ProviderFailed: it cannot be fetched, or is not what the issuer may publish.
        """
        with self._lock:
            now = self._clock()
            fresh = self._metadata_at is not None and now - self._metadata_at < METADATA_LIFE
            if self._metadata is None or not fresh:
                url = get_well_known_url(self._issuer, external=True)
                self._metadata = self._read(self._fetcher.get(url))
                self._metadata_at = now
            return self._metadata

    def keys(self, key_id: str | None) -> KeySet:
        """The provider's public keys; fetched anew for an unknown id, at most once a minute.

        Raises:
            ProviderFailed: they cannot be fetched or read.
        """
        uri = self.metadata().jwks_uri
        with self._lock:
            now = self._clock()
            if self._keys is None or self._keys_at is None or now - self._keys_at >= KEYS_LIFE:
                return self._fetch_keys(uri, now)
            known = key_id is None or any(key.kid == key_id for key in self._keys.keys)
            if not known and now - self._keys_at >= KEYS_PATIENCE:
                return self._fetch_keys(uri, now)
            return self._keys

    def _fetch_keys(self, uri: str, now: datetime) -> KeySet:
        document = self._fetcher.get(uri)
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise ProviderFailed("The identity provider publishes no keys.")
        self._keys = KeySet([key for key in map(_public_key, keys) if key is not None])
        self._keys_at = now
        return self._keys

    def _read(self, document: Mapping[str, Any]) -> Metadata:
        if document.get("issuer") != self._issuer:
            raise ProviderFailed(
                "The identity provider calls itself by another issuer.", reason="issuer-mismatch"
            )
        userinfo = document.get("userinfo_endpoint")
        return Metadata(
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            jwks_uri=self._endpoint(document, "jwks_uri"),
            userinfo_endpoint=(
                self._endpoint(document, "userinfo_endpoint") if userinfo is not None else None
            ),
            signing_algorithms=_words(
                document.get("id_token_signing_alg_values_supported"), {"RS256"}
            ),
            token_methods=_words(document.get("token_endpoint_auth_methods_supported"), set()),
            sends_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        url = document.get(name)
        try:
            allowed = isinstance(url, str) and origin_of(url) in {
                origin_of(self._issuer),
                *self._origins,
            }
        except TargetRefused:
            allowed = False
        if not allowed or not isinstance(url, str) or "#" in url:
            raise ProviderFailed(
                f"The identity provider's {name} lies at an origin that is not allowed.",
                reason="endpoint-origin-refused",
            )
        return url


def check_issuer(issuer: str) -> str:
    """An issuer the gateway may trust: ``https``, or ``http`` on this computer for development.

    Raises:
        ProviderFailed: another scheme, a query or a fragment (OpenID Connect Core §2).
    """
    try:
        origin = origin_of(issuer)
    except TargetRefused as error:
        raise ProviderFailed("The issuer is not a web address.", reason="issuer-refused") from error
    plain_http = origin.startswith("http://") and not is_loopback(issuer)
    if plain_http or "?" in issuer or "#" in issuer:
        raise ProviderFailed(
            "The issuer must be an https address without query.", reason="issuer-refused"
        )
    return issuer


def _public_key(value: object) -> Key | None:
    """A published key that verifies signatures; symmetric, private and unreadable ones are none."""
    if not isinstance(value, dict) or value.get("kty") not in {"RSA", "EC", "OKP"}:
        return None
    if value.get("use", "sig") != "sig" or "d" in value:
        return None
    try:
        return import_key(value)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _words(value: object, default: set[str]) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset(default)
    return frozenset(word for word in value if isinstance(word, str))
