"""The chain every request to a socket passes, in order, and why none can be skipped.

1. ``jwt_authn`` reads the session cookie if there is one and leaves its claims as metadata.
2. ``rbac`` refuses a request whose Host is not the name TLS was opened for, then notes in its
   *shadow* result whether the request may pass without asking anybody.
3. ``ext_authz`` asks the gateway unless that note says exactly "allowed". A missing note, an
   evaluation error or an unknown socket therefore asks, and an absent gateway refuses.
4. ``lua`` sets the identity headers of a request passed in step 2 as ``identity`` and takes our own
   credentials out. Only here and from ext_authz's answer can identity headers come.
"""

import json
from collections.abc import Mapping
from typing import Any

from proxy.envoy.clusters import Mode
from proxy.envoy.expressions import (
    Expression,
    contains,
    either,
    equal,
    every,
    field,
    item,
    negate,
    predicate,
    starts_with,
    text,
)
from proxy.envoy.headers import edge_key, literal
from proxy.envoy.names import (
    ADDRESS,
    ASK_PROTECTED,
    AUTHORIZE_CLUSTER,
    AUTHORIZE_PREFIX,
    IDENTITY_HEADERS,
    JWT_FILTER,
    METADATA,
    PRODUCT_PREFIX,
    RBAC_FILTER,
    RESULT_NOTE,
    SESSION,
    SESSION_COOKIE,
    SHADOW_PREFIX,
)
from proxy.envoy.origin_headers import LUA
from proxy.envoy.settings import EnvoySettings
from proxy.state import Trust

MISDIRECTED = "misdirected"
"""Policy name of a request whose Host and TLS server name differ."""
CROSS_SITE = "cross-origin"
"""Policy name of what another socket's or site's page does with a person's cookies."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing (RFC 9110 §9.2.1)."""
ASK = "ask"
"""Policy name of a request the gateway is asked about."""

_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
_BUFFER = "envoy.filters.http.buffer"
_REQUEST_HEADERS = field("request", "headers")
_WANTED = item(field("xds", "cluster_metadata", "filter_metadata"), METADATA)
_ASKED_HEADERS = (
    "accept",
    "accept-language",
    "cookie",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "upgrade",
    "user-agent",
    "x-requested-with",
)


def http_filters(trust: Trust, settings: EnvoySettings) -> list[dict[str, Any]]:
    """The chain of the sockets' listener."""
    return [_jwt(trust, settings), _rbac(), _ext_authz(settings), _lua(), router()]


def whole_requests(settings: EnvoySettings) -> dict[str, Any]:
    """Passes a request on when it is there with its whole body, so that slow senders occupy Envoy
    alone."""
    return _filter(
        _BUFFER,
        "buffer.v3.Buffer",
        {"max_request_bytes": settings.gateway_body_bytes},
    )


def keeps_no_body() -> dict[str, Any]:
    """For a route whose requests are passed on as they come."""
    kind = f"{_EXTENSIONS}.buffer.v3.BufferPerRoute"
    return {_BUFFER: {"@type": kind, "disabled": True}}


def router() -> dict[str, Any]:
    return _filter(
        "envoy.filters.http.router", "router.v3.Router", {"suppress_envoy_headers": True}
    )


def _jwt(trust: Trust, settings: EnvoySettings) -> dict[str, Any]:
    """Verify a session; one that is absent or wrong is nobody's, and the next filters decide.

    Envoy cannot look at ``typ``: the session key signs nothing but sessions. The audience is
    compared later, as it is another one on every host.
    """
    provider = {
        "issuer": trust.issuer,
        "local_jwks": {"inline_string": json.dumps(dict(trust.session_jwks), sort_keys=True)},
        "from_cookies": [SESSION_COOKIE],
        "payload_in_metadata": SESSION,
        "require_expiration": True,
        "clock_skew_seconds": 1,  # 0 would mean Envoy's default of a minute
        "jwt_cache_config": {"jwt_cache_size": settings.session_cache_size},
    }
    requirement = {
        "requires_any": {
            "requirements": [{"provider_name": SESSION}, {"allow_missing_or_failed": {}}]
        }
    }
    config = {
        "providers": {SESSION: provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requirement}],
    }
    return _filter(JWT_FILTER, "jwt_authn.v3.JwtAuthentication", config)


def _rbac() -> dict[str, Any]:
    enforced = _first_match(
        (_admissible(), "admissible", "ALLOW"),
        (_misdirected(), MISDIRECTED, "DENY"),
        otherwise=(CROSS_SITE, "DENY"),
    )
    shadow = _first_match(
        *((condition, name.value, "ALLOW") for name, condition in _passes().items()),
        (contains("basic", _WANTED), ASK_PROTECTED, "DENY"),
        otherwise=(ASK, "DENY"),
    )
    config = {
        "matcher": enforced,
        "shadow_matcher": shadow,
        "shadow_rules_stat_prefix": SHADOW_PREFIX,
    }
    return _filter(RBAC_FILTER, "rbac.v3.RBAC", config)


