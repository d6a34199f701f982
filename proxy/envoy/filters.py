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
    AUTHORIZE_PREFIX,
    GATEWAY_CLUSTER,
    IDENTITY_HEADERS,
    JWT_FILTER,
    METADATA,
    POLICY_NOTE,
    PRODUCT_PREFIX,
    RBAC_FILTER,
    RESULT_NOTE,
    SESSION,
    SESSION_COOKIE,
    SHADOW_PREFIX,
)
from proxy.envoy.settings import EnvoySettings
from proxy.state import Trust

MISDIRECTED = "misdirected"
"""Policy name of a request whose Host and TLS server name differ."""
CROSS_SITE = "cross-site-websocket"
"""Policy name of a WebSocket that another site's page opens with a person's cookies."""
ASK = "ask"
"""Policy name of a request the gateway is asked about."""
ASK_PROTECTED = "ask-protected"
"""The same where the socket has a password, which the origin must not see if the answer is yes."""

_EXTENSIONS = "type.googleapis.com/envoy.extensions.filters.http"
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
    """Host is the TLS name, and a WebSocket comes from the socket's own pages or from no browser.

    A sibling socket is the same *site* to a browser, which sends it our ``SameSite=Lax`` cookie.
    """
    own_page = either(
        negate(contains("upgrade", _REQUEST_HEADERS)),
        negate(contains("origin", _REQUEST_HEADERS)),
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
        negate(starts_with(field("request", "path"), PRODUCT_PREFIX)),
    )
    credential = equal(item(_REQUEST_HEADERS, "authorization"), _wanted("basic"))
    return {
        Mode.IDENTITY: every(_is(Mode.IDENTITY), identified),
        Mode.PUBLIC: _is(Mode.PUBLIC),
        Mode.BASIC: every(_is(Mode.BASIC), credential),
        Mode.IDENTITY_AND_BASIC: every(_is(Mode.IDENTITY_AND_BASIC), credential, identified),
    }


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
        "cluster": GATEWAY_CLUSTER,
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
        "envoy.filters.http.lua", "lua.v3.Lua", {"default_source_code": {"inline_string": _LUA}}
    )


def _filter(name: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}", **config}}


_LUA = f"""
local COOKIE = "{SESSION_COOKIE}"
local PASSWORD_USED = {{
  ["{Mode.BASIC}"] = true, ["{Mode.IDENTITY_AND_BASIC}"] = true, ["{ASK_PROTECTED}"] = true
}}

local function without_session(line)
  local kept = {{}}
  for part in line:gmatch("[^;]+") do
    local name = part:match("^%s*([^=]*)"):gsub("%s+$", "")
    if name ~= COOKIE then
      local trimmed = part:gsub("^%s+", "")
      kept[#kept + 1] = trimmed
    end
  end
  return table.concat(kept, "; ")
end

local function strip_session(headers)
  local lines = headers:getNumValues("cookie")
  if lines == 0 then return end
  local kept, found = {{}}, false
  for index = 0, lines - 1 do
    local line = headers:getAtIndex("cookie", index)
    if line:find(COOKIE, 1, true) then found = true; line = without_session(line) end
    if line ~= "" then kept[#kept + 1] = line end
  end
  if not found then return end
  headers:remove("cookie")
  if #kept > 0 then headers:add("cookie", table.concat(kept, "; ")) end
end

local function set(headers, name, value)
  if type(value) == "string" then headers:replace(name, (value:gsub("%c", ""))) end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  strip_session(headers)
  if headers:get("upgrade") then headers:replace("connection", "Upgrade") end
  local metadata = handle:streamInfo():dynamicMetadata()
  local note = metadata:get("{RBAC_FILTER}") or {{}}
  local pass = note["{POLICY_NOTE}"]
  if PASSWORD_USED[pass] then headers:remove("authorization") end
  if note["{RESULT_NOTE}"] ~= "allowed" then return end
  if pass ~= "{Mode.IDENTITY}" and pass ~= "{Mode.IDENTITY_AND_BASIC}" then return end
  local session = metadata:get("{JWT_FILTER}")["{SESSION}"]
  set(headers, "{IDENTITY_HEADERS[0]}", session["email"])
  set(headers, "{IDENTITY_HEADERS[1]}", session["name"])
  set(headers, "{IDENTITY_HEADERS[2]}", session["asrt"])
  set(headers, "{IDENTITY_HEADERS[3]}", session["email"])
end
"""
