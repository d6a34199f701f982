"""Which request headers a client may not send, in any spelling.

Origins fold header names in their own ways: CGI and WSGI turn ``-`` and often every other
punctuation mark into ``_``. So a name is compared with all its punctuation folded, before any
filter runs. Names with an underscore are dropped altogether by the listener, as nginx does.
"""

import re
from typing import Any

from proxy.envoy.names import EDGE_KEY_HEADER
from proxy.envoy.settings import EnvoySettings

_PUNCTUATION = r"[^a-z0-9]"

_PREFIXES = (
    "x-auth",  # ours towards the origin
    "x-mysocket",  # ours towards the gateway
    "x-webauth",
    "x-remote",
    "remote",
    "x-authentik",
    "x-goog-authenticated",
    "x-goog-iap",
    "x-jwt-assertion",
    "x-pomerium",
    "x-amzn-oidc",
    "x-ms-client-principal",
    "cf-access",
    "client-cert",  # RFC 9440 §2.1: whoever does not set it himself takes it out
    "tailscale-user",
    "x-authenticated",
    "authenticated",
    "x-token",
    "x-id-token",
    "x-userinfo",
    "x-vouch",
    "x-consumer",
    "oidc-claim",
    "ssl-client",
    "x-ssl-client",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-envoy",  # Envoy obeys these from addresses it takes for internal ones
)
"""Names that begin so, alone or followed by a punctuation mark and more."""

_EXACT = (
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-user",
    "x-forwarded-name",
    "x-forwarded-roles",
    "x-forwarded-tls-client-cert",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    "forwarded",
    "proxy",  # becomes HTTP_PROXY in a CGI program
)
"""What common applications believe of a proxy in front of them; we are that proxy."""


def refused_names() -> str:
    """Regular expression (RE2, whole lower-case name) of the headers no client may send."""
    prefixes = "|".join(_folded(name) for name in _PREFIXES)
    exact = "|".join(_folded(name) for name in _EXACT)
    return f"(?:{prefixes})(?:{_PUNCTUATION}.*)?|{exact}"


def early_mutation() -> dict[str, Any]:
    """The extension that removes those headers before routing and every filter."""
    name = "envoy.http.early_header_mutation.header_mutation"
    package = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    matcher = {"safe_regex": {"regex": refused_names()}}
    return {
        "name": name,
        "typed_config": {
            "@type": f"type.googleapis.com/{package}",
            "mutations": [{"remove_on_match": {"key_matcher": matcher}}],
        },
    }


def overwrite(name: str, value: str) -> dict[str, Any]:
    """Set a request header to exactly one value, whatever was there; ``%`` makes a formatter."""
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def client_headers() -> list[dict[str, Any]]:
    """Where a request came from, as the edge saw it and not as anybody claims."""
    return [
        overwrite("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        overwrite("x-forwarded-proto", "https"),
    ]


def transport_security(settings: EnvoySettings) -> list[dict[str, Any]]:
    """HSTS (RFC 6797) for the name alone, unless the origin has its own.

    It holds on every port of the name, so no plain TCP socket of somebody else, which shares the
    address, is shown what browsers keep for this name. Names of one machine do without: they are
    used for much else.
    """
    if settings.is_local:
        return []
    header = {"key": "strict-transport-security", "value": "max-age=31536000"}
    return [{"header": header, "append_action": "ADD_IF_ABSENT"}]


def literal(value: str) -> str:
    """A value with no formatter in it."""
    return value.replace("%", "%%")


def edge_key(value: str) -> dict[str, Any]:
    """The header that proves to the gateway that this edge speaks."""
    return overwrite(EDGE_KEY_HEADER, literal(value))


def _folded(name: str) -> str:
    return _PUNCTUATION.join(re.escape(part) for part in name.split("-"))