def _misdirected() -> Expression:
    return negate(equal(field("connection", "requested_server_name"), field("request", "host")))


def _admissible() -> Expression:
    """Host is the TLS name, and what changes something or opens a WebSocket comes from the socket's
    own pages or from no browser.

    A sibling socket is the same *site* to a browser, which sends our ``SameSite=Lax`` cookie with
    what its pages post here.
    """
    method = field("request", "method")
    reading = every(
        either(*(equal(method, text(safe)) for safe in SAFE_METHODS)),
        negate(contains("upgrade", _REQUEST_HEADERS)),
    )
    own_page = either(
        negate(contains("origin", _REQUEST_HEADERS)),
        reading,
        equal(_wanted("mode"), text(Mode.PUBLIC.value)),
        equal(item(_REQUEST_HEADERS, "origin"), _wanted("origin")),
    )
    return every(
        equal(field("connection", "requested_server_name"), field("request", "host")), own_page
    )


def _passes() -> Mapping[Mode, Expression]:
    """Who needs no question, per mode; the likeliest first."""
    session = item(field("metadata", "filter_metadata"), JWT_FILTER, SESSION)
    identified = every(
        equal(item(session, "aud"), field("request", "host")),
        equal(item(session, "epoch"), _wanted("epoch")),
        # The address the gateway is told when it is asked, with its port, begins like this.
        either(
            negate(contains(ADDRESS, session)),
            starts_with(field("source", "address"), item(session, ADDRESS)),
        ),
    )
    # Whatever the socket asks now: a login for it may have begun when it asked for identities.
    ours = starts_with(field("request", "path"), text(PRODUCT_PREFIX))
    credential = equal(item(_REQUEST_HEADERS, "authorization"), _wanted("basic"))
    needed: Mapping[Mode, tuple[Expression, ...]] = {
        Mode.IDENTITY: (identified,),
        Mode.PUBLIC: (),
        Mode.BASIC: (credential,),
        Mode.IDENTITY_AND_BASIC: (credential, identified),
    }
    return {mode: every(_is(mode), *proofs, negate(ours)) for mode, proofs in needed.items()}


def _is(mode: Mode) -> Expression:
    return equal(_wanted("mode"), text(mode.value))


def _wanted(key: str) -> Expression:
    """What the socket's cluster says."""
    return item(_WANTED, key)


def _first_match(*cases: tuple[Expression, str, str], otherwise: tuple[str, str]) -> dict[str, Any]:
    return {
        "matcher_list": {
            "matchers": [
                {"predicate": predicate(condition), "on_match": _action(name, effect)}
                for condition, name, effect in cases
            ]
        },
        "on_no_match": _action(*otherwise),
    }


def _action(name: str, effect: str) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.config.rbac.v3.Action"
    return {
        "action": {
            "name": "action",
            "typed_config": {"@type": kind, "name": name, "action": effect},
        }
    }


def _ext_authz(settings: EnvoySettings) -> dict[str, Any]:
    uri = {
        "uri": "http://gateway.internal",
        "cluster": AUTHORIZE_CLUSTER,
        "timeout": f"{settings.authorize_timeout}s",
    }
    address = {"key": "x-forwarded-for", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}
    question = {
        "headers_to_add": [
            edge_key(settings.edge_key)["header"],
            address,
            {"key": "x-forwarded-proto", "value": literal("https")},
        ]
    }
    answer = {
        "allowed_upstream_headers": {"patterns": [{"exact": name} for name in IDENTITY_HEADERS]},
        "allowed_client_headers_on_success": {"patterns": [{"exact": "set-cookie"}]},
    }
    config = {
        "http_service": {
            "server_uri": uri,
            "path_prefix": AUTHORIZE_PREFIX,
            "authorization_request": question,
            "authorization_response": answer,
        },
        "allowed_headers": {"patterns": [{"exact": name} for name in _ASKED_HEADERS]},
        "filter_enabled_metadata": {
            "filter": RBAC_FILTER,
            "path": [{"key": RESULT_NOTE}],
            "value": {"string_match": {"exact": "allowed"}},
            "invert": True,
        },
        "failure_mode_allow": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        "transport_api_version": "V3",
    }
    return _filter("envoy.filters.http.ext_authz", "ext_authz.v3.ExtAuthz", config)


def _lua() -> dict[str, Any]:
    return _filter(
        "envoy.filters.http.lua", "lua.v3.Lua", {"default_source_code": {"inline_string": LUA}}
    )


def _filter(name: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}", **config}}
